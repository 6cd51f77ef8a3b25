"""Masks as lossless PNG files, one a frame."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from perception.atomic_file import create_new, write_atomically, write_partial
from perception.frame import Output, Prediction
from perception.mask_png import mask_png
from perception.sinks.earlier_masks import clear, earlier_masks
from perception.sinks.presence import Presence, Watched
from perception.sinks.rotation import Keeping, Opening, Segments
from perception.sinks.sink import SinkError
from perception.sinks.syncing import Syncer
from perception.sources.source import SourceInfo

# What a small file takes on the disk, whatever is in it.
_BLOCK_BYTES: Final = 4096


class MaskFolderSink:
    """Writes `<name of the frame>.png`: (H, W) uint8 ids, as `labels.IDS` has them, at the frame's size.

    With a palette they are indices of the overlay's colours.

    With rotation a segment is a numbered folder in the folder; so is every run that goes on with an earlier
    one's. Else masks of an earlier run are set aside: an older mask never passes for one of this run.

    It holds one mask in memory at a time.
    """

    name = "masks"

    def __init__(self, folder: str, keeping: Keeping | None = None, *, has_palette: bool = False) -> None:
        self._folder, self._has_palette = Path(folder), has_palette
        keeping = keeping or Keeping()
        self._overwrites = keeping.overwrite
        self._earlier: list[Path] | None = None
        self._segments = Segments(self._folder, keeping, are_folders=True)
        self._syncer = Syncer() if keeping.durable else None
        self._segment: MaskFolder | None = None

    @property
    def trouble(self) -> str | None:
        """As of every sink."""
        return self._segments.trouble

    def claim(self) -> None:
        """As of every sink; also refuses a folder with pictures that are no masks."""
        try:
            self._segments.take()
            if not self._segments.is_numbered:
                self._earlier = self._earlier_masks()
        except OSError as error:
            raise self._unusable(error) from error

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Make the folder and try a file in it; masks that are there are set aside, or replaced.

        Raises:
            SinkError: if nothing can be written there, another writes there, or a recorded source finds the
                disk nearly full.
        """
        trial = self._folder / ".trial.part"
        try:
            if self._segments.prepare(info, resumes):
                os.close(create_new(trial))
                trial.unlink(missing_ok=True)
                if not self._segments.claim.is_shared:
                    self._remove_unfinished()
            if not resumes and not self._segments.is_numbered:
                earlier = self._earlier_masks() if self._earlier is None else self._earlier
                clear(self._folder, earlier, overwrite=self._overwrites)
        except OSError as error:
            self.close()
            raise self._unusable(error) from error
        except SinkError:
            self.close()
            raise

    def write(self, output: Output) -> None:
        """Write one PNG, whole or not at all; none where the camera did not see the road."""
        if not isinstance(output, Prediction) or not output.has_mask:
            return
        name = f"{output.frame.name}.png"
        if not self._segments.has_room():
            return
        png = mask_png(output.class_map_at(output.frame.frame_wh), has_palette=self._has_palette)
        try:
            if self._syncer:
                self._syncer.check()
            if self._segment and self._segment.presence != "there":
                self._end_segment()
                self._segments.take_again()
            if self._segment and self._segments.is_over(self._segment.size_bytes, output.time_ns):
                self._end_segment()
            if self._segment is None:
                self._segment = self._segments.begin(MaskFolder.at, output.time_ns)
            self._segment.write(name, png, self._syncer)
        except OSError as error:
            file = (self._segment.folder if self._segment else self._folder) / name
            raise SinkError(f"{file}: cannot write a mask: {error.strerror}") from error

    def close(self) -> None:
        """Wait for what is to be safe from a power cut; every file is whole."""
        try:
            if self._syncer:
                self._syncer.close()
        except OSError as error:
            raise SinkError(f"{self._folder}: cannot write masks: {error.strerror}") from error
        finally:
            self._end_segment()
            self._segments.release()

    def _unusable(self, error: OSError) -> SinkError:
        return SinkError(f"{self._folder}: cannot write masks: {error.strerror}; choose another folder")

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment:
            self._segments.note_end(segment.presence, segment.masks)
            segment.close()

    def _earlier_masks(self) -> list[Path]:
        return earlier_masks(self._folder, decodes_all=self._overwrites)

    def _remove_unfinished(self) -> None:
        """What a killed run left half-written; nobody else writes there now."""
        last = self._segments.latest() if self._segments.is_numbered else self._folder
        for partial in [*self._folder.glob("*.png.partial"), *last.rglob("*.png.partial")]:
            partial.unlink(missing_ok=True)


class MaskFolder:
    """One folder of masks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.masks = 0
        """Written to it."""
        self.size_bytes = 0
        self._descriptor = -1 if os.name == "nt" else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._watched = None if os.name == "nt" else Watched(self._descriptor, folder)

    @classmethod
    def at(cls, folder: Path, opening: Opening) -> MaskFolder:
        """The folder, made if need be; FileExistsError if it must be new and is not."""
        folder.mkdir(parents=True, exist_ok=opening != "new")
        return cls(folder)

    @property
    def presence(self) -> Presence:
        """Whether it is still in its place."""
        return self._watched.presence() if self._watched else "there"

    def write(self, name: str, png: bytes, syncer: Syncer | None) -> None:
        """Write a mask; with a syncer it gets its name once it is safe.

        Args:
            name: with the folders that it lies in, where the source has such.

        Raises:
            OSError: if it cannot be written; FileExistsError for a picture in such a folder that is no mask.
        """
        file = self.folder / name
        if "/" in name:
            self._make_folder(file.parent, syncer)
            if file.exists():
                raise FileExistsError(errno.EEXIST, "a picture that is no mask is there", str(file))
        if syncer:
            syncer.rename(write_partial(file, png, waits_for_disk=False), file)
        else:
            write_atomically(file, png, waits_for_disk=False)
        self.masks += 1
        self.size_bytes += -(-len(png) // _BLOCK_BYTES) * _BLOCK_BYTES

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
