"""A folder with one image file a frame: of its mask, or of its overlay."""

from __future__ import annotations

import errno
import os
from abc import abstractmethod
from pathlib import Path
from typing import Final

from perception.frame import OutputItem, Prediction
from perception.sinks.earlier_files import EarlierKind, clear, earlier_files
from perception.sinks.file_sink import FileSink
from perception.sinks.presence import Presence, Watched
from perception.sinks.rotation import OpenMode, RecordingPolicy, Segments
from perception.sinks.sink import SinkError
from perception.sinks.syncing import Syncer
from perception.sources.source import SourceInfo
from perception.system.atomic_file import (
    PARTIAL_SUFFIX,
    create_new,
    partial_of,
    write_atomically,
    write_partial,
)

# What a small file takes on the disk, whatever is in it.
_BLOCK_BYTES: Final = 4096


class PictureFolderSink(FileSink):
    """Writes one image file a frame, called as the frame is.

    With rotation a segment is a numbered folder in the folder; so is every run that goes on with an earlier
    one's. Else what an earlier run left is set aside: no older file passes for one of this run.

    It holds one file in memory at a time.
    """

    name: str

    def __init__(self, folder: str, kind: EarlierKind, keeping: RecordingPolicy | None = None) -> None:
        self._folder, self._kind = Path(folder), kind
        keeping = keeping or RecordingPolicy()
        self._overwrites, self._within = keeping.overwrite, keeping.folders
        self._earlier: list[Path] | None = None
        self._segments: Segments = Segments(self._folder, keeping, are_folders=True)
        self._syncer = Syncer() if keeping.durable else None
        self._segment: PictureFolder | None = None

    @abstractmethod
    def _takes(self, prediction: Prediction) -> bool:
        """Whether there is a file of it."""

    @abstractmethod
    def _encoded(self, prediction: Prediction) -> bytes:
        """The file's content; raises SinkError."""

    def claim(self) -> None:
        """As of every sink; also refuses a folder with pictures of another kind."""
        super().claim()
        try:
            if not self._segments.is_numbered:
                self._earlier = self._found()
        except OSError as error:
            raise self._unusable(error) from error

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Make the folder and try a file in it; what an earlier run left is set aside, or replaced.

        Raises:
            SinkError: if nothing can be written there, another writes there, or a recorded source finds the
                disk nearly full.
        """
        trial = partial_of(self._folder / "trial")
        with self._opening():
            if self._segments.set_up(info, resumes):
                os.close(create_new(trial))
                trial.unlink(missing_ok=True)
                if not self._segments.claim.is_shared:
                    self._remove_unfinished()
            if not resumes and not self._segments.is_numbered:
                earlier = self._found() if self._earlier is None else self._earlier
                clear(self._folder, earlier, self._kind, overwrite=self._overwrites)

    def write(self, output: OutputItem) -> None:
        """Write one file, whole or not at all; none where there is no frame."""
        if not isinstance(output, Prediction) or not self._takes(output) or not self._segments.has_room():
            return
        name, content = f"{output.frame.name}{self._kind.suffix}", self._encoded(output)
        try:
            if self._syncer:
                self._syncer.check()
            if self._segment and self._segment.presence != "there":
                self._end_segment()
                self._segments.take_again()
            if self._segment and self._segments.is_over(self._segment.size_bytes, output.time_ns):
                self._end_segment()
            if self._segment is None:
                self._segment = self._segments.begin(PictureFolder.at, output.time_ns)
            self._segment.write(name, content, self._syncer)
        except OSError as error:
            file = (self._segment.folder if self._segment else self._folder) / name
            raise SinkError(f"{file}: cannot write a {self._kind.noun}: {error.strerror}") from error

    def close(self) -> None:
        """Wait for what is to be safe from a power cut; every file is whole."""
        try:
            if self._syncer:
                self._syncer.close()
        except OSError as error:
            raise SinkError(f"{self._folder}: cannot write {self._kind.noun}s: {error.strerror}") from error
        finally:
            self._end_segment()
            self._segments.release()

    def _unusable(self, error: OSError) -> SinkError:
        what = f"{self._kind.noun}s"
        return SinkError(f"{self._folder}: cannot write {what}: {error.strerror}; choose another folder")

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment:
            self._segments.note_end(segment.presence, segment.files, segment.content_bytes)
            segment.close()

    def _found(self) -> list[Path]:
        return earlier_files(self._folder, self._kind, self._within, decodes_all=self._overwrites)

    def _remove_unfinished(self) -> None:
        """What a killed run left half-written; nobody else writes there now."""
        unfinished = f".*{PARTIAL_SUFFIX}"
        last = self._segments.latest() if self._segments.is_numbered else self._folder
        for partial in [*self._folder.glob(unfinished), *last.rglob(unfinished)]:
            partial.unlink(missing_ok=True)


class PictureFolder:
    """One folder of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = 0
        """Written to it."""
        self.content_bytes = 0
        self.size_bytes = 0
        """That their content takes on the disk."""
        self._descriptor = -1 if os.name == "nt" else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._watched = None if os.name == "nt" else Watched(self._descriptor, folder)

    @classmethod
    def at(cls, folder: Path, opening: OpenMode) -> PictureFolder:
        """The folder, made if need be; FileExistsError if it must be new and is not."""
        folder.mkdir(parents=True, exist_ok=opening != "new")
        return cls(folder)

    @property
    def presence(self) -> Presence:
        """Whether it is still in its place."""
        return self._watched.presence() if self._watched else "there"

    def write(self, name: str, content: bytes, syncer: Syncer | None) -> None:
        """Write a file; with a syncer it gets its name once it is safe.

        Args:
            name: with the folders that it lies in, where the source has such.

        Raises:
            OSError: if it cannot be written; FileExistsError for a file in such a folder that is another's.
        """
        file = self.folder / name
        if "/" in name:
            self._make_folder(file.parent, syncer)
            if file.exists():
                raise FileExistsError(errno.EEXIST, "a file of another kind is there", str(file))
        if syncer:
            syncer.rename(write_partial(file, content, waits_for_disk=False), file)
        else:
            write_atomically(file, content, waits_for_disk=False)
        self.files += 1
        self.content_bytes += len(content)
        self.size_bytes += -(-len(content) // _BLOCK_BYTES) * _BLOCK_BYTES

    def _make_folder(self, folder: Path, syncer: Syncer | None) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            if syncer:
                syncer.sync_name(folder)

    def close(self) -> None:
        """Nothing more is written; safe to call twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
