"""The overlay: a prediction drawn over its frame, on YUV planes, which is much faster than on BGR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import ENGINE_SEES, CameraState, EngineState, Frame, OutputItem, Prediction
from perception.imaging.letterbox import SQUARE, Letterbox, PixelAspect
from perception.imaging.polygons import area_rings
from perception.imaging.yuv import Plane, Yuv420, YuvMatrix, YuvPlanes, yuv_to_bgr_matrix
from perception.labels import COLOURS_RGB, IDS, LABELS

# An area keeps its texture: chroma moves most of the way to the colour, luma only a little, up on a dark road
# and down in glare, so that the tint is visible on both.
_CHROMA_WEIGHT: Final = 0.7
_LUMA_WEIGHT: Final = 0.28
_EDGE_LUMA_LIFT: Final = 0.5
_PLATE_WEIGHT: Final = 0.65
_BANNER_RGB: Final = (190, 0, 0)
_BLACK_LUMA: Final = 16
_WHITE_LUMA: Final = 235
_NEUTRAL_CHROMA: Final = 128
_MIN_AREA_SHARE: Final = 0.00005
_SUBPIXEL_BITS: Final = 4
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX

Box = tuple[int, int, int, int]
"""Left, top, width and height, in pixels of the frame."""
Points = NDArray[np.int32]
"""(points, 2) x and y, in pixels with `_SUBPIXEL_BITS` of fraction; 0 is the first pixel's centre."""


@dataclass(frozen=True, eq=False)
class Canvas(YuvPlanes):
    """Planes to draw on. Chroma is halved (4:2:0) or, for odd sizes, whole (4:4:4)."""

    pixel_aspect: PixelAspect = SQUARE
    """Width and height of a pixel in the display."""

    @property
    def is_halved(self) -> bool:
        """Whether a chroma sample colours 2x2 pixels."""
        return self.u.shape != self.y.shape


def draw_overlay(canvas: Canvas, output: OutputItem) -> None:
    """Fill the canvas with the frame, its areas, a legend, a status line, and a banner if needed.

    A frame of another size is resized to the canvas; one of another aspect ratio is centred on black. Without
    a frame the canvas is black, because the last frame would look like a current view.
    """
    place = place_of(canvas, output.frame) if isinstance(output, Prediction) else None
    if place is not canvas:
        blacken(canvas)
    if place is not None and isinstance(output, Prediction):
        copy_frame(place, output.frame)
    top_px = 0
    if output.camera_state != CameraState.OK or output.engine_state not in ENGINE_SEES:
        top_px = draw_banner(canvas, banner_text(output))
    if place is not None and isinstance(output, Prediction) and output.has_mask:
        tint_areas(place, output.class_map, output.labels)
        draw_legend(canvas, top_px, output.labels)
    draw_status(canvas, status_text(output))


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


def tint_areas(canvas: Canvas, class_map: NDArray[np.uint8], labels: Sequence[str] = LABELS) -> None:
    """Tint each drivable area in its colour, and draw their edges.

    Args:
        canvas: drawn on in place.
        class_map: (h, w) uint8 class ids over the whole frame, any resolution.
        labels: the network's classes.
    """
    found: list[tuple[list[Points], tuple[int, int, int]]] = []
    for name, colour_rgb in _colours(labels).items():
        areas = area_rings(class_map, IDS[name], canvas.frame_wh, _MIN_AREA_SHARE, tolerance_px=1.0)
        if areas:
            rings = [_fixed_point(ring) for area in areas for ring in area]
            found.append((rings, yuv_of(colour_rgb, canvas.matrix)))
    if not found:
        return
    _pull_inside(canvas.y, [(rings, y) for rings, (y, _, _) in found], _LUMA_WEIGHT)
    in_chroma = [(_in_chroma(rings, canvas), colour) for rings, colour in found]
    _pull_inside(canvas.u, [(rings, u) for rings, (_, u, _) in in_chroma], _CHROMA_WEIGHT)
    _pull_inside(canvas.v, [(rings, v) for rings, (_, _, v) in in_chroma], _CHROMA_WEIGHT)
    line_px = max(1, round(canvas.frame_wh[1] / 480))
    for rings, (y, _, _) in found:
        edge_y = round(y + (_WHITE_LUMA - y) * _EDGE_LUMA_LIFT)
        cv2.polylines(canvas.y, rings, True, edge_y, line_px, cv2.LINE_AA, _SUBPIXEL_BITS)


def status_text(output: OutputItem) -> str:
    """The status line, such as `age 34 ms  camera ok  engine ok  frame 123`."""
    engine = str(output.engine_state)
    if output.engine_state != EngineState.OK and output.provider:
        engine += f" ({output.provider})"
    age = "-" if output.age_ms is None else f"{output.age_ms:.0f} ms"
    frame_id = output.frame.frame_id if isinstance(output, Prediction) else "-"
    return f"age {age}  camera {output.camera_state}  engine {engine}  frame {frame_id}"


def banner_text(output: OutputItem) -> str:
    """The banner's text for a camera that is not ok, or an engine without a valid output."""
    claims: list[tuple[str, str, str | None]] = []
    if output.engine_state not in ENGINE_SEES:
        claims.append(("engine", output.engine_state, output.engine_reason))
    if output.camera_state != CameraState.OK or not claims:
        claims.append(("camera", output.camera_state, output.camera_reason))
    claim = "; ".join(f"{part} {state}" + (f": {reason}" if reason else "") for part, state, reason in claims)
    return claim if output.has_mask else f"NO MASK - {claim}"


def draw_banner(canvas: Canvas, text: str) -> int:
    """Draw a red banner across the top; returns its height in pixels."""
    height_px = min(canvas.frame_wh[1], 2 * _line_px(canvas))
    banner = (0, 0, canvas.frame_wh[0], height_px)
    for plane, value in zip(_cut(canvas, banner), yuv_of(_BANNER_RGB, canvas.matrix), strict=True):
        plane[:] = value
    _write(canvas, text, (_line_px(canvas) // 2, 0), height_px, 1.4)
    return height_px


def draw_status(canvas: Canvas, text: str) -> None:
    """One line of text on a dark plate in the bottom left corner."""
    line_px, pad_px = _line_px(canvas), _line_px(canvas) // 2
    top_px = max(0, canvas.frame_wh[1] - line_px)
    width_px = _text_width_px(canvas, text) + 2 * pad_px
    _darken(canvas, (0, top_px, width_px, line_px))
    _write(canvas, text, (pad_px, top_px), line_px)


def draw_legend(canvas: Canvas, top_px: int, labels: Sequence[str] = LABELS) -> None:
    """The colours and names of a network's classes on a dark plate at the right edge, from `top_px` on."""
    line_px, pad_px = _line_px(canvas), _line_px(canvas) // 2
    colours = _colours(labels)
    width_px = max(_text_width_px(canvas, name) for name in colours) + 2 * line_px + pad_px
    left_px = max(0, canvas.frame_wh[0] - width_px)
    _darken(canvas, (left_px, top_px, width_px, line_px * len(colours) + pad_px))
    for row, (name, colour_rgb) in enumerate(colours.items()):
        row_px = top_px + pad_px // 2 + row * line_px
        swatch = (left_px + pad_px, row_px + line_px // 4, line_px, line_px // 2)
        for plane, value in zip(_cut(canvas, swatch), yuv_of(colour_rgb, canvas.matrix), strict=True):
            plane[:] = value
        _write(canvas, name, (left_px + 2 * pad_px + line_px, row_px), line_px)


@cache
def yuv_of(colour_rgb: tuple[int, int, int], matrix: YuvMatrix) -> tuple[int, int, int]:
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


def _colours(labels: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """The drawn classes (all but background) and their colours."""
    return {name: COLOURS_RGB[IDS[name]] for name in labels if IDS[name] in COLOURS_RGB}


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


def _pull_inside(plane: Plane, areas: Sequence[tuple[Sequence[Points], int]], weight: float) -> None:
    """Move a plane towards each area's value inside it, working only in the areas' bounding box."""
    corners = np.concatenate([ring for rings, _ in areas for ring in rings]) >> _SUBPIXEL_BITS
    left, top, columns, rows = cv2.boundingRect(corners)
    box = np.s_[max(0, top) : top + rows, max(0, left) : left + columns]
    pull = np.empty(plane.shape, np.uint8)
    pull[box] = 0
    for rings, value in areas:
        cv2.fillPoly(pull, rings, round(weight * value), cv2.LINE_8, _SUBPIXEL_BITS)
    pulled = cv2.addWeighted(plane[box], 1 - weight, pull[box], 1.0, 0.0)
    cv2.copyTo(pulled, pull[box], plane[box])


def _fixed_point(ring: NDArray[np.float64]) -> Points:
    """The ring's points for drawing on luma."""
    return np.asarray(np.rint((ring - 0.5) * (1 << _SUBPIXEL_BITS)), np.int32)


def _in_chroma(rings: Sequence[Points], canvas: Canvas) -> Sequence[Points]:
    """The same rings for drawing on chroma."""
    if not canvas.is_halved:
        return rings
    half_pixel = 1 << (_SUBPIXEL_BITS - 1)  # from a plane's corner to its first pixel's centre
    return [(ring - half_pixel) >> 1 for ring in rings]


def _cut(canvas: Canvas, box: Box) -> tuple[Plane, Plane, Plane]:
    """The planes' views of a box of the frame."""
    left, top, width, height = box
    halves = 2 if canvas.is_halved else 1
    chroma = np.s_[top // halves : (top + height) // halves, left // halves : (left + width) // halves]
    return canvas.y[top : top + height, left : left + width], canvas.u[chroma], canvas.v[chroma]


def _darken(canvas: Canvas, box: Box) -> None:
    """Draw a dark plate without colour, as a background for text."""
    luma, *chroma = _cut(canvas, box)
    if luma.size:
        luma[:] = cv2.convertScaleAbs(luma, alpha=1 - _PLATE_WEIGHT, beta=_PLATE_WEIGHT * _BLACK_LUMA)
    for plane in chroma:
        plane[:] = _NEUTRAL_CHROMA


def _line_px(canvas: Canvas) -> int:
    """Height of a line of text; even, so that plates end where chroma pixels do."""
    return max(12, canvas.frame_wh[1] // 32) // 2 * 2


def _font_scale(canvas: Canvas) -> float:
    return _line_px(canvas) / 40


def _text_width_px(canvas: Canvas, text: str) -> int:
    return _text_wh(text, _font_scale(canvas))[0]


@lru_cache(64)
def _text_wh(text: str, scale: float) -> tuple[int, int]:
    (width_px, height_px), _ = cv2.getTextSize(text, _FONT, scale, 1)
    return width_px, height_px


def _write(canvas: Canvas, text: str, left_top: tuple[int, int], line_px: int, enlarge: float = 1.0) -> None:
    """White text, vertically centred in a line; smaller if the frame is too narrow for it."""
    ascii_text = text.encode("ascii", "replace").decode()
    scale = _font_scale(canvas) * enlarge
    width_px, height_px = _text_wh(ascii_text, scale)
    scale *= min(1.0, (canvas.frame_wh[0] - left_top[0]) / max(1, width_px))
    baseline = (left_top[0], left_top[1] + (line_px + height_px) // 2)
    cv2.putText(canvas.y, ascii_text, baseline, _FONT, scale, _WHITE_LUMA, 1, cv2.LINE_AA)
