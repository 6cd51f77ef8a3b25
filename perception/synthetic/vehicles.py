"""Shapes of the built-in drive's vehicles: small meshes of coloured faces, in metres.

Local axes: x to the right, y up from the road, z forward from the rear end. The corners of a face run
clockwise in an image when seen from outside; the renderer drops the faces that look away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bgr = tuple[float, float, float]
Floats = NDArray[np.float64]
Point = tuple[float, float, float]
Edge = tuple[float, float, float]
"""A line across the vehicle, symmetric in x: half its width, and its y and z."""

PAINTS_BGR: tuple[Bgr, ...] = (
    (235, 235, 235), (190, 192, 195), (140, 142, 145), (85, 86, 88), (35, 33, 32),
    (25, 24, 24), (45, 40, 125), (120, 75, 40), (70, 45, 30), (60, 110, 150),
    (30, 180, 235), (70, 80, 55), (215, 215, 210), (40, 40, 60),
)  # fmt: skip
GLASS_BGR: Bgr = (58, 50, 44)
DARK_BGR: Bgr = (22, 22, 23)
CHROME_BGR: Bgr = (150, 150, 150)
PLATE_BGR: Bgr = (200, 205, 205)
TAIL_BGR: Bgr = (30, 25, 150)
HEAD_BGR: Bgr = (215, 215, 210)


class Face(NamedTuple):
    """One flat polygon. `bgr` None takes the vehicle's paint; `lamp` faces shine when the lamps are on."""

    corners_m: Floats  # (n, 3)
    bgr: Bgr | None
    light: float  # of the paint: which way the face looks
    is_detail: bool  # left out when the vehicle is small in the image
    lamp: str  # "tail", "head" or none


class Shape:
    """A kind of vehicle: its footprint, and its faces in drawing order as arrays.

    Attributes:
        counts, starts: (faces,) number of a face's corners, and index of its first one.
        corners_m: (corners, 3) of a vehicle that drives away, and of one that comes towards us.
        lamps_m: (n, 3) middles of the lamps that face us, for their glow, in the same two cases.
    """

    def __init__(
        self, length_m: float, width_m: float, faces: Sequence[Face], tails_m: Floats, heads_m: Floats
    ) -> None:
        def turned(points_m: Floats) -> Floats:
            return points_m * (-1.0, 1.0, -1.0) + (0.0, 0.0, length_m)

        self.length_m, self.width_m = length_m, width_m
        self.counts = np.array([len(face.corners_m) for face in faces])
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        corners_m = np.concatenate([face.corners_m for face in faces])
        self.corners_m, self.lamps_m = (corners_m, turned(corners_m)), (tails_m, turned(heads_m))
        self.is_paint = np.array([face.bgr is None for face in faces])
        self.bgr = np.array([face.bgr or (0.0, 0.0, 0.0) for face in faces])
        self.light = np.array([face.light for face in faces])
        self.is_detail = np.array([face.is_detail for face in faces])
        self.is_tail = np.array([face.lamp == "tail" for face in faces])
        self.is_head = np.array([face.lamp == "head" for face in faces])


class ShapeBuilder:
    """Collects the faces of one vehicle of the given footprint, symmetric in x."""

    def __init__(self, length_m: float, width_m: float) -> None:
        self.length_m = length_m
        self.half_m = width_m / 2
        self.faces: list[Face] = []

    def face(self, corners: list[Point], outward: Point, bgr: Bgr | None, light: float,
             is_detail: bool = False, lamp: str = "") -> None:  # fmt: skip
        """Add one face, turned so that its normal points `outward`."""
        points = np.asarray(corners, dtype=np.float64)
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        if float(normal @ np.asarray(outward)) < 0.0:
            points = points[::-1].copy()
        self.faces.append(Face(points, bgr, light, is_detail, lamp))

    def panel(self, low: Edge, high: Edge, outward: Point, bgr: Bgr | None, light: float,
              is_detail: bool = False) -> None:  # fmt: skip
        """A face between two edges across the vehicle."""
        (low_x, low_y, low_z), (high_x, high_y, high_z) = low, high
        corners = [(-low_x, low_y, low_z), (low_x, low_y, low_z),
                   (high_x, high_y, high_z), (-high_x, high_y, high_z)]  # fmt: skip
        self.face(corners, outward, bgr, light, is_detail)

    def across(self, z: float, x: tuple[float, float], y: tuple[float, float], bgr: Bgr | None, light: float,
               is_detail: bool = True, lamp: str = "") -> None:  # fmt: skip
        """A rectangle across the road at `z`: rear when `z` is in the rear half, else front."""
        looks = -1.0 if z < self.length_m / 2 else 1.0
        corners = [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]
        self.face(corners, (0, 0, looks), bgr, light, is_detail, lamp)

    def sides(self, zy: list[tuple[float, float]], x_low: float, x_high: float, bgr: Bgr | None, light: float,
              is_detail: bool = False) -> None:  # fmt: skip
        """The same (z, y) polygon on both sides; x goes from `x_low` at its lowest to `x_high` on top."""
        low, high = min(y for _, y in zy), max(y for _, y in zy)
        for sign in (-1.0, 1.0):
            tilted = [(sign * (x_low + (x_high - x_low) * (y - low) / (high - low)), y, z) for z, y in zy]
            self.face(tilted, (sign, 0, 0), bgr, light * (0.88 if sign < 0 else 1.0), is_detail)

    def wheels(self, axles_m: tuple[float, ...], radius_m: float) -> None:
        turn = np.linspace(0, 2 * np.pi, 11)[:-1]
        for z in axles_m:
            for radius, bgr, out in ((radius_m, DARK_BGR, 0.0), (0.58 * radius_m, CHROME_BGR, 0.01)):
                ring = [(z + radius * float(np.cos(a)), radius_m + radius * float(np.sin(a))) for a in turn]
                self.sides(ring, self.half_m + out, self.half_m + out, bgr, 0.8, radius != radius_m)

    def under(self, clear_m: float) -> None:
        """Tyres and the dark below the body, from behind and from the front."""
        for z in (0.25, self.length_m - 0.25):
            outer, inner = self.half_m - 0.04, self.half_m - 0.3
            self.across(z, (-outer, outer), (0.16, clear_m + 0.1), DARK_BGR, 0.7, is_detail=False)
            self.across(z, (-outer, -inner), (0.0, clear_m + 0.1), DARK_BGR, 0.8, is_detail=False)
            self.across(z, (inner, outer), (0.0, clear_m + 0.1), DARK_BGR, 0.8, is_detail=False)

    def shape(self, tail_y: tuple[float, float], head_y: tuple[float, float], wide_m: float) -> Shape:
        """The vehicle, with tail lamps and headlights of this width at its corners."""
        outer = self.half_m - 0.05
        for sign in (-1.0, 1.0):
            x = (sign * outer, sign * (outer - wide_m))
            self.across(-0.01, x, tail_y, TAIL_BGR, 1.0, True, "tail")
            self.across(self.length_m + 0.01, x, head_y, HEAD_BGR, 1.0, True, "head")
        middle = outer - wide_m / 2
        tails = np.array([(s * middle, sum(tail_y) / 2, 0.0) for s in (-1, 1)])
        heads = np.array([(s * middle, sum(head_y) / 2, self.length_m) for s in (-1, 1)])
        return Shape(self.length_m, 2 * self.half_m, self.faces, tails, heads)


def build_car(length_m: float, width_m: float, height_m: float, belt_m: float,
              cabin: tuple[float, float, float, float]) -> Shape:  # fmt: skip
    """A car. `cabin` is z of the cabin's foot and roof: rear foot, rear roof, front roof, front foot."""
    build = ShapeBuilder(length_m, width_m)
    half, sill, end = build.half_m, 0.3, length_m
    rear_foot, rear_roof, front_roof, front_foot = cabin
    middle, shoulder = 0.58 * belt_m, half * 0.93
    build.under(sill)
    for z, step in ((0.0, 1.0), (end, -1.0)):
        bulge = (half, middle, z)
        build.panel((half * 0.95, sill, z + step * 0.06), bulge, (0, 0, -step), None, 0.66)
        build.panel(bulge, (shoulder, belt_m, z + step * 0.1), (0, 0, -step), None, 0.86)
    below = [(0.06, sill), (end - 0.06, sill), (end, middle), (0.0, middle)]
    build.sides(below, half, half, None, 0.62)
    flank = [(0.0, middle), (end, middle), (end - 0.1, 0.92 * belt_m), (front_foot, belt_m), (0.1, belt_m)]
    build.sides(flank, half, shoulder, None, 0.85)
    build.wheels((0.19 * length_m, 0.81 * length_m), 0.33)
    top = belt_m - 0.02
    build.panel((shoulder, top, 0.1), (shoulder, top, end - 0.1), (0, 1, 0), None, 1.12)
    foot, roof = half * 0.92, half * 0.72
    pillars = [(rear_foot, belt_m), (front_foot, belt_m), (front_roof, height_m), (rear_roof, height_m)]
    build.sides(pillars, foot, roof, None, 0.8)
    for z_foot, z_roof, looks in ((rear_foot, rear_roof, -1.0), (front_foot, front_roof, 1.0)):
        outward = (0, 0.3, looks)
        build.panel((foot, belt_m, z_foot), (roof, height_m, z_roof), outward, None, 0.95)
        pane: list[Edge] = []
        for share, inset in ((0.08, 0.9), (0.86, 0.88)):  # inside its frame, as shares of the height
            x = (foot + (roof - foot) * share) * inset
            y, z = belt_m + (height_m - belt_m) * share, z_foot + (z_roof - z_foot) * share + looks * 0.01
            pane.append((x, y, z))
        low, high = pane
        build.panel(low, high, outward, GLASS_BGR, 1.0)
        x, y, z = (below * 0.45 + above * 0.55 for below, above in zip(low, high, strict=True))
        build.panel((x, y, z), high, outward, (105, 92, 80), 1.0, True)
    build.panel((roof, height_m, rear_roof), (roof, height_m, front_roof), (0, 1, 0), None, 1.15)
    z0, z3 = rear_foot + 0.12, front_foot - 0.12
    upper = belt_m + 0.84 * (height_m - belt_m)
    z1, z2 = (
        rear_foot + 0.84 * (rear_roof - rear_foot) + 0.1,
        front_foot + 0.84 * (front_roof - front_foot) - 0.1,
    )
    windows = [(z0, belt_m + 0.03), (z3, belt_m + 0.03), (z2, upper), (z1, upper)]
    build.sides(windows, foot + 0.01, roof + 0.04, GLASS_BGR, 1.0)
    build.across(-0.01, (-0.27, 0.27), (0.72 * belt_m, 0.72 * belt_m + 0.15), PLATE_BGR, 0.9)
    build.across(0.0, (-half * 0.9, half * 0.9), (sill, sill + 0.16), DARK_BGR, 1.5)
    build.across(end + 0.01, (-half * 0.5, half * 0.5), (0.45, 0.62), DARK_BGR, 1.0)
    return build.shape((0.68 * belt_m, 0.9 * belt_m), (0.6 * belt_m, 0.76 * belt_m), 0.3)


def build_box(length_m: float, width_m: float, height_m: float, clear_m: float, cab_m: float) -> Shape:
    """A van, bus or lorry: a tall body, with a windscreen, side panes and, for `cab_m` > 0, a lower cab."""
    build = ShapeBuilder(length_m, width_m)
    half, end = build.half_m, length_m
    build.under(clear_m)
    body_end = end - cab_m
    build.across(0.0, (-half, half), (clear_m, height_m), None, 0.86, is_detail=False)
    body = [(0.0, clear_m), (body_end, clear_m), (body_end, height_m), (0.0, height_m)]
    build.sides(body, half, half, None, 0.8)
    front_top = min(height_m, 2.7) if cab_m > 0 else height_m
    build.panel((half, clear_m, end), (half, front_top, end), (0, 0, 1), None, 0.8)
    if cab_m > 0:
        cab = [(body_end, clear_m), (end, clear_m), (end, front_top), (body_end, front_top)]
        build.sides(cab, half, half, (90, 70, 60), 0.85)
        build.panel((half, front_top, body_end), (half, height_m, body_end), (0, 0, 1), None, 0.75)
    build.wheels((0.16 * length_m, 0.84 * length_m), 0.36 if height_m < 2.6 else 0.5)
    frame = half * 0.92
    if cab_m > 0:  # doors of the load space
        build.across(-0.01, (-0.02, 0.02), (clear_m + 0.1, height_m - 0.1), DARK_BGR, 2.2)
        build.across(-0.01, (-half, half), (height_m - 0.14, height_m), CHROME_BGR, 0.6)
    else:
        low, high = 0.57 * height_m, 0.83 * height_m
        build.across(-0.01, (-frame, frame), (low, 0.86 * height_m), GLASS_BGR, 1.0)
        windows = [(0.35, low), (end - 0.3, low), (end - 0.5, high), (0.35, high)]
        build.sides(windows, half + 0.01, half + 0.01, GLASS_BGR, 1.0)
    build.across(end + 0.01, (-frame, frame), (0.55 * front_top, 0.84 * front_top), GLASS_BGR, 1.0)
    build.across(-0.01, (-half * 0.95, half * 0.95), (clear_m, clear_m + 0.2), DARK_BGR, 1.6)
    build.across(-0.02, (-0.27, 0.27), (clear_m + 0.25, clear_m + 0.4), PLATE_BGR, 0.9)
    lamp_m = clear_m + 0.3
    return build.shape((lamp_m, lamp_m + 0.3), (lamp_m, lamp_m + 0.22), 0.18)


SHAPES: tuple[Shape, ...] = (
    build_car(4.6, 1.82, 1.46, 0.98, (0.55, 1.25, 2.6, 3.5)),  # saloon
    build_car(4.8, 1.86, 1.44, 0.97, (0.7, 1.5, 2.7, 3.6)),
    build_car(4.1, 1.78, 1.50, 0.98, (0.12, 0.6, 2.2, 3.1)),  # hatchback
    build_car(4.7, 1.92, 1.74, 1.10, (0.1, 0.45, 2.6, 3.4)),  # sport utility
    build_car(4.9, 1.98, 1.82, 1.14, (0.08, 0.35, 2.9, 3.6)),
    build_car(5.5, 1.98, 1.86, 1.12, (2.0, 2.2, 3.4, 4.1)),  # pickup
    build_box(5.2, 1.98, 2.15, 0.32, 0.0),  # van
    build_box(11.5, 2.5, 3.05, 0.35, 0.0),  # bus
    build_box(8.5, 2.45, 3.5, 0.7, 2.0),  # lorry
    build_box(15.0, 2.5, 4.0, 0.9, 2.2),
)
CAR_KINDS, VAN_KIND, BUS_KIND, LORRY_KINDS = 6, 6, 7, (8, 9)


def shape_of(identity: int, setting: str, is_parked: bool) -> Shape:
    """The shape that belongs to a vehicle's identity on a road of this setting."""
    roll = identity % 97
    if is_parked or roll < 76:
        return SHAPES[(identity >> 8) % CAR_KINDS]
    if roll < 85:
        return SHAPES[VAN_KIND]
    if setting == "city" and roll < 90:
        return SHAPES[BUS_KIND]
    return SHAPES[LORRY_KINDS[(identity >> 8) % 2]]
