"""What a figure was measured on: the machine, and the drivable of an interpreter with its models."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

from bench import gpu
from bench.interpreter import run_python
from bench.report.data import SCHEMA_NUMBER, describe_model
from perception.inference.engines.engine import EngineError, one_line
from perception.system.cores import usable_cores

PACKAGES: Final = (
    "drivable", "numpy", "opencv-python-headless", "av", "onnxruntime", "onnxruntime-gpu", "openvino",
)  # fmt: skip
CPU_INFO: Final = Path("/proc/cpuinfo")
GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_GIT_LIMIT_S: Final = 10


def machine() -> dict[str, Any]:
    """Processor, cores, clock, memory, GPU and system; null for what cannot be read."""
    clock = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return {
        "cpu": _cpu_name(),
        "cores": usable_cores(),
        "all_cores": os.cpu_count(),
        "clock_mhz": clock and round(clock.current, 1),
        "governor": _text(GOVERNOR),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": gpu.name_and_driver(),
        "os": _system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of the packages that the figures depend on, as far as they are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit(folder: Path | None = None) -> str | None:
    """Of the checkout that this code runs from, with a + where files differ from it; None outside of one."""
    at = folder or Path(__file__).parent
    found = _git(at, "rev-parse", "--short=10", "HEAD")
    return found and found + "+" * bool(_git(at, "status", "--porcelain", "--untracked-files=no"))


def of_installation(python: str, models: Sequence[str] = ()) -> dict[str, Any]:
    """Versions, commit and Python of the drivable that an interpreter has, and what its models are.

    Raises:
        ValueError: if it has none, its bench writes other reports, or a model does not load there; in one
            line.
    """
    try:
        found: dict[str, Any] = json.loads(run_python(python, "-m", "bench.report.machine", *models))
        schema = found["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{python}: is not a Python with drivable and a bench like ours; install 'drivable[bench]' there"
        ) from error
    if schema != SCHEMA_NUMBER:
        raise ValueError(
            f"{python}: its bench writes reports of schema {schema}, this one {SCHEMA_NUMBER}; measure with "
            "each on its own, and compare the reports"
        )
    if "error" in found:
        raise ValueError(f"{python}: {found['error']}")
    return found


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None if there is no git, or it fails."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str | None:
    """psutil does not know it."""
    for line in (_text(CPU_INFO) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or None


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform()


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def main(models: Sequence[str]) -> None:
    """Print what `of_installation` reads."""
    facts: dict[str, Any] = {
        "schema": SCHEMA_NUMBER,
        "versions": versions(),
        "commit": commit(),
        "python": platform.python_version(),
    }
    try:
        facts["models"] = {name: asdict(describe_model(name)) for name in models}
    except (OSError, EngineError) as error:
        facts["error"] = one_line(error)
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1:])
