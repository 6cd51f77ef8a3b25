"""The road from above, in metres: a small panel in the overlay."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.yuv import Plane
from perception.labels import ALTERNATIVE, COLOURS_RGB, DIRECT
from perception.scene.metres import Metres
from perception.sinks.overlay_canvas import Canvas, Form, Rgb, Stamp, paint
from perception.sinks.overlay_text import ahead_text
from perception.sinks.overlay_writing import even, plate_shape, text_shape, text_width_px

AHEAD_M: Final = 40.0
"""What the panel shows in front of the vehicle."""
_BEHIND_M: Final = 3.0
_RANGES_M: Final = (10, 20, 30)
_FRAME_HEIGHTS: Final = 0.36
_WIDTH_PER_HEIGHT: Final = 0.55
_LEAST_TEXTS: Final = 6
"""Heights of text that a panel has at least: one that is smaller shows nothing."""
_TEXT_SHARE: Final = 0.8
"""Of the size of text elsewhere."""
_NUMBER_SHARE: Final = 0.75
"""Of the panel's text."""
_NUMBER_OPACITY: Final = 0.7
_VEHICLE_WL_M: Final = (1.8, 3.0)
_PLATE_OPACITY: Final = 0.6
_AREA_OPACITY: Final = 0.75
_FREE_OPACITY: Final = 0.3
_LINE_OPACITY: Final = 0.25
_SUBPIXEL_BITS: Final = 4
_WHITE: Final = (255, 255, 255)
_BLACK: Final = (0, 0, 0)

Points = NDArray[np.float64]


class _Panel(NamedTuple):
    """Lengths in pixels for a panel."""

    wh: tuple[int, int]
    text: int
    title: int
    """Height of the line above the road."""

    @property
    def px_per_m(self) -> float:
        """Scale of the road."""
        return (self.wh[1] - self.title) / (AHEAD_M + _BEHIND_M)

    def places(self, ground: Points) -> NDArray[np.int32]:
        """(n, 2) pixels in fixed point of (n, 2) metres forward and left."""
        width, height = self.wh
        across = width / 2 - ground[:, 1] * self.px_per_m
        down = height - (ground[:, 0] + _BEHIND_M) * self.px_per_m
        places = np.stack([across, down], axis=1) - 0.5
        return np.asarray(np.rint(np.clip(places, -2e4, 2e4) * (1 << _SUBPIXEL_BITS)), np.int32)


def draw_inset(canvas: Canvas, metres: Metres, text_px: int, margin_px: int, top_px: int) -> None:
    """Draw the panel at the right of the upper half, where there is no road near the vehicle.

    It is left out where it would be too small to be read.

    Args:
        canvas: drawn on in place.
        metres: what is known of the road.
        text_px: size of the overlay's text.
        margin_px: to the frame's edge.
        top_px: what is above it ends there.
    """
    width, height = canvas.frame_wh
    panel_h = min(height // 2 - top_px, round(height * _FRAME_HEIGHTS)) // 2 * 2
    panel_w = even(panel_h * _WIDTH_PER_HEIGHT)
    if panel_h < _LEAST_TEXTS * text_px or panel_w > width // 3:
        return
    small_px = max(9, round(text_px * _TEXT_SHARE))
    panel = _Panel((panel_w, panel_h), small_px, even(1.5 * small_px))
    left = (width - margin_px - panel_w) // 2 * 2
    _ground_of(canvas.form, panel).put(canvas, (left, top_px))
    inside = plate_shape(panel.wh, round(0.35 * text_px), 1.0)
    for rings, colour, opacity in _areas(metres):
        shape = _area_shape(panel, rings, opacity)
        paint(canvas, np.minimum(shape, inside), (left, top_px), colour)
    paint(canvas, np.minimum(_lines_shape(panel, metres), inside), (left, top_px), _WHITE)
    title = ahead_text(metres)
    if title and text_width_px(title, small_px) <= panel_w - small_px // 2:
        at = left + even((panel_w - text_width_px(title, small_px)) / 2)
        paint(canvas, text_shape(title, small_px), (at, top_px), _WHITE)


@lru_cache(16)
def _ground_of(form: Form, panel: _Panel) -> Stamp:
    """The plate, and lines at round distances."""
    stamp = Stamp(panel.wh, form)
    stamp.paint(plate_shape(panel.wh, max(2, panel.text // 3), _PLATE_OPACITY), (0, 0), _BLACK)
    lines = np.zeros(panel.wh[::-1], np.uint8)
    half_m = panel.wh[0] / panel.px_per_m / 2
    for distance_m in _RANGES_M:
        ends = panel.places(np.array([(distance_m, half_m), (distance_m, -half_m)]))
        cv2.polylines(lines, [ends], False, round(255 * _LINE_OPACITY), 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    stamp.paint(lines, (0, 0), _WHITE)
    size_px = max(8, round(_NUMBER_SHARE * panel.text))
    for distance_m in _RANGES_M:
        number = text_shape(str(distance_m), size_px)
        top = panel.wh[1] - (distance_m + _BEHIND_M) * panel.px_per_m - number.shape[0] / 2
        dim = np.asarray(cv2.convertScaleAbs(number, alpha=_NUMBER_OPACITY), np.uint8)
        stamp.paint(dim, (even(panel.text / 4), even(top)), _WHITE)
    return stamp


def _areas(metres: Metres) -> list[tuple[list[Points], Rgb, float]]:
    """Polygons on the ground with colour and opacity, lowest first."""
    areas: list[tuple[list[Points], Rgb, float]] = [([free_ground(metres)], _WHITE, _FREE_OPACITY)]
    beside = [lane for lane in (metres.left_alternative, metres.right_alternative) if lane is not None]
    areas.append((beside, COLOURS_RGB[ALTERNATIVE], _AREA_OPACITY))
    own = [metres.ego_lane] if metres.ego_lane is not None else []
    areas.append((own, COLOURS_RGB[DIRECT], _AREA_OPACITY))
    return [(rings, colour, opacity) for rings, colour, opacity in areas if rings]


def free_ground(metres: Metres) -> Points:
    """(n, 2) metres forward and left: from below the camera to the profile of free space, and back."""
    profile = metres.free_space
    distance_m = np.nan_to_num(profile.distance_m, nan=0.0)
    directions = np.stack([np.cos(profile.bearing_rad), np.sin(profile.bearing_rad)], axis=1)
    border = np.array(profile.origin_m) + directions * distance_m[:, None]
    return np.concatenate([[profile.origin_m], border])


def _area_shape(panel: _Panel, rings: list[Points], opacity: float) -> Plane:
    shape = np.zeros(panel.wh[::-1], np.uint8)
    for ring in rings:
        places = panel.places(ring)
        cv2.fillPoly(shape, [places], round(255 * opacity), cv2.LINE_AA, _SUBPIXEL_BITS)
    shape[: panel.title] = 0
    return shape


def _lines_shape(panel: _Panel, metres: Metres) -> Plane:
    """The lane's middle, and the vehicle."""
    shape = np.zeros(panel.wh[::-1], np.uint8)
    if metres.centreline is not None:
        middle = panel.places(metres.centreline)
        cv2.polylines(shape, [middle], False, 190, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
        shape[: panel.title] = 0
    width_m, length_m = _VEHICLE_WL_M
    corners = [(0.0, width_m / 2), (0.0, -width_m / 2), (-length_m, -width_m / 2), (-length_m, width_m / 2)]
    cv2.fillPoly(shape, [panel.places(np.array(corners))], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return shape
