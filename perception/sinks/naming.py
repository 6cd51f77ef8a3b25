"""How the files of a recording are called: its segments, and what lies beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Naming:
    """Names beside a target: `out-000001.mp4` for `out.mp4`; of a folder of masks within it: `000001`."""

    target: Path
    are_folders: bool = False

    @property
    def folder(self) -> Path:
        """That all of it lies in."""
        return self.target if self.are_folders else self.target.parent

    def beside(self, kind: str) -> Path:
        """`.out.mp4.KIND`, `.KIND` within a folder."""
        return self.folder / (f".{kind}" if self.are_folders else f".{self.target.name}.{kind}")

    def numbered(self, number: int) -> Path:
        """The segment of this number."""
        if self.are_folders:
            return self.target / f"{number:06d}"
        return self.target.with_name(f"{self.target.stem}-{number:06d}{self.target.suffix}")

    def number_of(self, segment: Path) -> int:
        """0 for what is none by its name."""
        match = re.fullmatch(self._segments, segment.name)
        return int(match[1]) if match else 0

    def highest(self) -> int:
        """The highest number of a segment that is there."""
        return max((self.number_of(path) for path in self.folder.iterdir()), default=0)

    @property
    def others(self) -> str:
        """Regular expression of all names but the target's own that a recording may take."""
        lists = re.escape(self.beside("").name)
        return rf"{self._segments}(/.*)?|{lists}(lock|segments)"

    @property
    def _segments(self) -> str:
        if self.are_folders:
            return r"(\d{6,})"
        return rf"{re.escape(self.target.stem)}-(\d{{6,}}){re.escape(self.target.suffix)}"
