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
from perception.sinks.open_file import OpenMode, Segment
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


class PictureFolder(Segment):
    """One folder of images."""

    def __init__(self, folder: Path, opening: OpenMode, syncer: Syncer | None) -> None:
        """Create the folder if needed; FileExistsError if it must be new and is not."""
        folder.mkdir(parents=True, exist_ok=opening != "new")
        super().__init__(-1 if os.name == "nt" else os.open(folder, os.O_RDONLY | os.O_DIRECTORY), folder)
        self.folder = folder
        self._syncer = syncer
        self._blocks = 0

    @property
    def size_bytes(self) -> int:
        """Disk space of its files."""
        return self._blocks * _BLOCK_BYTES

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
        self._blocks += -(-len(content) // _BLOCK_BYTES)

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            if self._syncer:
                self._syncer.sync_name(folder)


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
    def _content(self, prediction: Prediction) -> bytes | None:
        """Of the frame's file; None if it gets none. Raises SinkError."""

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
        if not isinstance(output, Prediction) or (content := self._content(output)) is None:
            return
        if segment := self._segment_at(output.time_ns):
            name = f"{output.frame.name}{self._kind.suffix}"
            try:
                segment.write(name, content)
            except OSError as error:
                file, noun = segment.folder / name, self._kind.noun
                raise SinkError(f"{file}: cannot write a {noun}: {error.strerror}") from error

    def _found(self) -> list[Path]:
        return earlier_files(self._folder, self._kind, self._within, decodes_all=self._overwrites)

    def _remove_partial_files(self) -> None:
        """Remove files that a killed run left unfinished; no other process writes there now."""
        pattern = f".*{PARTIAL_SUFFIX}"
        last = self._segments.latest() if self._segments.is_numbered else self._folder
        for partial in [*self._folder.glob(pattern), *last.rglob(pattern)]:
            partial.unlink(missing_ok=True)
