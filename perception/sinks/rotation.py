"""Segments of a recording: rotation, and removal of the oldest."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from perception.sinks.claim import Claim
from perception.sinks.earlier_files import MASKS, OVERLAYS
from perception.sinks.naming import Naming, SegmentIndex, save_names
from perception.sinks.open_file import OpenMode, Presence
from perception.sinks.sink import SinkError
from perception.sinks.space import SpaceWatch
from perception.sinks.written import Written
from perception.sources.source import SourceInfo
from perception.system.atomic_file import PARTIAL_SUFFIX
from perception.system.plugins import Checked
from perception.system.set_aside import make_way

T = TypeVar("T")
_MB: Final = 1_000_000
_S: Final = 1_000_000_000


@dataclass(frozen=True)
class Rotate:
    """When a new segment begins, and how many are kept."""

    size_mb: float = 0.0
    """A segment ends when it reaches this size (millions of bytes); 0 is no limit."""
    age_s: float = 0.0
    """A segment ends after this time of the source; 0 is no limit."""
    keep: int = 0
    """Number of segments to keep, including the open one and those of earlier runs; 0 keeps all."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        for name in ("size_mb", "age_s", "keep"):
            if getattr(self, name) < 0:
                raise ValueError(f"rotate.{name} is {getattr(self, name)}; 0 turns it off")
        if self.keep and not self.is_on:
            raise ValueError(
                f"rotate.keep is {self.keep}, but segments never end; set rotate.size_mb or rotate.age_s too"
            )

    @property
    def is_on(self) -> bool:
        """Whether segments end."""
        return self.size_mb > 0 or self.age_s > 0


@dataclass(frozen=True)
class RecordingSettings(Checked):
    """Rotation and storage of outputs."""

    rotate: Rotate = field(default_factory=Rotate)
    min_free_mb: float = 200.0
    """Stop writing files while less is free on their disk (millions of bytes); 0 never stops."""
    append: bool = False
    """Continue the last run's outputs: records in their file, video and masks under the next number."""
    overwrite: bool = False
    """Replace existing outputs; without it, they are kept under another name (r.jsonl as r.1.jsonl)."""
    durable: bool = False
    """Sync outputs to the disk once a second, so that a power cut loses at most 1.5 s."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.append and self.overwrite:
            raise ValueError("append continues existing outputs, and overwrite replaces them; leave one out")
        if self.min_free_mb < 0:
            raise ValueError(f"min_free_mb is {self.min_free_mb}; 0 turns it off")
        super().__post_init__()


@dataclass(frozen=True)
class RecordingPolicy(RecordingSettings):
    """Rotation and storage of one sink, and the state it shares with its replacement after a restart."""

    folders: frozenset[str] = frozenset()
    """Folders in the names of frames, with all parents, such as `a` and `a/b` of `a/b/0001`."""
    index: SegmentIndex = field(default_factory=SegmentIndex)
    claim: Claim = field(default_factory=Claim)
    written: Written = field(default_factory=Written)


class Segments:
    """The segments of one recording.

    Without rotation there is one, the target itself. With rotation all are numbered: `out-000001.mp4`,
    `out-000002.mp4`, …, and folders `masks/000001`, … A recording without rotation that continues after a
    restart or a full disk does so in a numbered one too. Numbers continue from the highest existing one, and
    an existing segment is never opened, so no run overwrites another's. An existing target is set aside, as
    `r.1.jsonl`, unless it is continued or overwritten.

    While it is claimed no other process writes there. The lock is on the target itself or, for rotated files,
    which leave no file at the target, on `.out.mp4.lock` beside it. `.out.mp4.segments` lists the segments
    that `keep` may remove.
    """

    def __init__(self, target: Path, policy: RecordingPolicy, *, are_folders: bool = False) -> None:
        self._target = target
        self._policy = policy
        self._are_folders = are_folders
        self._naming = Naming(target, are_folders)
        self._folder = self._naming.folder
        # Masks of another run would be mistaken for this one's.
        self.is_numbered = policy.rotate.is_on or (are_folders and policy.append)
        """Whether even the first segment has a number, which no earlier run had."""
        self._space = SpaceWatch(self._folder, policy.min_free_mb)
        self._segment = target
        self._continues = False
        self._is_claimed = False
        self._number = 0
        self._began_ns: int | None = None
        self._frames_refused = self._frames_lost = 0
        self._left_over: str | None = None

    @property
    def issue(self) -> str | None:
        """Frames missing in the recording, or segments that could not be removed; None if there are none."""
        issues = []
        if self._frames_refused:
            issues.append(
                f"{self._target}: {self._frames_refused} frames not recorded, less than "
                f"{self._policy.min_free_mb:g} MB were free on the disk; make room, or set min_free_mb lower"
            )
        if self._frames_lost:
            issues.append(
                f"{self._target}: {self._frames_lost} recorded frames are lost: "
                f"their files were removed during the recording"
            )
        return "; ".join([*issues, *([self._left_over] if self._left_over else [])]) or None

    @property
    def claim(self) -> Claim:
        """The lock of its files."""
        return self._policy.claim

    def take(self) -> None:
        """Create the folder and claim the target, leaving its content alone. Safe to call twice.

        Raises:
            SinkError: if another process writes there.
            OSError: if the folder cannot be created, or nothing can be written there.
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
        """Give up the claim. Safe to call twice."""
        if self._is_claimed:
            self._is_claimed = False
            self.claim.leave()

    def set_up(self, info: SourceInfo, resumes: bool) -> bool:
        """Claim the target; True if there is room for a first segment.

        For a recorded source too little room is an error. A vehicle must drive with a full disk too: there
        the recording waits for room, and `issue` reports it.

        Raises:
            SinkError: for too little room, and like `take`.
            OSError: like `take`.
        """
        self.take()
        self._continues = resumes or self._policy.append
        has_room = self._space.has_room()
        if not has_room and not info.is_live and not resumes:
            raise SinkError(
                f"{self._target}: {self._space.free_mb:.0f} MB are free on its disk, below the limit of "
                f"{self._policy.min_free_mb:g} MB; make room, or set min_free_mb lower"
            )
        return has_room

    def has_room(self) -> bool:
        """Whether a frame may be recorded; counts those that may not."""
        if self._space.has_room():
            return True
        self._frames_refused += 1
        return False

    def is_over(self, size_bytes: int, time_ns: int) -> bool:
        """Whether a segment of this size ends before a frame of this time."""
        rotate = self._policy.rotate
        if self._began_ns is None or time_ns < self._began_ns:  # new, or the source restarted
            self._began_ns = time_ns
        return bool(
            (rotate.size_mb and size_bytes >= rotate.size_mb * _MB)
            or (rotate.age_s and time_ns - self._began_ns >= rotate.age_s * _S)
        )

    def note_end(self, presence: Presence, frames: int, folder_bytes: int = 0) -> None:
        """Count the frames of the segment that is about to be closed; if it was removed, as lost.

        They are not lost if `keep` removed it while a sink hung.

        Args:
            folder_bytes: written to it by this run, if it is a folder, which may have other contents.
        """
        if presence == "removed" and not self._policy.index.is_dropped(self._segment):
            self._frames_lost += frames
        if presence != "removed":
            self._policy.written.note(self._segment, frames, folder_bytes)

    def latest(self) -> Path:
        """The newest numbered segment; the target if there is none."""
        number = self._naming.highest()
        return self._naming.numbered(number) if number else self._target

    def take_again(self) -> None:
        """Claim the new file after the target was moved or removed; raises like `take`."""
        if not self.claim.is_shared:
            self.claim.release()
        self._take()

    def begin(self, make: Callable[[Path, OpenMode], T], time_ns: int | None = None) -> T:
        """Open the next segment with `make`, and remove the oldest.

        Args:
            make: opens a path. It must raise FileExistsError if the path must be new and exists, even since
                a moment ago, and may if it cannot continue an existing one.
            time_ns: of its first frame; None if unknown.

        Raises:
            SinkError: if another process writes there.
            OSError: if it cannot be created.
        """
        self._began_ns = time_ns
        opening: OpenMode = "continue" if self._continues else "replace"
        self._continues = True
        if not self.is_numbered:
            if opening == "replace" and not self._are_folders:
                self._make_way()
            with contextlib.suppress(FileExistsError):
                made = make(self._target, opening)
                self._segment = self._target
                self._policy.written.paths.append(self._target)
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
            self._policy.written.paths.append(segment)
            if self._policy.rotate.keep:
                self._keep(segment)
            return made

    def _take(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._policy.rotate.is_on and not self._are_folders:
            self.claim.take(self._naming.beside("lock"), is_lock_file=True)
        else:
            self.claim.take(self._target)

    def _make_way(self) -> None:
        """Set aside what exists, and claim the new file before releasing the old one."""
        try:
            if not make_way(self._target, overwrite=self._policy.overwrite):
                return
        except OSError as error:
            raise SinkError(
                f"{self._target}: exists already and cannot be kept under another name: {error.strerror}; "
                f"name another one"
            ) from error
        self.claim.take(self._target)

    def _keep(self, new: Path) -> None:
        """Add the new segment to the index and remove the oldest; a failure is only reported."""
        index = self._naming.beside("segments")
        segments = self._policy.index.add(index, new, self._is_segment)
        try:
            save_names(index, segments, durable=self._policy.durable)
        except OSError as error:
            self._left_over = f"{index}: cannot be written: {error.strerror}; rotate.keep may keep more"
        for segment in segments[: -self._policy.rotate.keep]:
            try:
                if self._are_folders:
                    _remove_folder(segment)
                else:
                    segment.unlink(missing_ok=True)
                self._policy.index.drop(segment)
            except OSError as error:
                self._left_over = f"{segment}: an old segment cannot be removed: {error.strerror}; remove it"

    def _is_segment(self, path: Path) -> bool:
        """Whether it exists and is not empty; an empty one of a killed run is removed."""
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
    """Remove our pictures and partial files in a folder, and then the folder.

    Raises:
        OSError: if it cannot be removed; files that are not ours stay in it.
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
