"""Room on the disk: a recording stops before the disk is full, and goes on when there is room again."""

from __future__ import annotations

import shutil
from pathlib import Path
from time import monotonic_ns
from typing import Final

GOES_ON_AT: Final = 2
"""Times the limit that must be free again: a recording that itself fills the disk must not stop and start."""
_LOOK_EVERY_NS: Final = 1_000_000_000
_MB: Final = 1_000_000


def free_bytes(folder: Path) -> int | None:
    """What may still be written to the file system of `folder`; None for one that has no size, as /proc."""
    told = shutil.disk_usage(folder)
    return told.free if told.total else None


class SpaceWatch:
    """Whether there is room to record; asks the file system at most once a second, so in constant memory."""

    def __init__(self, folder: Path, min_free_mb: float) -> None:
        self._folder = folder
        self._limit_bytes = round(min_free_mb * _MB)
        self._looked_ns: int | None = None
        self._free_bytes = 0
        self._is_stopped = False

    @property
    def free_mb(self) -> float:
        """What was free when it last looked."""
        return self._free_bytes / _MB

    def has_room(self) -> bool:
        """True down to the limit; once below it, False until `GOES_ON_AT` times the limit is free."""
        now_ns = monotonic_ns()
        if self._limit_bytes and (self._looked_ns is None or now_ns - self._looked_ns >= _LOOK_EVERY_NS):
            self._looked_ns = now_ns
            try:
                free = free_bytes(self._folder)
            except OSError:
                free = None
            if free is None:  # the write that follows tells what is wrong
                self._is_stopped = False
            else:
                self._free_bytes = free
                wanted_bytes = self._limit_bytes * (GOES_ON_AT if self._is_stopped else 1)
                self._is_stopped = free < wanted_bytes
        return not self._is_stopped
