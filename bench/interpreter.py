"""How Python is run in a process of its own, by this interpreter or another installation's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

_OURS = ("PYTHONPATH", "PYTHONHOME")
"""Of the environment: what would bring our packages into another installation."""


def run_python(python: str, *words: str, limit_s: float | None = None, end_s: float = 5.0) -> str:
    """Run an interpreter to its end; returns the last line of what it printed.

    -P keeps the working directory off its path, or a checkout there would be what runs.

    Args:
        end_s: that it gets to end where this one is interrupted.

    Raises:
        OSError: if there is no such interpreter.
        TimeoutError: if it had not ended in time.
        ValueError: the last line of its errors, or its status where it said nothing.
    """
    others = {name: value for name, value in os.environ.items() if name not in _OURS}
    with subprocess.Popen(
        [python, "-P", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=None if python == sys.executable else others,
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"did not end within {limit_s:g} s") from error
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # so that it ends what it has started, and leaves no folder
            with suppress(subprocess.TimeoutExpired):
                process.wait(end_s)
            raise
        finally:
            process.kill()
    lines = (errors if process.returncode else output).strip().splitlines()
    if process.returncode or not lines:
        raise ValueError(lines[-1] if lines else f"ended with status {process.returncode}")
    return lines[-1]
