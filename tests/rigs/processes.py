"""A process and all below it: which they are, what they hold, and that none is left behind."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


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
    counts = []
    for member in family(pid):
        try:
            counts.append((1, len(os.listdir(f"/proc/{member}/task")), len(os.listdir(f"/proc/{member}/fd"))))
        except FileNotFoundError:
            continue  # it ended while we looked
    processes, threads, descriptors = map(sum, zip(*counts, strict=True))
    return processes, threads, descriptors


def holds(pid: int, file: Path) -> bool:
    """Whether a process, or one below it, has a file open."""
    for member in family(pid):
        for descriptor in Path(f"/proc/{member}/fd").glob("*"):
            with suppress(OSError):  # it ended, or was closed, while we looked
                if descriptor.samefile(file):
                    return True
    return False


class Removed(ABC):
    """A context that is removed at its end, and also where it does not come up."""

    @abstractmethod
    def bring_up(self) -> None:
        """What entering waits for; raises what keeps it from coming up."""

    @abstractmethod
    def remove(self) -> None:
        """End its processes and delete its files, however far it came."""

    def __enter__(self) -> Self:
        try:
            self.bring_up()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
