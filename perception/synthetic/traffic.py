"""Painting the vehicles of the built-in drive; all corners of all vehicles are projected together."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.labels import BACKGROUND
from perception.synthetic.vehicles import PAINTS_BGR, SHAPES, Shape
from perception.synthetic.view import SHIFT, View, add_glow, fixed
from perception.synthetic.world import Scene, Vehicle

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

DETAIL_PX = 20.0  # narrower vehicles are drawn without details
BRIGHT_BGR = {"tail": (60.0, 55.0, 225.0), "brake": (75.0, 65.0, 255.0), "head": (250.0, 252.0, 255.0)}


class _Packed:
    """The faces of one shape as arrays, for both directions of travel."""

    def __init__(self, shape: Shape) -> None:
        self.counts = np.array([len(face.corners_m) for face in shape.faces])
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        corners = np.concatenate([face.corners_m for face in shape.faces])
        turned = corners * (-1.0, 1.0, -1.0) + (0.0, 0.0, shape.length_m)
        self.corners_m = (corners, turned)
        self.is_paint = np.array([face.bgr is None for face in shape.faces])
        self.bgr = np.array([face.bgr or (0.0, 0.0, 0.0) for face in shape.faces])
        self.light = np.array([face.light for face in shape.faces])
        self.is_detail = np.array([face.is_detail for face in shape.faces])
        self.is_tail = np.array([face.lamp == "tail" for face in shape.faces])
        self.is_head = np.array([face.lamp == "head" for face in shape.faces])
        half_turn = (-1.0, 1.0, -1.0)
        end = (0.0, 0.0, shape.length_m)
        self.tails_m = (shape.tail_lamps_m, shape.tail_lamps_m * half_turn + end)
        self.heads_m = (shape.head_lamps_m, shape.head_lamps_m * half_turn + end)


PACKED: dict[int, _Packed] = {id(shape): _Packed(shape) for shape in SHAPES}


def paint_vehicles(
    image: Image, class_map: Image, view: View, scene: Scene, cast: Sequence[tuple[Vehicle, Shape]],
    haze: tuple[Floats, float], glows: dict[str, Image],
) -> None:  # fmt: skip
    """Paint the vehicles, the farthest first, onto the image; in the class map they become background."""
    if not cast:
        return
    packs = [PACKED[id(shape)] for _, shape in cast]
    local = [pack.corners_m[int(v.is_oncoming)] for pack, (v, _) in zip(packs, cast, strict=True)]
    place = np.concatenate(
        [points + np.array((v.d_m, 0.0, v.ahead_m)) for points, (v, _) in zip(local, cast, strict=True)]
    )
    uv = view.project(place[:, 0], place[:, 1], place[:, 2])
    pixels = fixed(uv)
    first = 0
    for pack, points, (vehicle, shape) in zip(packs, local, cast, strict=True):
        own = slice(first, first + len(points))
        first += len(points)
        across = uv[own, 0]
        if across.max() < 0.0 or across.min() > view.width:
            continue
        _paint_one(image, class_map, view, scene, vehicle, shape, pack, uv[own], pixels[own], haze)
        _paint_glow(image, view, scene, vehicle, pack, glows)


def _paint_one(
    image: Image, class_map: Image, view: View, scene: Scene, vehicle: Vehicle, shape: Shape, pack: _Packed,
    uv: Floats, pixels: NDArray[np.int32], haze: tuple[Floats, float],
) -> None:  # fmt: skip
    """Paint one vehicle from its projected corners."""
    a, b, c = uv[pack.starts], uv[pack.starts + 1], uv[pack.starts + 2]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    near_m = max(vehicle.ahead_m, 1.0)
    is_small = view.f * shape.width_m / near_m < DETAIL_PX
    is_seen = (area > 0.0) & ~(pack.is_detail & is_small)
    light = pack.light * (
        min(scene.ambient, 1.0) + (0.5 / (1.0 + (near_m / 14.0) ** 2) if scene.headlights else 0.0)
    )
    paint_bgr = np.asarray(PAINTS_BGR[(vehicle.identity >> 16) % len(PAINTS_BGR)])
    bgr = np.where(pack.is_paint[:, None], paint_bgr, pack.bgr) * light[:, None]
    share = 1.0 - np.exp(-near_m / haze[1])
    bgr = bgr * (1.0 - share) + haze[0] * share
    is_lit = scene.lamps_on and not vehicle.is_parked
    if vehicle.is_braking:
        bgr[pack.is_tail] = BRIGHT_BGR["brake"]
    elif is_lit:
        bgr[pack.is_tail] = BRIGHT_BGR["tail"]
    if is_lit and vehicle.is_oncoming:
        bgr[pack.is_head] = BRIGHT_BGR["head"]
    colours = np.minimum(bgr, 255.0).tolist()
    for face in np.flatnonzero(is_seen).tolist():
        start = pack.starts[face]
        corners = pixels[start : start + pack.counts[face]]
        cv2.fillConvexPoly(image, corners, colours[face], cv2.LINE_AA, SHIFT)
        if not pack.is_detail[face]:
            cv2.fillConvexPoly(class_map, corners, (BACKGROUND,), cv2.LINE_8, SHIFT)


def _paint_glow(
    image: Image, view: View, scene: Scene, vehicle: Vehicle, pack: _Packed, glows: dict[str, Image]
) -> None:
    """The light around lamps, and on a wet road its long reflection."""
    if vehicle.is_parked or not (scene.lamps_on or vehicle.is_braking):
        return
    name = "head" if vehicle.is_oncoming else "tail"
    lamps = (pack.heads_m if vehicle.is_oncoming else pack.tails_m)[int(vehicle.is_oncoming)]
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


def shadow_quads(
    view: View, vehicles: Sequence[Vehicle], shapes: Sequence[Shape], lean_m: float
) -> list[Floats]:
    """The ground each vehicle shades, as image polygons; the sun throws it `lean_m` to the side."""
    seen = [(v, s) for v, s in zip(vehicles, shapes, strict=True) if v.ahead_m + s.length_m > 1.2]
    if not seen:
        return []
    half = np.array([shape.width_m / 2 + 0.1 for _, shape in seen])
    middle = np.array([vehicle.d_m for vehicle, _ in seen])
    left, right = middle - half + min(lean_m, 0.0), middle + half + max(lean_m, 0.0)
    near = np.array([max(1.0, vehicle.ahead_m - 0.35) for vehicle, _ in seen])
    far = np.array([vehicle.ahead_m + shape.length_m + 0.3 for vehicle, shape in seen])
    corners = view.project(np.stack([left, right, right, left], 1), 0.0, np.stack([near, near, far, far], 1))
    return list(corners)
