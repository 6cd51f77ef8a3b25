"""Text and plates as shapes to paint, in OpenCV's own font, which has more than ASCII."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from perception.imaging.yuv import Plane

REGULAR: Final = 450
BOLD: Final = 700
_CAPITAL_HEIGHT: Final = 0.72
"""Of the text size."""
_HALO_OPACITY: Final = 0.6
_UNBOUNDED_PX: Final = 1 << 20
_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"


class _Font(threading.local):
    """A font for each thread: two threads that share one get wrong letters."""

    face: cv2.FontFace | None = None


_font = _Font()


def text_px(frame_wh: tuple[int, int]) -> int:
    """Size of text for a frame: legible in a small one, quiet in a large one.

    Example:
        >>> [text_px(wh) for wh in ((640, 360), (1280, 720), (3840, 2160))]
        [16, 26, 66]
    """
    return max(9, round(min(frame_wh) / 36 + 6))


def even(length: float) -> int:
    """The nearest even number: shapes on halved chroma begin and end at such."""
    return round(length / 2) * 2


@lru_cache(256)
def text_width_px(text: str, size_px: int, weight: int = REGULAR) -> int:
    """How wide a line of text is."""
    return int(cv2.getTextSize((_UNBOUNDED_PX, 1), text, (0, 0), _face(), size_px, weight)[2])


@lru_cache(64)
def text_shape(text: str, size_px: int, weight: int = REGULAR) -> Plane:
    """(h, w) uint8 coverage of a line of text, centred between its top and bottom; h and w are even."""
    height, width = even(1.5 * size_px), even(text_width_px(text, size_px, weight) + 1)
    shape = np.zeros((height, max(2, width)), np.uint8)
    baseline = round((height + _CAPITAL_HEIGHT * size_px) / 2)
    cv2.putText(shape, text, (0, baseline), (255,), _face(), size_px, weight, 0, (0, _UNBOUNDED_PX))
    shape.flags.writeable = False
    return shape


@lru_cache(64)
def halo_shape(text: str, size_px: int, weight: int = REGULAR) -> Plane:
    """(h, w) uint8 coverage of a line's letters and of a seam around them, which keeps them legible."""
    shape = text_shape(text, size_px, weight)
    radius = max(1, round(size_px / 12))
    around = cv2.dilate(shape, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2))
    return np.asarray(cv2.convertScaleAbs(around, alpha=_HALO_OPACITY), np.uint8)


@lru_cache(64)
def plate_shape(wh: tuple[int, int], radius_px: int, opacity: float) -> Plane:
    """(h, w) uint8 coverage of a rectangle with round corners."""
    width, height = wh
    finer = 4
    large = np.zeros((height * finer, width * finer), np.uint8)
    radius = min(radius_px * finer, height * finer // 2, width * finer // 2)
    right, bottom = width * finer - 1, height * finer - 1
    cv2.rectangle(large, (radius, 0), (right - radius, bottom), 255, cv2.FILLED)
    cv2.rectangle(large, (0, radius), (right, bottom - radius), 255, cv2.FILLED)
    for x in (radius, right - radius):
        for y in (radius, bottom - radius):
            cv2.circle(large, (x, y), radius, 255, cv2.FILLED)
    shape = cv2.resize(large, wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(shape, alpha=opacity), np.uint8)


def lines_of(text: str, width_px: int, size_px: int, weight: int, most: int) -> list[str]:
    """The text in at most so many lines; what does not fit is left out, and an ellipsis says so."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if not lines[-1] or text_width_px(longer, size_px, weight) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    kept = lines[:most]
    if len(lines) > most:
        kept[-1] += _ELLIPSIS
    return [_fitting(line, width_px, size_px, weight) for line in kept]


def _fitting(line: str, width_px: int, size_px: int, weight: int) -> str:
    while text_width_px(line, size_px, weight) > width_px and len(line) > 1:
        line = line.removesuffix(_ELLIPSIS)[:-1].rstrip() + _ELLIPSIS
    return line


def _face() -> cv2.FontFace:
    if _font.face is None:
        _font.face = cv2.FontFace("sans")
    return _font.face
