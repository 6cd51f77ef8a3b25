"""Masks as lossless PNG files, one a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2

from perception.atomic_file import write_atomically
from perception.frame import Output, Prediction
from perception.sinks.rotation import Keeping, Opening, Segments
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

# A class map is long runs of one value: run lengths alone make it small, and filters cost most of the
# time (9 ms at 1280x720 with OpenCV's own choice, 1 ms without).
_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)
# What a small file takes on the disk, whatever is in it.
_BLOCK_BYTES: Final = 4096


class MaskFolderSink:
    """Writes `<name of the frame>.png`: (H, W) uint8 ids, as `labels.IDS` has them, at the frame's size.

    With rotation a segment is a numbered folder in the folder. It holds one mask in memory at a time.
    """

    name = "masks"

    def __init__(self, folder: str, keeping: Keeping | None = None) -> None:
        self._folder = Path(folder)
        self._segments = Segments(self._folder, keeping or Keeping(), are_folders=True)
        self._segment: Path | None = None
        self._segment_bytes = 0

    @property
    def trouble(self) -> str | None:
        """As of every sink."""
        return self._segments.trouble

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Make the folder and try a file in it; masks that are there stay, but for those of the same name.

        Raises:
            SinkError: if nothing can be written there, or a recorded source finds the disk nearly full.
        """
        trial = self._folder / ".trial.part"
        try:
            if self._segments.prepare(info, resumes):
                trial.write_bytes(b"")
                trial.unlink(missing_ok=True)
        except OSError as error:
            reason = f"cannot write masks: {error.strerror}; choose another folder"
            raise SinkError(f"{self._folder}: {reason}") from error

    def write(self, output: Output) -> None:
        """Write one PNG, whole or not at all; none where the camera did not see the road."""
        if not isinstance(output, Prediction) or not output.has_mask or not self._segments.has_room():
            return
        file = self._folder / f"{output.frame.name}.png"
        _, png = cv2.imencode(".png", output.class_map_at(output.frame.frame_wh), _PNG)
        try:
            if self._segment is None or self._segments.is_over(self._segment_bytes, output.time_ns):
                self._segment = self._segments.begin(_make_folder, output.time_ns)
                self._segment_bytes = 0
            file = self._segment / file.name
            write_atomically(file, png.tobytes(), waits_for_disk=False)
        except OSError as error:
            raise SinkError(f"{file}: cannot write a mask: {error.strerror}") from error
        self._segment_bytes += -(-len(png) // _BLOCK_BYTES) * _BLOCK_BYTES

    def close(self) -> None:
        """Nothing to do: every file is whole."""


def _make_folder(folder: Path, opening: Opening) -> Path:
    folder.mkdir(parents=True, exist_ok=opening != "new")
    return folder
