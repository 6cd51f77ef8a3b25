"""The overlay of a frame as an image file."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import OutputItem
from perception.imaging.yuv import Plane, yuv_to_bgr_matrix
from perception.sinks.overlay import Canvas, draw_overlay

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")
PICTURE_QUALITY: Final = 90
UNKNOWN_WH: Final = (1280, 720)
# A comment in all our JPEGs marks them as overlays, not camera images.
_COMMENT: Final = b"drivable overlay"
_MARK: Final = b"\xff\xfe" + (len(_COMMENT) + 2).to_bytes(2, "big") + _COMMENT
_START: Final = b"\xff\xd8"


def draw_picture(output: OutputItem) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR of a frame with its overlay, scaled to square pixels.

    During an outage it is black with a banner, of `UNKNOWN_WH` before the first frame.
    """
    width, height = output.frame_wh or UNKNOWN_WH
    across, down = output.pixel_aspect
    if across > down:
        width = round(width * across / down)
    elif across < down:
        height = round(height * down / across)
    y, u, v = (np.empty((height, width), np.uint8) for _ in range(3))
    canvas = Canvas(y, u, v, "bt601")
    draw_overlay(canvas, output)
    return _bgr_of(y, u, v)


def encode_picture(image_bgr: NDArray[np.uint8], suffix: str, quality: int | None) -> bytes | None:
    """The image file; None if the format cannot hold a picture of that size.

    Args:
        image_bgr: (H, W, 3).
        suffix: one of `SUFFIXES`.
        quality: 1 to 100, like JPEG's; PNG has none.
    """
    level = PICTURE_QUALITY if quality is None else quality
    parameters = {
        ".png": (cv2.IMWRITE_PNG_COMPRESSION, 1),
        ".webp": (cv2.IMWRITE_WEBP_QUALITY, level),
    }.get(suffix, (cv2.IMWRITE_JPEG_QUALITY, level))
    try:
        is_encoded, encoded = cv2.imencode(suffix, image_bgr, parameters)
    except cv2.error:
        return None
    if not is_encoded:
        return None
    content = encoded.tobytes()
    return _START + _MARK + content[len(_START) :] if content.startswith(_START) else content


def has_mark(head: bytes) -> bool:
    """Whether a file with this beginning is one of our JPEGs."""
    return head.startswith(_START + _MARK)


def _bgr_of(y: Plane, u: Plane, v: Plane) -> NDArray[np.uint8]:
    return np.asarray(cv2.transform(cv2.merge((y, u, v)), yuv_to_bgr_matrix("bt601")), np.uint8)
