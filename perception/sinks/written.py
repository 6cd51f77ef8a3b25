"""What a run has left: which files and folders, with how many frames, and how large they are now."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from perception.sinks.naming import Naming


@dataclass
class Written:
    """By one output, and by those that took its place."""

    paths: list[Path] = field(default_factory=list)
    """In their order; some may have been removed since."""
    frames: int = 0
    """In those that are closed."""

    def told(self, what: str, note: str | None = None) -> str | None:
        """`out.mp4 (300 frames, 4.2 MB)`; None if nothing is there.

        Args:
            what: one frame of it is called, such as "record".
            note: what is to be said of it besides.
        """
        there = [path for path in dict.fromkeys(self.paths) if path.is_file() or path.is_dir()]
        if not there:
            return None
        last = f" to {there[-1].name}" if there[1:] else ""
        size_mb = sum(map(_size_bytes, there)) / 1e6
        size = f"{size_mb:.1f} MB" if size_mb >= 0.1 else f"{1000 * size_mb:.1f} kB"
        count = f"{self.frames} {what}{'s' * (self.frames != 1)}"
        return f"{there[0]}{last} ({', '.join(filter(None, (count, note, size)))})"


def _size_bytes(path: Path) -> int:
    """Of a file, or of the files in a folder and in those within it that are no segments of their own."""
    total = 0
    with suppress(OSError):
        if not path.is_dir():
            return path.stat().st_size
        for place, folders, names in os.walk(path):
            if Path(place) == path:
                folders[:] = [
                    name for name in folders if not Naming(path, are_folders=True).number_of(Path(name))
                ]
            total += sum((Path(place) / name).stat().st_size for name in names)
    return total
