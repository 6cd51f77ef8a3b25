"""Names of a recording's segments, and the index of those that belong to it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from perception.system.atomic_file import write_atomically


def refuse_folder(setting: str, file: str) -> None:
    """Raise ValueError for a value that ends as the name of a folder, where a file is written."""
    if file.endswith(("/", os.sep)):
        raise ValueError(f"{setting} is {file}, a folder; name a file in it")


@dataclass(frozen=True)
class Naming:
    """Names beside a target: `out-000001.mp4` for `out.mp4`; for a folder of masks, `000001` within it."""

    target: Path
    are_folders: bool = False

    @property
    def folder(self) -> Path:
        """The folder of all its files."""
        return self.target if self.are_folders else self.target.parent

    def beside(self, kind: str) -> Path:
        """`.out.mp4.KIND`, or `.KIND` within a folder."""
        return self.folder / (f".{kind}" if self.are_folders else f".{self.target.name}.{kind}")

    def numbered(self, number: int) -> Path:
        """The segment with this number."""
        if self.are_folders:
            return self.target / f"{number:06d}"
        return self.target.with_name(f"{self.target.stem}-{number:06d}{self.target.suffix}")

    def number_of(self, segment: Path) -> int:
        """The number in a segment's name; 0 for other names."""
        match = re.fullmatch(self._segments, segment.name)
        return int(match[1]) if match else 0

    def highest(self) -> int:
        """The highest number of an existing segment; 0 without any."""
        return max((self.number_of(path) for path in self.folder.iterdir()), default=0)

    @property
    def others(self) -> str:
        """Regular expression of all names that a recording may use besides the target's."""
        lists = re.escape(self.beside("").name)
        return rf"{self._segments}(/.*)?|{lists}(lock|segments)"

    @property
    def _segments(self) -> str:
        if self.are_folders:
            return r"(\d{6,})"
        return rf"{re.escape(self.target.stem)}-(\d{{6,}}){re.escape(self.target.suffix)}"


class SegmentIndex:
    """Names of the existing segments of a recording over all its runs, oldest first.

    Only these may `rotate.keep` remove. A sink and its replacement after a restart share the index. It writes
    no file under its lock, so that a sink hanging on its disk blocks nobody.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._names: list[str] | None = None

    def add(self, index: Path, segment: Path, is_there: Callable[[Path], bool]) -> list[Path]:
        """Add a new segment; returns all existing ones, oldest first.

        Args:
            index: the file of the names.
            is_there: whether a path is a segment with content; others are forgotten.
        """
        earlier = _read(index) if self._names is None else []
        with self._lock:
            names = [*(earlier if self._names is None else self._names), segment.name]
            there = [segment.with_name(name) for name in dict.fromkeys(names)]
            self._names = [path.name for path in there if path == segment or is_there(path)]
            return [segment.with_name(name) for name in self._names]

    def drop(self, segment: Path) -> None:
        """Forget a removed segment."""
        with self._lock:
            self._names = [name for name in self._names or [] if name != segment.name]

    def is_dropped(self, segment: Path) -> bool:
        """Whether it is not in the index; False while that is empty."""
        with self._lock:
            return bool(self._names) and segment.name not in (self._names or [])


def save_names(index: Path, segments: Sequence[Path], *, durable: bool) -> None:
    """Keep the names for later runs; raises OSError."""
    text = "".join(f"{segment.name}\n" for segment in segments)
    write_atomically(index, text.encode(), waits_for_disk=durable)


def _read(index: Path) -> list[str]:
    """Names that an earlier run left; none that leads out of the folder."""
    try:
        names = index.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [name for name in names if name and Path(name).name == name]
