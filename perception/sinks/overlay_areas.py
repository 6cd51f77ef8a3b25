"""The drivable areas in the overlay: a light tint with a thin, smooth edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.polygons import area_rings
from perception.imaging.yuv import Plane
from perception.labels import COLOURS_RGB, IDS, LABELS
from perception.sinks.overlay_canvas import Canvas, Rgb, yuv_of

# An area keeps its texture: chroma moves half of the way to the colour, luma only a little, up on a dark road
# and down in glare, so that the tint is visible on both.
_CHROMA_WEIGHT: Final = 0.55
_LUMA_WEIGHT: Final = 0.22
_EDGE_LUMA_LIFT: Final = 0.5
_WHITE_LUMA: Final = 235
_MIN_AREA_SHARE: Final = 0.00005
_SUBPIXEL_BITS: Final = 4
_FRAME_PX_PER_LINE_PX: Final = 540
_FINE_MAP_PX: Final = 256
_TOLERANCE_PX: Final = 1.0
"""Of a straight side, in pixels of the class map; less would keep the steps of a slanting edge."""
_LARGEST_CUT: Final = 3.0
"""Of a corner, in pixels of the class map."""

Points = NDArray[np.int32]
"""(points, 2) x and y, in pixels with `_SUBPIXEL_BITS` of fraction; 0 is the first pixel's centre."""


def tint_areas(canvas: Canvas, class_map: NDArray[np.uint8], labels: Sequence[str] = LABELS) -> None:
    """Tint each drivable area in its colour, and draw their edges.

    Args:
        canvas: drawn on in place.
        class_map: (h, w) uint8 class ids over the whole frame, any resolution.
        labels: the network's classes.
    """
    line_px = max(1, round(min(canvas.frame_wh) / _FRAME_PX_PER_LINE_PX))
    is_fine = min(class_map.shape) >= _FINE_MAP_PX and canvas.frame_wh[0] <= 2 * class_map.shape[1]
    if is_fine:  # networks see in steps of eight pixels: half of the map's say as much, in half the time
        class_map = np.ascontiguousarray(class_map[1::2, 1::2])
    class_wh = np.array(canvas.frame_wh) / class_map.shape[::-1]
    rings: list[NDArray[np.float64]] = []
    spans: list[tuple[slice, tuple[int, int, int]]] = []
    for name, colour_rgb in drawn_colours(labels).items():
        areas = area_rings(class_map, IDS[name], canvas.frame_wh, _MIN_AREA_SHARE, _TOLERANCE_PX)
        begin = len(rings)
        rings += [ring for area in areas for ring in area]
        spans.append((slice(begin, len(rings)), yuv_of(colour_rgb, canvas.matrix)))
    if not rings:
        return
    # each pixel kept lies half of one of the fine map's from the middle of the four that it stands for
    shift_xy = class_wh / 4 * is_fine
    smooth = _smooth(rings, canvas.frame_wh, class_wh, shift_xy, line_px + 2)
    found = [(smooth[span], colour) for span, colour in spans if smooth[span]]
    _tint_luma(canvas.y, [(points, y) for points, (y, _, _) in found])
    _tint_chroma(canvas, found)
    for points, (y, _, _) in found:
        edge_y = round(y + (_WHITE_LUMA - y) * _EDGE_LUMA_LIFT)
        cv2.polylines(canvas.y, points, True, edge_y, line_px, cv2.LINE_AA, _SUBPIXEL_BITS)


def drawn_colours(labels: Sequence[str]) -> dict[str, Rgb]:
    """The drawn classes (all but background) and their colours."""
    return {name: COLOURS_RGB[IDS[name]] for name in labels if IDS[name] in COLOURS_RGB}


def _tint_luma(plane: Plane, areas: Sequence[tuple[Sequence[Points], int]]) -> None:
    """Move luma towards each area's value inside it; the line along its edge is what makes that smooth."""
    box = _box_of(areas)
    pull = np.empty(plane.shape, np.uint8)
    pull[box] = 0
    for rings, value in areas:
        cv2.fillPoly(pull, rings, round(_LUMA_WEIGHT * value), cv2.LINE_8, _SUBPIXEL_BITS)
    pulled = cv2.addWeighted(plane[box], 1 - _LUMA_WEIGHT, pull[box], 1.0, 0.0)
    cv2.copyTo(pulled, pull[box], plane[box])


def _tint_chroma(canvas: Canvas, found: Sequence[tuple[Sequence[Points], tuple[int, int, int]]]) -> None:
    """Move chroma towards each area's colour inside it, fading at its edge."""
    areas = [(_in_chroma(rings, canvas), colour) for rings, colour in found]
    box = _box_of(areas)
    kept, pull = np.empty(canvas.u.shape, np.uint8), np.empty(canvas.u.shape, np.uint8)
    kept[box] = 255
    for rings, _ in areas:
        cv2.fillPoly(kept, rings, round(255 * (1 - _CHROMA_WEIGHT)), cv2.LINE_AA, _SUBPIXEL_BITS)
    for channel, plane in ((1, canvas.u), (2, canvas.v)):
        pull[box] = 0
        for rings, colour in areas:
            cv2.fillPoly(pull, rings, round(_CHROMA_WEIGHT * colour[channel]), cv2.LINE_AA, _SUBPIXEL_BITS)
        np.copyto(plane[box], cv2.add(cv2.multiply(plane[box], kept[box], scale=1 / 255), pull[box]))


def _box_of(areas: Sequence[tuple[Sequence[Points], object]]) -> tuple[slice, slice]:
    """Rows and columns around all areas, and the pixel or two that a smooth edge reaches beyond."""
    corners = np.concatenate([ring for rings, _ in areas for ring in rings]) >> _SUBPIXEL_BITS
    left, top, columns, rows = cv2.boundingRect(corners)
    return slice(max(0, top - 2), top + rows + 2), slice(max(0, left - 2), left + columns + 2)


def _smooth(
    rings: Sequence[NDArray[np.float64]],
    frame_wh: tuple[int, int],
    class_wh: NDArray[np.float64],
    shift_xy: NDArray[np.float64],
    beyond_px: float,
) -> list[Points]:
    """The rings with round corners, ready to be drawn.

    Args:
        rings: (points, 2) each, in pixels of the frame.
        frame_wh: width and height of the frame.
        class_wh: width and height of a pixel of the class map.
        shift_xy: how far they are moved to the right and down.
        beyond_px: how far outside a ring lies, unseen, where it runs along the frame's edge.
    """
    corners = np.concatenate(rings)  # all at once, which costs no more than one ring
    lengths = np.array([len(ring) for ring in rings])
    is_first, is_last = corners <= class_wh / 2, corners >= np.array(frame_wh) - class_wh / 2
    corners = np.where(is_first, -beyond_px, corners + shift_xy)
    corners = np.where(is_last, np.array(frame_wh) + beyond_px, corners)
    may_move = np.logical_not((is_first | is_last).any(axis=1))
    cut = _fixed_point(_cut_corners(corners, lengths, may_move, _LARGEST_CUT * class_wh.max()))
    ends = (2 * np.cumsum(lengths)).tolist()
    return [cut[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def _cut_corners(
    corners: NDArray[np.float64],
    lengths: NDArray[np.int64],
    may_move: NDArray[np.bool_],
    largest_px: float,
) -> NDArray[np.float64]:
    """Two points for each corner, on its two sides, or twice itself where it may not move.

    Args:
        corners: (points, 2) of rings one after another.
        lengths: how many of them each ring has.
        may_move: (points,).
        largest_px: how far a point moves at most; at most three tenths of the side.
    """
    last = np.cumsum(lengths) - 1
    following = np.arange(1, len(corners) + 1)
    following[last] = last - lengths + 1
    before = np.arange(-1, len(corners) - 1)
    before[last - lengths + 1] = last
    side = corners[following] - corners
    length_px = np.sqrt((side * side).sum(axis=1))
    step = side * np.minimum(0.3, largest_px / np.maximum(length_px, largest_px))[:, None]
    cut = np.empty((len(corners), 2, 2))
    cut[:, 0] = corners - step[before] * may_move[:, None]
    cut[:, 1] = corners + step * may_move[:, None]
    return cut.reshape(-1, 2)


def _fixed_point(corners: NDArray[np.float64]) -> Points:
    """The points for drawing on luma."""
    return np.asarray(np.rint((corners - 0.5) * (1 << _SUBPIXEL_BITS)), np.int32)


def _in_chroma(rings: Sequence[Points], canvas: Canvas) -> Sequence[Points]:
    """The same rings for drawing on chroma."""
    if not canvas.is_halved:
        return rings
    half_pixel = 1 << (_SUBPIXEL_BITS - 1)  # from a plane's corner to its first pixel's centre
    return [(ring - half_pixel) >> 1 for ring in rings]
