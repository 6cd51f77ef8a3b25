"""Number of cores that this process may use, by its affinity and its cgroup quota."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

PROC: Final = Path("/proc/self")
_GROUP: Final = re.compile(r"^\d+:([^:]*):(.*)$", re.MULTILINE)
_MOUNT: Final = re.compile(r"^\S+ \S+ \S+ (\S+) (\S+) .* - (cgroup2?) \S+ (\S+)", re.MULTILINE)


def usable_cores(proc: Path = PROC) -> int:
    """At least 1; `taskset` and containers may give a process fewer cores than the machine has.

    A fractional quota is rounded up: with 1.5 cores two threads are throttled together, but no core idles
    half of the time.

    Args:
        proc: the kernel's folder of this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(proc), default=math.inf)
    return cores if quota >= cores else max(1, math.ceil(quota))


def _quotas(proc: Path) -> Iterator[float]:
    """In cores, of every cgroup of the process, v1 and v2."""
    try:
        groups, mounts = (proc / "cgroup").read_text(), (proc / "mountinfo").read_text()
    except OSError:  # not Linux, or hidden
        return
    paths = {name: path for names, path in _GROUP.findall(groups) for name in names.split(",")}
    for root, mount, kind, options in _MOUNT.findall(mounts):
        controller, read = ("", _quota_v2) if kind == "cgroup2" else ("cpu", _quota_v1)
        if controller not in paths or (controller and controller not in options.split(",")):
            continue
        for folder in _folders(root, Path(_unescaped(mount)), paths[controller]):
            with suppress(OSError, ValueError, ZeroDivisionError):  # the root group has none
                yield read(folder)


def _folders(root: str, mount: Path, path: str) -> Iterator[Path]:
    """A group's folder and its parents up to the mount; if it is not inside, the mount alone."""
    inside = PurePosixPath(path)
    if ".." in inside.parts or not inside.is_relative_to(root):
        inside = PurePosixPath(root)
    folder = mount / inside.relative_to(root)
    while True:
        yield folder
        if folder == mount:
            return
        folder = folder.parent


def _quota_v2(folder: Path) -> float:
    quota, period = (folder / "cpu.max").read_text().split()
    return math.inf if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    return math.inf if quota <= 0 else quota / int((folder / "cpu.cfs_period_us").read_text())


def _unescaped(text: str) -> str:
    """A path of mountinfo, which has octal escapes for white space."""
    return re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), text)
