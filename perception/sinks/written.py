"""What a run has left: which files and folders, with how many frames, and how large they are now."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Written:
    """By one output, and by those that took its place."""

    paths: list[Path] = field(default_factory=list)
    """In their order; some may have been removed since."""
    frames: int = 0
    """In those that are closed."""

    def told(self, what: str) -> str | None:
        """`out.mp4 (300 frames, 4.2 MB)`; None if nothing is there.

        Args:
            what: one frame of it is called, such as "records".
        """
        there = [path for path in dict.fromkeys(self.paths) if path.is_file() or path.is_dir()]
        if not there:
            return None
        last = f" to {there[-1].name}" if there[1:] else ""
        size_mb = sum(map(_size_bytes, there)) / 1e6
        size = f"{size_mb:.1f} MB" if size_mb >= 0.1 else f"{1000 * size_mb:.1f} kB"
        return f"{there[0]}{last} ({self.frames} {what}, {size})"


def _size_bytes(path: Path) -> int:
    """Of a file, or of the files in a folder."""
    with suppress(OSError):
        if not path.is_dir():
            return path.stat().st_size
        with os.scandir(path) as entries:
            return sum(entry.stat().st_size for entry in entries if entry.is_file())
    return 0
