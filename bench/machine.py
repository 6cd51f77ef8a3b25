"""What a figure was measured on: the machine, the versions, the commit, and what else was running."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from perception.inference.engines.engine import EngineError, one_line
from perception.system.cores import usable_cores

PACKAGES: Final = (
    "drivable", "numpy", "opencv-python-headless", "av", "onnxruntime", "onnxruntime-gpu", "openvino",
)  # fmt: skip
PROC: Final = Path("/proc")
CPUS: Final = Path("/sys/devices/system/cpu")
_COMMAND_LIMIT_S: Final = 10


def machine(proc: Path = PROC, cpus: Path = CPUS) -> dict[str, Any]:
    """Processor, cores, clock, memory, GPU and system; null for what the machine does not tell."""
    return {
        "cpu": _field(proc / "cpuinfo", "model name") or platform.processor() or None,
        "cores": usable_cores(),
        "all_cores": os.cpu_count(),
        "clock_mhz": _clock_mhz(proc),
        "governor": _text(cpus / "cpu0/cpufreq/scaling_governor"),
        "memory_gb": _memory_gb(proc),
        "gpu": gpu(),
        "os": _field(Path("/etc/os-release"), "PRETTY_NAME", "=") or platform.platform(),
        "python": platform.python_version(),
    }


def gpu() -> str | None:
    """Name and driver of the first NVIDIA GPU, as its own tool tells; None without one."""
    told = _output(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    return told.splitlines()[0].strip() if told else None


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
    at = ["git", "-C", str(folder or Path(__file__).parent)]
    found = _output([*at, "rev-parse", "--short=10", "HEAD"])
    if not found:
        return None
    return found + "+" * bool(_output([*at, "status", "--porcelain", "--untracked-files=no"]))


def load_average() -> float:
    """Of the last minute: how many threads wanted a core."""
    return os.getloadavg()[0]


def _clock_mhz(proc: Path) -> float | None:
    """The mean over the cores, at this moment."""
    lines = (_text(proc / "cpuinfo") or "").splitlines()
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return round(sum(clocks) / len(clocks), 1) if clocks else None


def _memory_gb(proc: Path) -> float | None:
    told = _field(proc / "meminfo", "MemTotal")
    return round(int(told.split()[0]) / 1e6, 1) if told else None


def _field(file: Path, name: str, sign: str = ":") -> str | None:
    """The value in the first line `name : value` of a file."""
    for line in (_text(file) or "").splitlines():
        key, found, value = line.partition(sign)
        if found and key.strip() == name:
            return value.strip().strip('"')
    return None


def _text(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _output(command: Sequence[str]) -> str | None:
    """What a command prints; None if there is none such, or it fails."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def interpreter(python: str) -> list[str]:
    """How to start it: without the working directory on its path, or a checkout there would be measured."""
    return [python, "-P"]


def own_environment(python: str) -> dict[str, str] | None:
    """Ours, for our own interpreter; for another one without what would lead it to our packages."""
    if python == sys.executable:
        return None
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def of_installation(python: str, models: Sequence[str] = ()) -> dict[str, Any]:
    """Versions, commit and Python of the drivable that an interpreter has, and what its models are.

    Raises:
        ValueError: if it has none, or one of the models does not load there; in one line.
    """
    command = [*interpreter(python), "-m", "bench.machine", *models]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=own_environment(python))
        found: dict[str, Any] = json.loads(done.stdout)
        found["versions"], found["commit"], found["python"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{python}: is no Python with drivable and its bench installed") from error
    if "error" in found:
        raise ValueError(f"{python}: {found['error']}")
    return found


def main(models: Sequence[str]) -> None:
    """Print what `of_installation` reads."""
    told: dict[str, Any] = {
        "versions": versions(),
        "commit": commit(),
        "python": platform.python_version(),
    }
    from bench.report.data import describe_model

    try:
        told["models"] = {name: asdict(describe_model(name)) for name in models}
    except (OSError, EngineError) as error:
        told["error"] = one_line(error)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
