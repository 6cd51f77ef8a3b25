"""Masks as lossless PNG files, one per frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from perception.frame import Prediction
from perception.imaging.mask_png import mask_png
from perception.sinks.earlier_files import MASKS
from perception.sinks.kind import SinkKind
from perception.sinks.picture_folder import PictureFolderSink
from perception.sinks.rotation import RecordingPolicy
from perception.sinks.sink import Sink
from perception.sources.source import SourceInfo


@dataclass(frozen=True)
class MasksSettings:
    """Masks, a PNG of classes for each frame."""

    masks: Annotated[str, "FOLDER"] | None = None
    """Folder for one class map per frame, as PNG; its grey values are the ids, 0 to 3, so it looks black."""
    mask_palette: bool = False
    """Mask PNGs in the overlay's colours: Pillow still reads the ids, OpenCV reads the colours."""


def build_masks(settings: MasksSettings, policy: RecordingPolicy, info: SourceInfo) -> Sink:
    """The sink for `settings.masks`."""
    if not settings.mask_palette:
        policy.written.remark = "looks black without --mask-palette"
    return MaskFolderSink(str(settings.masks), policy, has_palette=settings.mask_palette)


class MaskFolderSink(PictureFolderSink):
    """Writes `<name of the frame>.png`: (H, W) uint8 ids of `labels.IDS`, at the frame's size.

    With a palette they are indices of the overlay's colours. Frames without a mask have no file.
    """

    name = "masks"

    def __init__(
        self, folder: str, policy: RecordingPolicy | None = None, *, has_palette: bool = False
    ) -> None:
        super().__init__(folder, MASKS, policy)
        self._has_palette = has_palette

    def _content(self, prediction: Prediction) -> bytes | None:
        if not prediction.has_mask:
            return None
        return mask_png(prediction.class_map_at(prediction.frame_wh), has_palette=self._has_palette)


MASKS_SINK: Final = SinkKind(
    settings=MasksSettings,
    target="masks",
    build=build_masks,
    frame_is="mask",
    pictures=lambda folder: MASKS,
)
