"""A folder with one image file per frame: its mask, or its overlay."""

from __future__ import annotations

import errno
import os
from abc import abstractmethod
from pathlib import Path
from typing import Final

from perception.frame import OutputItem, Prediction
from perception.sinks.claim import Claim
from perception.sinks.earlier_files import EarlierKind, clear, earlier_files
from perception.sinks.file_sink import FileSink
from perception.sinks.open_file import OpenMode, Presence, Watched
from perception.sinks.rotation import RecordingPolicy, Segments
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

# Disk space of a small file, whatever its content.
_BLOCK_BYTES: Final = 4096


class PictureFolder:
    """One folder of images."""

    def __init__(self, folder: Path, opening: OpenMode, syncer: Syncer | None) -> None:
        """Create the folder if needed; FileExistsError if it must be new and is not."""
        folder.mkdir(parents=True, exist_ok=opening != "new")
        self.folder = folder
        self.frames = 0
        self.folder_bytes = 0
        self.size_bytes = 0
        """Disk space of its files."""
        self.descriptor = -1 if os.name == "nt" else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._watched = None if os.name == "nt" else Watched(self.descriptor, folder)
        self._syncer = syncer

    @property
    def presence(self) -> Presence:
        """Whether it is still in its place."""
        return self._watched.presence() if self._watched else "there"

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically; with a syncer it gets its name once it is on the disk.

        Args:
            name: with its subfolders, if the source has such.

        Raises:
            OSError: if it cannot be written; FileExistsError for a file in such a folder that is not ours.
        """
        file = self.folder / name
        if "/" in name:
            self._make_folder(file.parent)
            if file.exists():
                raise FileExistsError(errno.EEXIST, "a file of another kind is there", str(file))
        if self._syncer:
            self._syncer.rename(write_partial(file, content, waits_for_disk=False), file)
        else:
            write_atomically(file, content, waits_for_disk=False)
        self.frames += 1
        self.folder_bytes += len(content)
        self.size_bytes += -(-len(content) // _BLOCK_BYTES) * _BLOCK_BYTES

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            if self._syncer:
                self._syncer.sync_name(folder)

    def close(self) -> None:
        """Close the descriptor; nothing more is written."""
        if self.descriptor >= 0:
            os.close(self.descriptor)


class PictureFolderSink(FileSink[PictureFolder]):
    """Writes one image file per frame, named like the frame.

    With rotation, segments are numbered folders in the folder; so is every run that appends to an earlier
    one. Otherwise files of an earlier run are set aside, so that none is mistaken for one of this run.
    Memory: one file.
    """

    name: str
    _place = "folder"
    _segments: Segments

    def __init__(self, folder: str, kind: EarlierKind, policy: RecordingPolicy | None = None) -> None:
        policy = policy or RecordingPolicy()
        self._folder, self._kind, self._noun = Path(folder), kind, f"{kind.noun}s"
        self._overwrites, self._within = policy.overwrite, policy.folders
        self._earlier: list[Path] | None = None
        super().__init__(str(self._folder), self._folder, policy, are_folders=True)

    @abstractmethod
    def _takes(self, prediction: Prediction) -> bool:
        """Whether the frame gets a file."""

    @abstractmethod
    def _encoded(self, prediction: Prediction) -> bytes:
        """The file's content; raises SinkError."""

    def claim(self) -> None:
        """See `HasTarget`; also refuses a folder with other files of that suffix."""
        super().claim()
        try:
            if not self._segments.is_numbered:
                self._earlier = self._found()
        except OSError as error:
            raise self._unusable(error) from error

    def _open(self, info: SourceInfo, resumes: bool) -> None:
        """Prepare the folder and try to create a file; a segment begins with its first frame."""
        if self._segments.set_up(info, resumes):
            trial = partial_of(self._folder / "trial")
            os.close(create_new(trial))
            trial.unlink(missing_ok=True)
            if not self._segments.claim.is_shared:
                self._remove_partial_files()
        if not resumes and not self._segments.is_numbered:
            earlier = self._found() if self._earlier is None else self._earlier
            clear(self._folder, earlier, self._kind, overwrite=self._overwrites)

    def _make(self, path: Path, opening: OpenMode, claim: Claim) -> PictureFolder:
        return PictureFolder(path, opening, self._syncer)

    def _write(self, output: OutputItem) -> None:
        if not isinstance(output, Prediction) or not self._takes(output):
            return
        segment = self._segment_at(output.time_ns)
        if segment is None:
            return
        name = f"{output.frame.name}{self._kind.suffix}"
        try:
            segment.write(name, self._encoded(output))
        except OSError as error:
            raise SinkError(
                f"{segment.folder / name}: cannot write a {self._kind.noun}: {error.strerror}"
            ) from error

    def _found(self) -> list[Path]:
        return earlier_files(self._folder, self._kind, self._within, decodes_all=self._overwrites)

    def _remove_partial_files(self) -> None:
        """Remove files that a killed run left unfinished; no other process writes there now."""
        pattern = f".*{PARTIAL_SUFFIX}"
        last = self._segments.latest() if self._segments.is_numbered else self._folder
        for partial in [*self._folder.glob(pattern), *last.rglob(pattern)]:
            partial.unlink(missing_ok=True)
