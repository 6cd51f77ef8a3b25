"""A recording in segments: how they are named, when the next one begins, and which are removed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeVar

from perception.sinks.claim import Claim
from perception.sinks.earlier_files import MASKS, OVERLAYS
from perception.sinks.naming import Naming
from perception.sinks.presence import Presence
from perception.sinks.segment_index import SegmentIndex, save_names
from perception.sinks.sink import SinkError
from perception.sinks.space import SpaceWatch
from perception.sinks.written import Written
from perception.sources.source import SourceInfo
from perception.system.atomic_file import PARTIAL_SUFFIX
from perception.system.plugins import Checked
from perception.system.set_aside import make_way

T = TypeVar("T")
OpenMode = Literal["replace", "continue", "new"]
"""Begin the file, of which nothing is left to keep; go on behind what is there; nothing may be there."""
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
    """Segments that stay, the open one and earlier runs' counted; the oldest are removed. 0 keeps all."""

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


@dataclass(frozen=True)
class RecordingSettings(Checked):
    """How outputs are kept."""

    rotate: Rotate = field(default_factory=Rotate)
    min_free_mb: float = 200.0
    """Stop writing files while less is free on their disk (millions of bytes); 0 never stops."""
    append: bool = False
    """Go on with what the last run left: records in their file, video and masks under the next number."""
    overwrite: bool = False
    """Replace what lies where outputs go; without, it is kept under another name (r.jsonl as r.1.jsonl)."""
    durable: bool = False
    """Bring what is written to the disk once a second: a power cut costs no more than 1.5 s of it."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other; raises ValueError."""
        if self.append and self.overwrite:
            raise ValueError("append goes on with what is there, and overwrite replaces it; leave one out")
        if self.min_free_mb < 0:
            raise ValueError(f"min_free_mb is {self.min_free_mb}; 0 turns it off")
        super().__post_init__()


@dataclass(frozen=True)
class RecordingPolicy(RecordingSettings):
    """How one sink keeps what it writes, and what it shares with the one that takes its place."""

    folders: frozenset[str] = frozenset()
    """That names of frames have, and all above them, such as `a` and `a/b` of `a/b/0001`."""
    index: SegmentIndex = field(default_factory=SegmentIndex)
    """Of the sink whose place this one takes, if it takes one; as `claim`."""
    claim: Claim = field(default_factory=Claim)
    written: Written = field(default_factory=Written)
    """By it and by those whose place it took."""


class Segments:
    """The segments of one recording.

    Without rotation there is one, at the target itself. With rotation all are numbered: `out-000001.mp4`,
    `out-000002.mp4`, …, and folders `masks/000001`, … A recording without rotation that goes on after a
    restart or a full disk does so in a numbered one, too. Numbers go on from the highest that is there,
    and a segment that is there is never opened: no run overwrites another's. What lies at the target itself
    is set aside, as `r.1.jsonl`, unless it is gone on with or to be overwritten.

    While it is claimed no other process writes there. What is locked is the target itself, and with rotation
    of files, which leaves no file at the target, `.out.mp4.lock` beside it. What `keep` may remove stands in
    `.out.mp4.segments`.
    """

    def __init__(self, target: Path, keeping: RecordingPolicy, *, are_folders: bool = False) -> None:
        self._target = target
        self._keeping = keeping
        self._are_folders = are_folders
        self._naming = Naming(target, are_folders)
        self._folder = self._naming.folder
        # Masks of another run would pass for this one's.
        self.is_numbered = keeping.rotate.is_on or (are_folders and keeping.append)
        """Whether even the first segment has a number, which no earlier run had."""
        self._space = SpaceWatch(self._folder, keeping.min_free_mb)
        self._segment = target
        self._goes_on = False
        self._is_claimed = False
        self._number = 0
        self._began_ns: int | None = None
        self._frames_refused = self._frames_lost = 0
        self._left_over: str | None = None

    @property
    def issue(self) -> str | None:
        """What a reader of the recording must know: frames that are not in it, or segments not removed."""
        issues = []
        if self._frames_refused:
            issues.append(
                f"{self._target}: {self._frames_refused} frames not recorded, less than "
                f"{self._keeping.min_free_mb:g} MB were free on the disk; make room, or set min_free_mb lower"
            )
        if self._frames_lost:
            issues.append(
                f"{self._target}: {self._frames_lost} recorded frames are gone: "
                f"they were removed while the recording went on"
            )
        return "; ".join([*issues, *([self._left_over] if self._left_over else [])]) or None

    @property
    def claim(self) -> Claim:
        """By which its files are locked."""
        return self._keeping.claim

    def take(self) -> None:
        """Make the folder, and claim the target: nothing that is there is touched. Safe to call twice.

        Raises:
            SinkError: if another writes there.
            OSError: if the folder cannot be made, or nothing can be written there.
        """
        if self._is_claimed:
            return
        self._is_claimed = True
        self.claim.enter()
        try:
            self._take()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Others may write there again. Safe to call twice."""
        if self._is_claimed:
            self._is_claimed = False
            self.claim.leave()

    def set_up(self, info: SourceInfo, resumes: bool) -> bool:
        """Claim the target; True if there is room for a first segment.

        Too little room is an error for a recorded source, whose user waits for the files. A vehicle must
        drive with a full disk, too: there the recording waits for room, and `issue` says so.

        Raises:
            SinkError: as said, and as `take` does.
            OSError: as `take` does.
        """
        self.take()
        self._goes_on = resumes or self._keeping.append
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

    def note_end(self, presence: Presence, frames: int, folder_bytes: int = 0) -> None:
        """The open segment, with so many frames of this run, is about to be closed; removed, they are lost.

        But for one that a hanging sink comes back to after `keep` has removed it.

        Args:
            folder_bytes: that this run has written to it, if it is a folder: other things may lie there.
        """
        if presence == "removed" and not self._keeping.index.is_dropped(self._segment):
            self._frames_lost += frames
        if presence != "removed":
            self._keeping.written.note(self._segment, frames, folder_bytes)

    def latest(self) -> Path:
        """The newest numbered segment that is there; the target where there is none."""
        number = self._naming.highest()
        return self._naming.numbered(number) if number else self._target

    def take_again(self) -> None:
        """Claim what has come in the place of a target that was moved or removed; raises as `take` does."""
        if not self.claim.is_shared:
            self.claim.release()
        self._take()

    def begin(self, make: Callable[[Path, OpenMode], T], time_ns: int | None = None) -> T:
        """What `make` gives for the next segment; then the oldest go.

        Args:
            make: opens a path. It must raise FileExistsError for one that must be new and is there (even
                if only since a moment ago), and may for one that it cannot go on with.
            time_ns: of its first frame; None if that is not known yet.

        Raises:
            SinkError: if another writes there.
            OSError: if it cannot be made.
        """
        self._began_ns = time_ns
        opening: OpenMode = "continue" if self._goes_on else "replace"
        self._goes_on = True
        if not self.is_numbered:
            if opening == "replace" and not self._are_folders:
                self._make_way()
            with contextlib.suppress(FileExistsError):
                made = make(self._target, opening)
                self._segment = self._target
                self._keeping.written.paths.append(self._target)
                return made
        self._number = self._number or self._naming.highest()
        while True:
            self._number += 1
            segment = self._naming.numbered(self._number)
            try:
                made = make(segment, "new")
            except FileExistsError:
                continue
            self._segment = segment
            self._keeping.written.paths.append(segment)
            if self._keeping.rotate.keep:
                self._keep(segment)
            return made

    def _take(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._keeping.rotate.is_on and not self._are_folders:
            self.claim.take(self._naming.beside("lock"), is_lock_file=True)
        else:
            self.claim.take(self._target)

    def _make_way(self) -> None:
        """Keep what is there, and claim the file that comes in its place before the old one is let go."""
        try:
            if not make_way(self._target, overwrite=self._keeping.overwrite):
                return
        except OSError as error:
            raise SinkError(
                f"{self._target}: is there already, and cannot be kept under another name: {error.strerror}; "
                f"name another one"
            ) from error
        self.claim.take(self._target)

    def _keep(self, new: Path) -> None:
        """Note the new segment, and remove the oldest; one that stays is told of, and recording goes on."""
        index = self._naming.beside("segments")
        segments = self._keeping.index.add(index, new, self._is_segment)
        try:
            save_names(index, segments, durable=self._keeping.durable)
        except OSError as error:
            self._left_over = f"{index}: cannot be written: {error.strerror}; rotate.keep may keep more"
        for segment in segments[: -self._keeping.rotate.keep]:
            try:
                if self._are_folders:
                    _remove_folder(segment)
                else:
                    segment.unlink(missing_ok=True)
                self._keeping.index.drop(segment)
            except OSError as error:
                self._left_over = f"{segment}: an old segment cannot be removed: {error.strerror}; remove it"

    def _is_segment(self, path: Path) -> bool:
        """Whether one is there with something in it; an empty one of a killed run is removed."""
        try:
            status = os.lstat(path)
            if not self._naming.number_of(path) or stat.S_ISDIR(status.st_mode) != self._are_folders:
                return False
            if self._are_folders:
                with contextlib.suppress(OSError):
                    path.rmdir()
                    return False
            elif status.st_size == 0 and not self.claim.is_shared:
                path.unlink()
                return False
        except OSError:
            return False
        return True


def _remove_folder(folder: Path) -> None:
    """Remove the pictures of ours in a folder, also what a killed run left unfinished, and then the folder.

    Raises:
        OSError: if it cannot be removed; what is not ours stays in it.
    """
    for kind in (MASKS, OVERLAYS):
        for picture in folder.rglob(f"*{kind.suffix}"):
            with contextlib.suppress(FileNotFoundError):
                if kind.is_certain(picture):
                    picture.unlink()
    for partial in folder.rglob(f".*{PARTIAL_SUFFIX}"):
        partial.unlink(missing_ok=True)
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(place)
