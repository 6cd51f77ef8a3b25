"""Draws a class map over a frame like the node does, for contact sheets and reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame
from perception.imaging.yuv import Yuv420, bgr_from_yuv
from perception.labels import LABELS
from perception.sinks.overlay import draw_key
from perception.sinks.overlay_areas import tint_areas
from perception.sinks.overlay_canvas import Canvas, copy_frame


def overlaid(
    image_bgr: NDArray[np.uint8],
    class_map: NDArray[np.uint8],
    picture_wh: tuple[int, int],
    text: str = "",
    has_legend: bool = False,
) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 BGR: the resized frame with its areas tinted.

    Args:
        image_bgr: (H, W, 3) uint8, any size.
        class_map: (h, w) uint8 class ids over the whole frame, any resolution.
        picture_wh: width and height of the picture, both even: chroma has half the pixels.
        text: for the corner, if any.
    """
    width, height = picture_wh
    y, u, v = (np.zeros((height // part, width // part), np.uint8) for part in (1, 2, 2))
    canvas = Canvas(y, u, v)
    copy_frame(canvas, Frame("picture", 0, 0, 0, image_bgr, text))
    tint_areas(canvas, class_map)
    draw_key(canvas, text, LABELS if has_legend else ())
    return bgr_from_yuv(Yuv420(y, u, v))
