"""A contact sheet of a split: some of its frames with their labels, drawn like the node's areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.imaging.letterbox import Letterbox, nearest
from perception.labels import IGNORE
from train.data.frames import LabelledFrames
from train.overlay import overlaid

TILE_WH: Final = (320, 180)
COLUMNS: Final = 6
TILES: Final = 24


def contact_sheet(frames: LabelledFrames, indices: Sequence[int]) -> NDArray[np.uint8]:
    """(rows * height, columns * width, 3) BGR of at most 24 of the frames, spread evenly over `indices`.

    Rows have at most 6 tiles and are as even as possible; tiles have the size of the largest, at most
    320x180. Direct and alternative have the node's colours, ignored pixels are nearly black.
    """
    chosen = np.linspace(0, len(indices) - 1, min(TILES, len(indices))).round().astype(int)
    tiles = [_tile(frames, indices[position], has_legend=place == 0) for place, position in enumerate(chosen)]
    rows = -(-len(tiles) // COLUMNS)
    columns = -(-len(tiles) // rows)
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    sheet = np.zeros((rows * height, columns * width, 3), np.uint8)
    for place, tile in enumerate(tiles):
        top = place // columns * height + (height - tile.shape[0]) // 2
        left = place % columns * width + (width - tile.shape[1]) // 2
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def _tile(frames: LabelledFrames, index: int, has_legend: bool) -> NDArray[np.uint8]:
    image_bgr, class_map = frames[index]
    box = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), TILE_WH)
    width, height = (max(2, side // 2 * 2) for side in box.content_wh)
    tile_bgr = overlaid(image_bgr, class_map, (width, height), frames.name(index), has_legend)
    tile_bgr[nearest(class_map, (width, height)) == IGNORE] //= 4
    return tile_bgr
