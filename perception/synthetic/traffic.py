"""Painting the vehicles of the built-in drive; all corners of all vehicles are projected together."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.labels import BACKGROUND
from perception.synthetic.vehicles import PAINTS_BGR
from perception.synthetic.view import SHIFT, Haze, View, add_glow, fixed
from perception.synthetic.world import Scene, Vehicle

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

DETAIL_PX = 20.0  # narrower vehicles are drawn without details
BRIGHT_BGR = {"tail": (60.0, 55.0, 225.0), "brake": (75.0, 65.0, 255.0), "head": (250.0, 252.0, 255.0)}


def paint_vehicles(
    image: Image, class_map: Image, view: View, scene: Scene, vehicles: Sequence[Vehicle], haze: Haze,
    glows: dict[str, Image],
) -> None:  # fmt: skip
    """Paint the vehicles, the farthest first, onto the image; in the class map they become background."""
    if not vehicles:
        return
    places = [
        vehicle.shape.corners_m[vehicle.is_oncoming] + np.array((vehicle.d_m, 0.0, vehicle.ahead_m))
        for vehicle in vehicles
    ]
    ends = np.cumsum([len(corners) for corners in places])[:-1]
    uv = view.project(*np.concatenate(places).T)
    for vehicle, corners, pixels in zip(vehicles, np.split(uv, ends), np.split(fixed(uv), ends), strict=True):
        across = corners[:, 0]
        if across.max() >= 0.0 and across.min() <= view.width:
            _paint_one(image, class_map, view, scene, vehicle, corners, pixels, haze)
            _paint_glow(image, view, scene, vehicle, glows)


def _paint_one(
    image: Image, class_map: Image, view: View, scene: Scene, vehicle: Vehicle, uv: Floats,
    pixels: NDArray[np.int32], haze: Haze,
) -> None:  # fmt: skip
    """Paint one vehicle from its projected corners."""
    shape = vehicle.shape
    a, b, c = uv[shape.starts], uv[shape.starts + 1], uv[shape.starts + 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    near_m = max(vehicle.ahead_m, 1.0)
    is_small = view.f * shape.width_m / near_m < DETAIL_PX
    is_seen = (area > 0.0) & ~(shape.is_detail & is_small)
    light = shape.light * (
        min(scene.ambient, 1.0) + (0.5 / (1.0 + (near_m / 14.0) ** 2) if scene.headlights else 0.0)
    )
    paint_bgr = np.asarray(PAINTS_BGR[(vehicle.identity >> 16) % len(PAINTS_BGR)])
    bgr = np.where(shape.is_paint[:, None], paint_bgr, shape.bgr) * light[:, None]
    haze_bgr, visibility_m = haze
    share = 1.0 - np.exp(-near_m / visibility_m)
    bgr = bgr * (1.0 - share) + haze_bgr * share
    is_lit = scene.lamps_on and not vehicle.is_parked
    if vehicle.is_braking:
        bgr[shape.is_tail] = BRIGHT_BGR["brake"]
    elif is_lit:
        bgr[shape.is_tail] = BRIGHT_BGR["tail"]
    if is_lit and vehicle.is_oncoming:
        bgr[shape.is_head] = BRIGHT_BGR["head"]
    colours = np.minimum(bgr, 255.0).tolist()
    for face in np.flatnonzero(is_seen).tolist():
        start = shape.starts[face]
        corners = pixels[start : start + shape.counts[face]]
        cv2.fillConvexPoly(image, corners, colours[face], cv2.LINE_AA, SHIFT)
        if not shape.is_detail[face]:
            cv2.fillConvexPoly(class_map, corners, (BACKGROUND,), cv2.LINE_8, SHIFT)


def _paint_glow(image: Image, view: View, scene: Scene, vehicle: Vehicle, glows: dict[str, Image]) -> None:
    """The light around lamps, and on a wet road its long reflection."""
    if vehicle.is_parked or not (scene.lamps_on or vehicle.is_braking):
        return
    name, lamps = ("tail", "head")[vehicle.is_oncoming], vehicle.shape.lamps_m[vehicle.is_oncoming]
    z = lamps[:, 2] + vehicle.ahead_m
    if z.min() < 2.0:
        return
    strength = (1.5 if scene.headlights else 0.7) * (1.4 if vehicle.is_braking else 1.0)
    size_m = strength * (1.9 if vehicle.is_oncoming else 0.8)
    least_px = view.width * (0.012 if scene.headlights else 0.004)
    wide_px = max(least_px, view.f * size_m / float(z[0]))
    for uv in view.project(vehicle.d_m + lamps[:, 0], lamps[:, 1], z):
        add_glow(image, glows[name], uv, wide_px, wide_px)
    if scene.rain > 0.0 or scene.headlights:
        for uv in view.project(vehicle.d_m + lamps[:, 0], -lamps[:, 1], z):
            add_glow(image, glows[name + "_wet"], uv, 0.7 * wide_px, (4.0 if scene.rain else 2.0) * wide_px)


def shadow_quads(view: View, vehicles: Sequence[Vehicle], lean_m: float) -> list[Floats]:
    """The ground each vehicle shades, as image polygons; the sun throws it `lean_m` to the side."""
    seen = [vehicle for vehicle in vehicles if vehicle.ahead_m + vehicle.shape.length_m > 1.2]
    if not seen:
        return []
    half = np.array([vehicle.shape.width_m / 2 + 0.1 for vehicle in seen])
    middle = np.array([vehicle.d_m for vehicle in seen])
    left, right = middle - half + min(lean_m, 0.0), middle + half + max(lean_m, 0.0)
    near = np.array([max(1.0, vehicle.ahead_m - 0.35) for vehicle in seen])
    far = np.array([vehicle.ahead_m + vehicle.shape.length_m + 0.3 for vehicle in seen])
    corners = view.project(np.stack([left, right, right, left], 1), 0.0, np.stack([near, near, far, far], 1))
    return list(corners)
