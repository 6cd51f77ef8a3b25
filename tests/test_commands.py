"""The other commands as processes: interrupted at any moment, and with a log that cannot be written."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SEED = 15
COMMANDS = {
    "bench": ("live", "--duration", "60"),
    "train": ("--model", "rt_s", "--data", "nowhere"),
    "export": ("--model", "rt_s", "--checkpoint", "nowhere.pt"),
}
"""What each takes seconds for, if only to import torch, before it finds that something is missing."""


AS_INSTALLED = """
import sys
from {package}.__main__ import main
print("started", flush=True)
sys.exit(main())
"""
"""What the command's script does, and a word once code of ours runs."""


def start(package: str, *arguments: str, **options: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", AS_INSTALLED.format(package=package), *arguments],
        stdout=subprocess.PIPE,
        stderr=options.get("stderr", subprocess.PIPE),
        text=True,
    )


@pytest.mark.one_in(3)
@pytest.mark.parametrize("package", COMMANDS)
@pytest.mark.parametrize("seed", range(2))
def test_interrupt_is_one_line(package: str, seed: int) -> None:
    pytest.importorskip("torch" if package != "bench" else "cv2")
    process = start(package, *COMMANDS[package])
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(random.Random(SEED + seed).uniform(0.0, 0.3))

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert said.startswith(f"drivable-{package}: interrupted")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("package", COMMANDS)
def test_log_that_cannot_be_written_changes_nothing(package: str) -> None:
    with Path("/dev/full").open("w") as full:
        process = start(package, "--nothing", stderr=full.fileno())
        printed, _ = process.communicate(timeout=60)

    assert process.returncode == 2
    assert printed == "started\n"


def test_results_that_cannot_be_written_are_one_line() -> None:
    printing = "import sys; from perception.cli.command import run_command; "
    printing += "sys.exit(run_command('drivable-bench', lambda: print('a table') or 0))"

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", printing],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith("drivable-bench: ")
    assert line.endswith("No space left on device")
