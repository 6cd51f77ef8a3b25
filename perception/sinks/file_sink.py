"""Base of the sinks that write files: target, segments and errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from perception.frame import OutputItem
from perception.sinks.claim import Claim
from perception.sinks.open_file import OpenMode, Segment
from perception.sinks.rotation import RecordingPolicy, Segments
from perception.sinks.sink import SinkError
from perception.sinks.syncing import Syncer
from perception.sources.source import SourceInfo

S = TypeVar("S", bound=Segment)


class FileSink(ABC, Generic[S]):
    """Writes frames to the segments of a recording. Subclasses open a segment and write one frame to it."""

    _noun: str
    """What it writes, for errors."""
    _place: ClassVar[str] = "file"

    def __init__(
        self, where: str, target: Path | None, policy: RecordingPolicy | None, *, are_folders: bool = False
    ) -> None:
        """
        Args:
            where: name of the target in errors.
            target: None if it is not on a disk; then `_make` is called with an empty path.
        """
        policy = policy or RecordingPolicy()
        self._where = where
        self._segments = None if target is None else Segments(target, policy, are_folders=are_folders)
        self._syncer = Syncer() if policy.durable else None
        self._segment: S | None = None
        self._is_open = False

    @property
    def issue(self) -> str | None:
        """See `Sink`."""
        return self._segments.issue if self._segments else None

    def claim(self) -> None:
        """See `HasTarget`."""
        try:
            if self._segments:
                self._segments.take()
        except OSError as error:
            raise self._unusable(error) from error

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Create the target; an existing one is set aside, replaced or continued, as the policy says.

        Raises:
            SinkError: if the target cannot be written or belongs to another writer, or if for a recorded
                source the disk is nearly full.
        """
        try:
            self._open(info, resumes)
        except OSError as error:
            self.close()
            raise self._unusable(error) from error
        except SinkError:
            self.close()
            raise
        self._is_open = True

    def write(self, output: OutputItem) -> None:
        """Write one frame to the current segment, or to the next one; nothing without room."""
        if not self._is_open:
            raise SinkError(f"{self._where}: cannot write {self._noun}: the {self._place} is closed")
        try:
            self._write(output)
        except OSError as error:
            self.close()
            raise self._failed(error) from error

    def close(self) -> None:
        """See `Sink`; raises SinkError if the disk took no more."""
        self._is_open = False
        try:
            try:
                self._end_segment()
            finally:
                if self._syncer:
                    self._syncer.close()
        except OSError as error:
            raise self._failed(error) from error
        finally:
            if self._segments:
                self._segments.release()

    @abstractmethod
    def _make(self, path: Path, opening: OpenMode, claim: Claim) -> S:
        """Open a segment; raises OSError, and FileExistsError as in `Segments.begin`."""

    @abstractmethod
    def _write(self, output: OutputItem) -> None:
        """Write one frame; raises OSError or SinkError."""

    def _open(self, info: SourceInfo, resumes: bool) -> None:
        if self._segments is None:
            self._segment = self._make(Path(), "replace", Claim())
        elif self._segments.set_up(info, resumes):
            self._segment = self._segments.begin(self._made)

    def _made(self, path: Path, opening: OpenMode) -> S:
        assert self._segments is not None
        segment = self._make(path, opening, self._segments.claim)
        if self._syncer and segment.descriptor >= 0:
            self._syncer.watch(segment.descriptor, path)
        return segment

    def _segment_at(self, time_ns: int) -> S | None:
        """The segment for a frame of this time; None while there is no room. Raises OSError."""
        if self._syncer:
            self._syncer.check()
        segments = self._segments
        if segments is None:
            return self._segment
        if not segments.has_room():
            self._end_segment()
            return None
        if self._segment and self._segment.presence != "there":
            self._end_segment()
            segments.take_again()
        if self._segment and segments.is_over(self._segment.size_bytes, time_ns):
            self._end_segment()
        if self._segment is None:
            self._segment = segments.begin(self._made, time_ns)
        return self._segment

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        if self._segments:
            self._segments.note_end(segment.presence, segment.frames, segment.folder_bytes)
        descriptor = segment.descriptor
        try:
            segment.close()
        finally:
            if self._syncer:
                self._syncer.finish(descriptor)

    def _failed(self, error: OSError) -> SinkError:
        return SinkError(f"{self._where}: cannot write {self._noun}: {error.strerror}")

    def _unusable(self, error: OSError) -> SinkError:
        return SinkError(f"{self._failed(error)}; choose another {self._place}")
