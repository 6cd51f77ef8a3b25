"""A recording in segments: how they are named, when the next one begins, and which are removed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final, Literal, TypeVar

from perception.sinks.sink import SinkError
from perception.sinks.space import SpaceWatch
from perception.sources.source import SourceInfo

T = TypeVar("T")
Opening = Literal["replace", "continue", "new"]
"""Replace what is there; go on behind what is there; nothing may be there."""
_MB: Final = 1_000_000
_S: Final = 1_000_000_000


@dataclass(frozen=True)
class Rotate:
    """When a recording goes on in a new segment, and how many are kept."""

    size_mb: float = 0.0
    """A segment ends with the frame that makes it so large (millions of bytes); 0 is no limit."""
    age_s: float = 0.0
    """A segment ends after so many seconds of the source's own time; 0 is no limit."""
    keep: int = 0
    """Segments of this run that stay, the open one counted; the oldest are removed. 0 keeps all."""

    def __post_init__(self) -> None:
        """Refuse what no recording can be cut by; raises ValueError."""
        for name in ("size_mb", "age_s", "keep"):
            if getattr(self, name) < 0:
                raise ValueError(f"rotate.{name} is {getattr(self, name)}; 0 turns it off")
        if self.keep and not self.is_on:
            raise ValueError(
                f"rotate.keep is {self.keep}, but one segment never ends; "
                f"set rotate.size_mb or rotate.age_s too"
            )

    @property
    def is_on(self) -> bool:
        """Whether segments end at all."""
        return self.size_mb > 0 or self.age_s > 0


class MadeSegments:
    """What this run made and may remove, oldest first; at most `keep` paths, so bounded.

    A sink and the one that takes its place after a restart both know it. No file is touched under its
    lock: a sink that hangs on its disk holds up nobody.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._segments: list[Path] = []

    def add(self, segment: Path, keep: int) -> list[Path]:
        """Note a new segment; gives back those that are too many now."""
        if not keep:
            return []
        with self._lock:
            self._segments.append(segment)
            spare, self._segments = self._segments[:-keep], self._segments[-keep:]
        return spare


@dataclass(frozen=True)
class Keeping:
    """How a sink keeps what it writes."""

    rotate: Rotate = field(default_factory=Rotate)
    min_free_mb: float = 200.0
    """Recording stops while less is free (millions of bytes); 0 never stops."""
    made: MadeSegments = field(default_factory=MadeSegments)
    """Of the sink whose place this one takes, if it takes one."""


class Segments:
    """The segments of one recording.

    Without rotation there is one, at the target itself. With rotation all are numbered: `out-000001.mp4`,
    `out-000002.mp4`, …, and folders `masks/000001`, … A recording without rotation that goes on after a
    restart or a full disk does so in a numbered one, too. Numbers go on from the highest that is there,
    and a segment that is there is never opened: no run overwrites another's.
    """

    def __init__(self, target: Path, keeping: Keeping, *, are_folders: bool = False) -> None:
        self._target = target
        self._keeping = keeping
        self._are_folders = are_folders
        self._space = SpaceWatch(target if are_folders else target.parent, keeping.min_free_mb)
        self._goes_on = False
        self._number = 0
        self._began_ns: int | None = None
        self._frames_refused = 0
        self._left_over: str | None = None

    @property
    def trouble(self) -> str | None:
        """What a reader of the recording must know: frames that are not in it, or segments not removed."""
        if self._frames_refused:
            return (
                f"{self._target}: {self._frames_refused} frames not recorded, less than "
                f"{self._keeping.min_free_mb:g} MB were free on the disk; make room, or set min_free_mb lower"
            )
        return self._left_over

    def prepare(self, info: SourceInfo, resumes: bool) -> bool:
        """Make the folder; True if there is room for a first segment.

        Too little room is an error for a recorded source, whose user waits for the files. A vehicle must
        drive with a full disk, too: there the recording waits for room, and `trouble` says so.

        Raises:
            SinkError: as said.
            OSError: if the folder cannot be made.
        """
        (self._target if self._are_folders else self._target.parent).mkdir(parents=True, exist_ok=True)
        self._goes_on = resumes
        has_room = self._space.has_room()
        if not has_room and not info.is_live and not resumes:
            raise SinkError(
                f"{self._target}: {self._space.free_mb:.0f} MB are free on its disk, below the limit of "
                f"{self._keeping.min_free_mb:g} MB; make room, or set min_free_mb lower"
            )
        return has_room

    def has_room(self) -> bool:
        """Whether a frame may be recorded; one that may not is counted."""
        if self._space.has_room():
            return True
        self._frames_refused += 1
        return False

    def is_over(self, size_bytes: int, time_ns: int) -> bool:
        """Whether a segment of this size ends before the frame of this time."""
        rotate = self._keeping.rotate
        if self._began_ns is None or time_ns < self._began_ns:  # new, or the source began anew
            self._began_ns = time_ns
        return bool(
            (rotate.size_mb and size_bytes >= rotate.size_mb * _MB)
            or (rotate.age_s and time_ns - self._began_ns >= rotate.age_s * _S)
        )

    def begin(self, make: Callable[[Path, Opening], T], time_ns: int | None = None) -> T:
        """What `make` gives for the next segment; then the oldest go.

        Args:
            make: opens a path. It must raise FileExistsError for one that must be new and is there (even
                if only since a moment ago), and may for one that it cannot go on with.
            time_ns: of its first frame; None if that is not known yet.

        Raises:
            OSError: if it cannot be made.
        """
        self._began_ns = time_ns
        opening: Opening = "continue" if self._goes_on else "replace"
        self._goes_on = True
        if not self._keeping.rotate.is_on:
            with contextlib.suppress(FileExistsError):
                return make(self._target, opening)
        self._number = self._number or self._highest()
        while True:
            self._number += 1
            segment = self._numbered(self._number)
            try:
                made = make(segment, "new")
            except FileExistsError:
                continue
            self._remove(self._keeping.made.add(segment, self._keeping.rotate.keep))
            return made

    def _numbered(self, number: int) -> Path:
        if self._are_folders:
            return self._target / f"{number:06d}"
        return self._target.with_name(f"{self._target.stem}-{number:06d}{self._target.suffix}")

    def _highest(self) -> int:
        """The highest number of a segment that is there."""
        folder, start, end = self._target.parent, f"{self._target.stem}-", self._target.suffix
        if self._are_folders:
            folder, start, end = self._target, "", ""
        form = re.compile(rf"{re.escape(start)}(\d{{6,}}){re.escape(end)}")
        matches = (form.fullmatch(path.name) for path in folder.iterdir())
        return max((int(match[1]) for match in matches if match), default=0)

    def _remove(self, segments: list[Path]) -> None:
        """Remove what may be gone already; what cannot be removed is told, and recording goes on."""
        for segment in segments:
            try:
                if self._are_folders:
                    _remove_folder(segment)
                else:
                    segment.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                self._left_over = f"{segment}: an old segment cannot be removed: {error.strerror}; remove it"


def _remove_folder(folder: Path) -> None:
    """Remove the masks in a folder, and then it; what is not ours keeps it there."""
    for mask in folder.glob("*.png"):
        mask.unlink(missing_ok=True)
    folder.rmdir()
