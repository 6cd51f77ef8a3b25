"""Free disk space: a recording stops before the disk is full, and continues when there is room again."""

from __future__ import annotations

import shutil
from pathlib import Path
from time import monotonic_ns
from typing import Final

RESUME_FACTOR: Final = 2
"""Multiple of the limit that must be free to continue, so that a recording does not stop and start."""
_CHECK_EVERY_NS: Final = 1_000_000_000
_MB: Final = 1_000_000


def free_bytes(folder: Path) -> int | None:
    """Free bytes of the file system of `folder`; None for one without a size, such as /proc."""
    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else None


class SpaceWatch:
    """Whether there is room to record; checks the file system at most once a second."""

    def __init__(self, folder: Path, min_free_mb: float) -> None:
        self._folder = folder
        self._limit_bytes = round(min_free_mb * _MB)
        self._checked_ns: int | None = None
        self._free_bytes = 0
        self._is_stopped = False

    @property
    def free_mb(self) -> float:
        """Free space at the last check."""
        return self._free_bytes / _MB

    def has_room(self) -> bool:
        """True down to the limit; once below it, False until `RESUME_FACTOR` times the limit is free."""
        now_ns = monotonic_ns()
        if self._limit_bytes and (self._checked_ns is None or now_ns - self._checked_ns >= _CHECK_EVERY_NS):
            self._checked_ns = now_ns
            try:
                free = free_bytes(self._folder)
            except OSError:
                free = None
            if free is None:  # the next write reports what is wrong
                self._is_stopped = False
            else:
                self._free_bytes = free
                self._is_stopped = free < self._limit_bytes * (RESUME_FACTOR if self._is_stopped else 1)
        return not self._is_stopped
