"""The planes that the overlay is drawn on, and how a shape is painted on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame
from perception.imaging.letterbox import SQUARE, Letterbox, PixelAspect
from perception.imaging.yuv import Plane, Yuv420, YuvMatrix, YuvPlanes, yuv_to_bgr_matrix

Rgb = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""Left, top, width and height, in pixels of the frame."""

_BLACK_LUMA: Final = 16
_NEUTRAL_CHROMA: Final = 128


class Form(NamedTuple):
    """What makes a canvas like another."""

    frame_wh: tuple[int, int]
    is_halved: bool
    matrix: YuvMatrix


@dataclass(frozen=True, eq=False)
class Canvas(YuvPlanes):
    """Planes to draw on. Chroma is halved (4:2:0) or, for odd sizes, whole (4:4:4)."""

    pixel_aspect: PixelAspect = SQUARE
    """Width and height of a pixel in the display."""

    @property
    def is_halved(self) -> bool:
        """Whether a chroma sample colours 2x2 pixels."""
        return self.u.shape != self.y.shape

    @property
    def form(self) -> Form:
        """Its size and kind."""
        return Form(self.frame_wh, self.is_halved, self.matrix)


def place_of(canvas: Canvas, frame: Frame) -> Canvas:
    """The part of the canvas with the frame's aspect ratio; usually all of it."""
    if frame.frame_wh == canvas.frame_wh and frame.pixel_aspect == canvas.pixel_aspect:
        return canvas
    (across, down), (canvas_across, canvas_down) = frame.pixel_aspect, canvas.pixel_aspect
    box = Letterbox.fit(frame.frame_wh, canvas.frame_wh, (across * canvas_down, down * canvas_across))
    if box.content_wh == canvas.frame_wh:
        return canvas
    left, top, (width, height) = box.left_px, box.top_px, box.content_wh
    if canvas.is_halved:
        left, top = left // 2 * 2, top // 2 * 2
        width, height = max(2, width // 2 * 2), max(2, height // 2 * 2)
    return Canvas(*_cut(canvas, (left, top, width, height)), canvas.matrix, canvas.pixel_aspect)


def blacken(canvas: Canvas) -> None:
    """Fill the canvas with black."""
    for plane, value in ((canvas.y, _BLACK_LUMA), (canvas.u, _NEUTRAL_CHROMA), (canvas.v, _NEUTRAL_CHROMA)):
        plane[:] = value


def copy_frame(canvas: Canvas, frame: Frame) -> None:
    """Copy a frame into the canvas, converting only if necessary."""
    pixels = frame.pixels
    if isinstance(pixels, Yuv420) and frame.frame_wh == canvas.frame_wh and pixels.matrix == canvas.matrix:
        np.copyto(canvas.y, pixels.y)
        for target, plane in ((canvas.u, pixels.u), (canvas.v, pixels.v)):
            if plane.shape == target.shape:
                np.copyto(target, plane)
            else:
                doubled = cv2.resize(plane, (plane.shape[1] * 2, plane.shape[0] * 2))
                np.copyto(target, doubled[: target.shape[0], : target.shape[1]])
        return
    image_bgr = frame.image_bgr
    if frame.frame_wh != canvas.frame_wh:
        image_bgr = np.asarray(cv2.resize(image_bgr, canvas.frame_wh, interpolation=cv2.INTER_AREA), np.uint8)
    _copy_bgr(canvas, image_bgr)


def fill(canvas: Canvas, box: Box, colour_rgb: Rgb) -> None:
    """Fill a box, as far as it lies in the frame. On halved chroma its edges have to be even."""
    for plane, value in zip(_cut(canvas, box), yuv_of(colour_rgb, canvas.matrix), strict=True):
        plane[:] = value


def paint(canvas: Canvas, shape: Plane, left_top: tuple[int, int], colour_rgb: Rgb) -> None:
    """Paint a shape in a colour, as far as it lies in the frame.

    Args:
        canvas: painted on in place.
        shape: (h, w) uint8, how much of each pixel gets the colour: 255 is all of it. h and w are even.
        left_top: where its first pixel goes, both even.
        colour_rgb: the colour.
    """
    planes = _cut(canvas, (*left_top, shape.shape[1], shape.shape[0]))
    if planes[0].size:
        luma, chroma = _coverage(shape, planes)
        for plane, covered, value in zip(
            planes, (luma, chroma, chroma), yuv_of(colour_rgb, canvas.matrix), strict=True
        ):
            _put(plane, ~covered, cv2.convertScaleAbs(covered, alpha=value / 255))


class Stamp:
    """Shapes in their colours, painted once to be put on many frames."""

    def __init__(self, wh: tuple[int, int], form: Form) -> None:
        """An empty one; width and height are even."""
        halves = 2 if form.is_halved else 1
        luma_hw, chroma_hw = (wh[1], wh[0]), (wh[1] // halves, wh[0] // halves)
        y, u, v = (np.zeros(hw, np.uint8) for hw in (luma_hw, chroma_hw, chroma_hw))
        self._added = Canvas(y, u, v, form.matrix)
        self._kept = np.full(luma_hw, 255, np.uint8), np.full(chroma_hw, 255, np.uint8)

    @property
    def width_px(self) -> int:
        """How wide it is."""
        return self._added.frame_wh[0]

    def paint(self, shape: Plane, left_top: tuple[int, int], colour_rgb: Rgb) -> None:
        """Like `paint`, on the stamp."""
        paint(self._added, shape, left_top, colour_rgb)
        luma, chroma = self._kept
        planes = _cut(Canvas(luma, chroma, chroma), (*left_top, shape.shape[1], shape.shape[0]))
        for plane, covered in zip(planes, _coverage(shape, planes), strict=False):
            _put(plane, ~covered, np.zeros_like(covered))

    def put(self, canvas: Canvas, left_top: tuple[int, int]) -> None:
        """Put it on a canvas of its form, as far as it lies in the frame; left and top are even."""
        planes = _cut(canvas, (*left_top, *self._added.frame_wh))
        if planes[0].size:
            luma, chroma = self._kept
            added = (self._added.y, self._added.u, self._added.v)
            for plane, kept, more in zip(planes, (luma, chroma, chroma), added, strict=True):
                height, width = plane.shape
                _put(plane, kept[:height, :width], more[:height, :width])


@cache
def yuv_of(colour_rgb: Rgb, matrix: YuvMatrix) -> tuple[int, int, int]:
    """Limited-range luma and chroma of a colour.

    Example:
        >>> yuv_of((255, 255, 255), "bt709")
        (235, 128, 128)
    """
    y, u, v = _yuv_from_bgr(matrix) @ np.array([*reversed(colour_rgb), 1.0])
    return round(y), round(u), round(v)


@cache
def _yuv_from_bgr(matrix: YuvMatrix) -> NDArray[np.float64]:
    bgr_from_yuv = yuv_to_bgr_matrix(matrix)
    inverse = np.linalg.inv(bgr_from_yuv[:, :3])
    return np.column_stack([inverse, -inverse @ bgr_from_yuv[:, 3]])


def _copy_bgr(canvas: Canvas, image_bgr: NDArray[np.uint8]) -> None:
    height = canvas.frame_wh[1]
    if canvas.matrix == "bt601" and canvas.is_halved:
        packed = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420)
        np.copyto(canvas.y, packed[:height])
        np.copyto(canvas.u, packed[height:].ravel()[: canvas.u.size].reshape(canvas.u.shape))
        np.copyto(canvas.v, packed[height:].ravel()[canvas.u.size :].reshape(canvas.v.shape))
        return
    planes = cv2.split(cv2.transform(image_bgr, _yuv_from_bgr(canvas.matrix)))
    for target, plane in zip((canvas.y, canvas.u, canvas.v), planes, strict=True):
        if plane.shape == target.shape:
            np.copyto(target, plane)
        else:
            cv2.resize(plane, (target.shape[1], target.shape[0]), dst=target, interpolation=cv2.INTER_AREA)


def _cut(canvas: Canvas, box: Box) -> tuple[Plane, Plane, Plane]:
    """The planes' views of a box of the frame."""
    left, top, width, height = box
    halves = 2 if canvas.is_halved else 1
    chroma = np.s_[top // halves : (top + height) // halves, left // halves : (left + width) // halves]
    return canvas.y[top : top + height, left : left + width], canvas.u[chroma], canvas.v[chroma]


def _coverage(shape: Plane, planes: tuple[Plane, Plane, Plane]) -> tuple[Plane, Plane]:
    """How much of each pixel of luma and of chroma a shape covers, as far as there are planes for it."""
    y, u, _ = planes
    shape = shape[: y.shape[0], : y.shape[1]]
    if u.shape == y.shape:
        return shape, shape
    return shape, np.asarray(cv2.resize(shape, u.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _put(plane: Plane, kept: cv2.typing.MatLike, added: cv2.typing.MatLike) -> None:
    """Keep so much of a plane (255 is all), and add this."""
    np.copyto(plane, cv2.add(cv2.multiply(plane, kept, scale=1 / 255), added))
