"""Masks as lossless PNG files, one a frame."""

from __future__ import annotations

from perception.frame import Prediction
from perception.imaging.mask_png import mask_png
from perception.sinks.earlier_files import MASKS
from perception.sinks.picture_folder import PictureFolderSink
from perception.sinks.rotation import RecordingPolicy


class MaskFolderSink(PictureFolderSink):
    """Writes `<name of the frame>.png`: (H, W) uint8 ids, as `labels.IDS` has them, at the frame's size.

    With a palette they are indices of the overlay's colours. There is none where the camera did not see the
    road.
    """

    name = "masks"

    def __init__(
        self, folder: str, keeping: RecordingPolicy | None = None, *, has_palette: bool = False
    ) -> None:
        super().__init__(folder, MASKS, keeping)
        self._has_palette = has_palette

    def _takes(self, prediction: Prediction) -> bool:
        return prediction.has_mask

    def _encoded(self, prediction: Prediction) -> bytes:
        return mask_png(prediction.class_map_at(prediction.frame_wh), has_palette=self._has_palette)
