"""Summary of a run's output files: names, frames, current size."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Written:
    """Files and folders written by one output, including its replacements after restarts."""

    paths: list[Path] = field(default_factory=list)
    """In order; some may have been removed since."""
    frames: int = 0
    """In those that are closed."""
    folder_bytes: Counter[Path] = field(default_factory=Counter)
    """Written by this run to closed folders."""

    remark: str = ""
    """A further remark for the summary."""

    def note(self, path: Path, frames: int, folder_bytes: int) -> None:
        """Count a closed file or folder."""
        self.frames += frames
        self.folder_bytes[path] += folder_bytes

    def summary(self, what: str) -> str | None:
        """`out.mp4 (300 frames, 4.2 MB)`; None if nothing is there.

        Args:
            what: name of one frame of it, such as "record".
        """
        there = [path for path in dict.fromkeys(self.paths) if path.is_file() or path.is_dir()]
        if not there:
            return None
        last = f" to {there[-1].name}" if there[1:] else ""
        size_mb = sum(map(self._size_bytes, there)) / 1e6
        size = f"{size_mb:.1f} MB" if size_mb >= 0.1 else f"{1000 * size_mb:.1f} kB"
        count = f"{self.frames} {what}{'s' * (self.frames != 1)}"
        return f"{there[0]}{last} ({', '.join(filter(None, (count, self.remark, size)))})"

    def _size_bytes(self, path: Path) -> int:
        if path.is_dir():
            return self.folder_bytes[path]
        with suppress(OSError):
            return path.stat().st_size
        return 0
