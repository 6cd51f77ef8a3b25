"""One picture of a split: some of its frames with their labels, as the node draws its own areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame, Yuv420, bgr_from_yuv
from perception.labels import IGNORE
from perception.letterbox import Letterbox
from perception.sinks.overlay import Canvas, copy_frame, draw_legend, draw_status, tint_areas
from train.data.frames import LabelledFrames

TILE_WH: Final = (320, 180)
COLUMNS: Final = 6
TILES: Final = 24


def contact_sheet(frames: LabelledFrames, indices: Sequence[int]) -> NDArray[np.uint8]:
    """(rows * 180, 1920, 3) BGR of at most 24 of the frames, spread evenly over `indices`.

    Direct and alternative in the node's colours, pixels to ignore nearly black.
    """
    chosen = np.linspace(0, len(indices) - 1, min(TILES, len(indices))).round().astype(int)
    rows = -(-len(chosen) // COLUMNS)
    sheet = np.zeros((rows * TILE_WH[1], COLUMNS * TILE_WH[0], 3), np.uint8)
    for place, position in enumerate(chosen):
        tile = _tile(frames, indices[position], has_legend=place == 0)
        top = place // COLUMNS * TILE_WH[1] + (TILE_WH[1] - tile.shape[0]) // 2
        left = place % COLUMNS * TILE_WH[0] + (TILE_WH[0] - tile.shape[1]) // 2
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def _tile(frames: LabelledFrames, index: int, has_legend: bool) -> NDArray[np.uint8]:
    image_bgr, class_map = frames[index]
    box = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), TILE_WH)
    width, height = (max(2, side // 2 * 2) for side in box.content_wh)  # chroma has half the pixels
    y, u, v = (np.zeros((height // halves, width // halves), np.uint8) for halves in (1, 2, 2))
    canvas = Canvas(y, u, v)
    copy_frame(canvas, Frame("contact sheet", index, 0, 0, image_bgr, frames.name(index)))
    tint_areas(canvas, class_map)
    draw_status(canvas, frames.name(index))
    if has_legend:
        draw_legend(canvas, 0)
    tile_bgr = bgr_from_yuv(Yuv420(y, u, v))
    ignored = cv2.resize(
        (class_map == IGNORE).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
    )
    tile_bgr[ignored == 1] //= 4
    return tile_bgr
