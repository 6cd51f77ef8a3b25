"""What the live page shows of an output, as JPEG."""

from __future__ import annotations

from functools import cache
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import OutputItem, Prediction
from perception.imaging.letterbox import nearest
from perception.imaging.yuv import Yuv420, bgr_from_yuv
from perception.inference.confidence import confidence_at
from perception.labels import COLOURS_RGB
from perception.sinks.overlay import Canvas, draw_overlay
from perception.sinks.overlay_picture import UNKNOWN_WH, encode_picture

View = Literal["overlay", "plain", "classes", "confidence"]
VIEWS: Final = get_args(View)
LONGEST_PX: Final = 1280
"""Longest side of a picture; a larger frame is made smaller, for which no viewer waits."""
QUALITY: Final = 80
_BACKGROUND_RGB: Final = (38, 40, 44)
_UNCERTAIN_RGB: Final = (213, 94, 0)
"""Vermilion of Okabe and Ito: no class has it."""
_GREY_GAIN: Final = 0.6


def jpeg_of(output: OutputItem, view: View) -> bytes:
    """A view as JPEG with square pixels; without a mask, or without what it shows, it is the overlay."""
    image_bgr = _image_bgr(output, view) if isinstance(output, Prediction) else None
    if image_bgr is None:
        image_bgr = _overlay(output)
    content = encode_picture(image_bgr, ".jpg", QUALITY)
    assert content is not None  # LONGEST_PX is less than JPEG holds
    return content


def picture_wh(output: OutputItem) -> tuple[int, int]:
    """Width and height of its pictures, both even."""
    width, height = output.frame_wh or UNKNOWN_WH
    across, down = output.pixel_aspect
    if across > down:
        width = round(width * across / down)
    elif across < down:
        height = round(height * down / across)
    scale = min(1.0, LONGEST_PX / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def _image_bgr(prediction: Prediction, view: View) -> NDArray[np.uint8] | None:
    """(H, W, 3) of any view but the overlay; None where there is none."""
    to_wh = picture_wh(prediction)
    if view == "plain":
        return _plain(prediction, to_wh)
    if not prediction.has_mask:
        return None
    if view == "classes":
        class_map = nearest(prediction.class_map, to_wh)
        return np.asarray(cv2.LUT(cv2.merge((class_map,) * 3), _class_colours_bgr()), np.uint8)
    if view == "confidence" and prediction.confidence is not None:
        return _uncertain_parts(_plain(prediction, to_wh), confidence_at(prediction.confidence, to_wh))
    return None


def _plain(prediction: Prediction, to_wh: tuple[int, int]) -> NDArray[np.uint8]:
    image_bgr = prediction.frame.image_bgr
    return np.asarray(cv2.resize(image_bgr, to_wh, interpolation=cv2.INTER_AREA), np.uint8)


def _uncertain_parts(image_bgr: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture in dark grey, coloured where the network is uncertain: fully at a probability of half."""
    grey = cv2.convertScaleAbs(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), alpha=_GREY_GAIN)
    uncertain = np.minimum((255 - confidence.astype(np.float32)) / 128, 1)
    coloured = np.empty_like(image_bgr)
    coloured[:] = _UNCERTAIN_RGB[::-1]
    blended = cv2.blendLinear(cv2.merge((grey,) * 3), coloured, 1 - uncertain, uncertain)
    return np.asarray(blended, np.uint8)


def _overlay(output: OutputItem) -> NDArray[np.uint8]:
    width, height = picture_wh(output)
    pixels = output.frame.pixels if isinstance(output, Prediction) else None
    matrix = pixels.matrix if isinstance(pixels, Yuv420) else "bt601"
    y = np.empty((height, width), np.uint8)
    u, v = (np.empty((height // 2, width // 2), np.uint8) for _ in range(2))
    draw_overlay(Canvas(y, u, v, matrix), output)
    return bgr_from_yuv(Yuv420(y, u, v, matrix))


@cache
def _class_colours_bgr() -> NDArray[np.uint8]:
    """(1, 256, 3) by class id."""
    colours = np.full((1, 256, 3), _BACKGROUND_RGB[::-1], np.uint8)
    for class_id, colour_rgb in COLOURS_RGB.items():
        colours[0, class_id] = colour_rgb[::-1]
    return colours
