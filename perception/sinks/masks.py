"""Masks as lossless PNG files, one a frame."""

from __future__ import annotations

from pathlib import Path

import cv2

from perception.atomic_file import write_atomically
from perception.frame import Output, Prediction
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

# A class map is long runs of one value: run lengths alone make it small, and filters cost most of the
# time (9 ms at 1280x720 with OpenCV's own choice, 1 ms without).
_PNG = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)


class MaskFolderSink:
    """Writes `<name of the frame>.png`: (H, W) uint8 ids, as `labels.IDS` has them, at the frame's size."""

    name = "masks"

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def open(self, info: SourceInfo) -> None:
        """Make the folder and try a file in it.

        Raises:
            SinkError: if nothing can be written there.
        """
        trial = self._folder / ".trial.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            trial.write_bytes(b"")
            trial.unlink()
        except OSError as error:
            reason = f"cannot write masks: {error.strerror}; choose another folder"
            raise SinkError(f"{self._folder}: {reason}") from error

    def write(self, output: Output) -> None:
        """Write one PNG, whole or not at all; none where the camera did not see the road."""
        if not isinstance(output, Prediction) or not output.has_mask:
            return
        file = self._folder / f"{output.frame.name}.png"
        _, png = cv2.imencode(".png", output.class_map_at(output.frame.frame_wh), _PNG)
        try:
            write_atomically(file, png.tobytes(), waits_for_disk=False)
        except OSError as error:
            raise SinkError(f"{file}: cannot write a mask: {error.strerror}") from error

    def close(self) -> None:
        """Nothing to do: every file is whole."""
