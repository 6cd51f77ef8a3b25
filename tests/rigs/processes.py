"""A process and all below it: which they are, and what they hold."""

from __future__ import annotations

import os
from pathlib import Path


def family(pid: int) -> list[int]:
    """The process first, then its children, theirs, and so on."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended while we looked
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def held(pid: int) -> tuple[int, int, int]:
    """Processes, threads and descriptors of a process and all below it."""
    members = family(pid)
    threads = sum(len(os.listdir(f"/proc/{member}/task")) for member in members)
    descriptors = sum(len(os.listdir(f"/proc/{member}/fd")) for member in members)
    return len(members), threads, descriptors
