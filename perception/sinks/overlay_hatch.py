"""Hatching of what is ignored in the overlay: thin slanting lines, a little nearer to grey."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.yuv import Plane
from perception.scene.ignore_mask import IgnoreMask
from perception.sinks.overlay_canvas import Canvas

_FRAME_PX_PER_LINE_PX: Final = 400
_GAP_LINES: Final = 9
"""Between two lines, in widths of a line."""
_SHIFT_LUMA: Final = 32
_LIGHT_LUMA: Final = 100
"""Lighter pictures have dark lines, darker ones light lines: each stands out a little."""

_LEVELS: Final = np.arange(256)
_TABLE: Final = np.where(_LEVELS > _LIGHT_LUMA, _LEVELS - _SHIFT_LUMA, _LEVELS + _SHIFT_LUMA).astype(np.uint8)


def hatch(canvas: Canvas, mask: IgnoreMask) -> None:
    """Hatch what is ignored, in place.

    Args:
        canvas: the part of it that holds the frame.
        mask: of the frame.
    """
    lines, (rows, columns) = _lines_in(mask, canvas.frame_wh)
    part = canvas.y[rows, columns]
    if part.size:
        cv2.copyTo(_shifted(part), lines, part)


def _shifted(luma: Plane) -> Plane:
    """The picture as it is under a line."""
    return np.asarray(cv2.LUT(luma, _TABLE), np.uint8)


@lru_cache(4)
def _lines_in(mask: IgnoreMask, to_wh: tuple[int, int]) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
    """(h, w) uint8 of the lines in the rows and columns that hold the mask."""
    ignored = mask.at(to_wh)
    left, top, columns, rows = cv2.boundingRect(ignored)
    width_px = max(1, round(min(to_wh) / _FRAME_PX_PER_LINE_PX))
    x, y = np.arange(columns)[None] + left, np.arange(rows)[:, None] + top
    is_line = (x + y) % ((1 + _GAP_LINES) * width_px) < width_px
    lines = np.asarray(is_line.view(np.uint8) * ignored[top : top + rows, left : left + columns], np.uint8)
    return lines, (slice(top, top + rows), slice(left, left + columns))
