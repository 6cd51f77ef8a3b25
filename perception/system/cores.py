"""Number of cores that this process may use, by its affinity and its cgroup quota."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

PROC: Final = Path("/proc/self")


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
        groups = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = [line.split(" - ", 1) for line in (proc / "mountinfo").read_text().splitlines()]
    except (OSError, ValueError):  # not Linux, or hidden
        return
    paths = {}
    for group in groups:
        if len(group) == 3:
            paths.update(dict.fromkeys(group[1].split(","), group[2]))
    for mount in mounts:
        where, kind = mount[0].split(" "), mount[-1].split(" ")
        if len(mount) < 2 or len(where) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2" and "" in paths:
            path, read = paths[""], _quota_v2
        elif kind[0] == "cgroup" and "cpu" in kind[2].split(",") and "cpu" in paths:
            path, read = paths["cpu"], _quota_v1
        else:
            continue
        for folder in _folders(where[3], Path(_unescaped(where[4])), path):
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
    for character in " \t\n\\":
        text = text.replace(f"\\{ord(character):03o}", character)
    return text
