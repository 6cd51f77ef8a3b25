"""Distance marks along the lane in the overlay: lines across it at round distances."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import Prediction
from perception.sinks.overlay_canvas import Canvas, Form, Stamp
from perception.sinks.overlay_writing import halo_shape, text_px, text_shape

DISTANCES_M: Final = (5, 10, 20, 30, 40, 60, 80)
_TEXT_SHARE: Final = 0.8
_FRAME_PX_PER_LINE_PX: Final = 720
_POINTS: Final = 5
"""Of a line: with a lens that distorts it is no straight one."""
_CLEAR_LINES: Final = 1.1
"""Heights of text between two marks at least; one that is closer to the one before is left out."""
_LEAST_TEXTS: Final = 12
"""Heights of text in a frame that has room for marks."""
_SUBPIXEL_BITS: Final = 4
_WHITE_YUV: Final = (235, 128, 128)
_SHADOW_Y: Final = 40
_WHITE: Final = (255, 255, 255)
_BLACK: Final = (0, 0, 0)


def draw_marks(place: Canvas, prediction: Prediction) -> None:
    """Draw a line across the ego lane at each round distance that is free and known well, and name it.

    Args:
        place: the part of the canvas with the frame; drawn on in place.
        prediction: with metres; without a lane nothing is drawn.
    """
    metres = prediction.metres
    if metres is None or metres.ego_lane is None:
        return
    text = max(9, round(_TEXT_SHARE * text_px(place.frame_wh)))
    if place.frame_wh[1] < _LEAST_TEXTS * text:
        return
    lane = metres.ego_lane
    distances_m = [it for it in DISTANCES_M if lane[:, 0].min() <= it <= lane[:, 0].max()]
    if not distances_m:
        return
    lefts_m = np.linspace(*lane_borders_m(lane, distances_m), _POINTS, axis=1)
    ground = np.stack([np.repeat(distances_m, _POINTS), lefts_m.ravel()], axis=1)
    # pixels are counted from their middles, here as in the frame
    scale = np.array(place.frame_wh) / prediction.frame_wh
    lines = (metres.image_of(ground).reshape(-1, _POINTS, 2) + 0.5) * scale - 0.5
    last_v = float(place.frame_wh[1])
    for distance_m, pixels in zip(distances_m, lines, strict=True):
        is_inside = np.isfinite(pixels).all() and (pixels >= 0).all() and (pixels < place.frame_wh).all()
        if is_inside and last_v - pixels[:, 1].max() >= _CLEAR_LINES * text:
            last_v = float(pixels[:, 1].min())
            _draw_line(place, pixels)
            _draw_name(place, f"{distance_m} m", pixels[-1], text)


def lane_borders_m(
    lane: NDArray[np.float64], forward_m: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far to the left a lane's left and right border lie at some distances.

    Args:
        lane: (n, 2) polygon in metres forward and to the left, as of `EgoLane`: the left border outward, and
            as many points of the right one back.
        forward_m: distances that the lane has.

    Example:
        >>> lane_borders_m(np.array([(0.0, 2.0), (20.0, 2.0), (20.0, -1.0), (0.0, -2.0)]), [10.0])
        (array([2.]), array([-1.5]))
    """
    left, right = lane[: len(lane) // 2], lane[: len(lane) // 2 - 1 : -1]
    return np.interp(forward_m, *left.T), np.interp(forward_m, *right.T)


def _draw_line(place: Canvas, pixels: NDArray[np.float64]) -> None:
    """White with a shadow below it, so that it is seen on a bright road and on a dark one."""
    line_px = max(1, round(min(place.frame_wh) / _FRAME_PX_PER_LINE_PX))
    points = _fixed_point(pixels)
    shadow = points + np.array([0, line_px << _SUBPIXEL_BITS])
    cv2.polylines(place.y, [shadow], False, _SHADOW_Y, line_px, cv2.LINE_AA, _SUBPIXEL_BITS)
    white_y, *white_chroma = _WHITE_YUV
    cv2.polylines(place.y, [points], False, white_y, line_px, cv2.LINE_AA, _SUBPIXEL_BITS)
    halves = 2 if place.is_halved else 1
    in_chroma = _fixed_point((pixels + 0.5) / halves - 0.5)
    for plane, value in zip((place.u, place.v), white_chroma, strict=True):
        cv2.polylines(plane, [in_chroma], False, value, line_px, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_name(place: Canvas, name: str, right_end: NDArray[np.float64], text: int) -> None:
    """At the right end of its line, or at the frame's edge."""
    height, width = text_shape(name, text).shape
    left = min(round(right_end[0] + text / 2), place.frame_wh[0] - width) // 2 * 2
    top = round(right_end[1] - height / 2) // 2 * 2
    if left >= 0 and 0 <= top <= place.frame_wh[1] - height:
        _name_of(place.form, name, text).put(place, (left, top))


@lru_cache(64)
def _name_of(form: Form, name: str, text: int) -> Stamp:
    shape = text_shape(name, text)
    stamp = Stamp((shape.shape[1], shape.shape[0]), form)
    stamp.paint(halo_shape(name, text), (0, 0), _BLACK)
    stamp.paint(shape, (0, 0), _WHITE)
    return stamp


def _fixed_point(pixels: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.asarray(np.rint(pixels * (1 << _SUBPIXEL_BITS)), np.int32)
