"""How a module of drivable is run in a process of its own, by this interpreter or another installation's."""

from __future__ import annotations

import os
import subprocess
import sys


def run_module(python: str, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m module arguments` to its end, its output captured.

    -P keeps the working directory off its path, or a checkout there would be measured. Another
    installation gets the environment without what would lead it to our packages.

    Raises:
        OSError: if there is no such interpreter.
    """
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(
        [python, "-P", "-m", module, *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=None if python == sys.executable else own,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Of its output if it succeeded, else of its errors, or its status where it said nothing."""
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return lines[-1] if lines else f"ended with status {done.returncode}"
