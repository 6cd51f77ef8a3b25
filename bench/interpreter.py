"""How Python is run in a process of its own, by this interpreter or another installation's."""

from __future__ import annotations

import os
import subprocess
import sys

_OURS = ("PYTHONPATH", "PYTHONHOME")
"""Of the environment: what would bring our packages into another installation."""


def run_python(python: str, *words: str, limit_s: float | None = None) -> str:
    """Run an interpreter to its end; returns the last line of what it printed.

    -P keeps the working directory off its path, or a checkout there would be what runs.

    Raises:
        OSError: if there is no such interpreter.
        TimeoutError: if it had not ended in time.
        ValueError: the last line of its errors, or its status where it said nothing.
    """
    others = {name: value for name, value in os.environ.items() if name not in _OURS}
    try:
        done = subprocess.run(
            [python, "-P", *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=None if python == sys.executable else others,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"did not end within {limit_s:g} s") from error
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode or not lines:
        raise ValueError(lines[-1] if lines else f"ended with status {done.returncode}")
    return lines[-1]
