"""Shapes of the built-in drive's vehicles: small meshes of coloured faces, in metres.

Local axes: x to the right, y up from the road, z forward from the rear end. The corners of a face run
clockwise in an image when seen from outside; the renderer drops the faces that look away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perception.synthetic.world import Bgr

Floats = NDArray[np.float64]
Point = tuple[float, float, float]

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


@dataclass(frozen=True)
class Face:
    """One flat polygon. `bgr` None takes the vehicle's paint; `lamp` faces shine when the lamps are on."""

    corners_m: Floats  # (n, 3)
    bgr: Bgr | None
    light: float  # of the paint: which way the face looks
    is_detail: bool  # left out when the vehicle is small in the image
    lamp: str = ""  # "tail", "head" or none


@dataclass(frozen=True)
class Shape:
    """A kind of vehicle: its faces in drawing order and its footprint."""

    faces: tuple[Face, ...]
    length_m: float
    width_m: float
    height_m: float
    tail_lamps_m: Floats  # (n, 3) middles, for their glow
    head_lamps_m: Floats


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

    def lamps(
        self, tail_y: tuple[float, float], head_y: tuple[float, float], wide_m: float
    ) -> tuple[Floats, Floats]:
        """Tail lamps and headlights at the corners; gives back their middles."""
        outer = self.half_m - 0.05
        for sign in (-1.0, 1.0):
            x = (sign * outer, sign * (outer - wide_m))
            self.across(-0.01, x, tail_y, TAIL_BGR, 1.0, True, "tail")
            self.across(self.length_m + 0.01, x, head_y, HEAD_BGR, 1.0, True, "head")
        middle = outer - wide_m / 2
        tails = np.array([(s * middle, sum(tail_y) / 2, 0.0) for s in (-1, 1)])
        heads = np.array([(s * middle, sum(head_y) / 2, self.length_m) for s in (-1, 1)])
        return tails, heads

    def shape(self, height_m: float, lamps: tuple[Floats, Floats]) -> Shape:
        return Shape(tuple(self.faces), self.length_m, 2 * self.half_m, height_m, *lamps)


def build_car(length_m: float, width_m: float, height_m: float, belt_m: float,
              cabin: tuple[float, float, float, float]) -> Shape:  # fmt: skip
    """A car. `cabin` is z of the cabin's foot and roof: rear foot, rear roof, front roof, front foot."""
    build = ShapeBuilder(length_m, width_m)
    half, sill, end = build.half_m, 0.3, length_m
    middle = 0.58 * belt_m
    build.under(sill)
    for z, step in ((0.0, 1.0), (end, -1.0)):
        looks = -step
        low = [
            (-half * 0.95, sill, z + step * 0.06),
            (half * 0.95, sill, z + step * 0.06),
            (half, middle, z),
            (-half, middle, z),
        ]
        high = [
            (-half, middle, z),
            (half, middle, z),
            (half * 0.93, belt_m, z + step * 0.1),
            (-half * 0.93, belt_m, z + step * 0.1),
        ]
        build.face(low, (0, 0, looks), None, 0.66)
        build.face(high, (0, 0, looks), None, 0.86)
    build.sides([(0.06, sill), (end - 0.06, sill), (end, middle), (0.0, middle)], half, half, None, 0.62)
    build.sides(
        [(0.0, middle), (end, middle), (end - 0.1, 0.92 * belt_m), (cabin[3], belt_m), (0.1, belt_m)],
        half,
        half * 0.93,
        None,
        0.85,
    )
    build.wheels((0.19 * length_m, 0.81 * length_m), 0.33)
    top = belt_m - 0.02
    build.face(
        [
            (-half * 0.93, top, 0.1),
            (half * 0.93, top, 0.1),
            (half * 0.93, top, end - 0.1),
            (-half * 0.93, top, end - 0.1),
        ],
        (0, 1, 0),
        None,
        1.12,
    )
    foot, roof = half * 0.92, half * 0.72
    build.sides(
        [(cabin[0], belt_m), (cabin[3], belt_m), (cabin[2], height_m), (cabin[1], height_m)],
        foot,
        roof,
        None,
        0.8,
    )
    for z_foot, z_roof, looks in ((cabin[0], cabin[1], -1.0), (cabin[3], cabin[2], 1.0)):
        build.face(
            [
                (-foot, belt_m, z_foot),
                (foot, belt_m, z_foot),
                (roof, height_m, z_roof),
                (-roof, height_m, z_roof),
            ],
            (0, 0.3, looks),
            None,
            0.95,
        )
        b, t = 0.08, 0.86  # the pane inside its frame, as shares of the height
        pane = []
        for share, inset in ((b, 0.9), (t, 0.88)):
            x = (foot + (roof - foot) * share) * inset
            y, z = belt_m + (height_m - belt_m) * share, z_foot + (z_roof - z_foot) * share + looks * 0.01
            pane += [(-x, y, z), (x, y, z)]
        build.face([pane[0], pane[1], pane[3], pane[2]], (0, 0.3, looks), GLASS_BGR, 1.0)
        mid = [tuple((np.asarray(pane[i]) * 0.45 + np.asarray(pane[i + 2]) * 0.55).tolist()) for i in (0, 1)]
        build.face([mid[0], mid[1], pane[3], pane[2]], (0, 0.3, looks), (105, 92, 80), 1.0, True)
    build.face(
        [
            (-roof, height_m, cabin[1]),
            (roof, height_m, cabin[1]),
            (roof, height_m, cabin[2]),
            (-roof, height_m, cabin[2]),
        ],
        (0, 1, 0),
        None,
        1.15,
    )
    z0, z3 = cabin[0] + 0.12, cabin[3] - 0.12
    upper = belt_m + 0.84 * (height_m - belt_m)
    z1, z2 = cabin[0] + 0.84 * (cabin[1] - cabin[0]) + 0.1, cabin[3] + 0.84 * (cabin[2] - cabin[3]) - 0.1
    build.sides(
        [(z0, belt_m + 0.03), (z3, belt_m + 0.03), (z2, upper), (z1, upper)],
        foot + 0.01,
        roof + 0.04,
        GLASS_BGR,
        1.0,
    )
    build.across(-0.01, (-0.27, 0.27), (0.72 * belt_m, 0.72 * belt_m + 0.15), PLATE_BGR, 0.9)
    build.across(0.0, (-half * 0.9, half * 0.9), (sill, sill + 0.16), DARK_BGR, 1.5)
    build.across(end + 0.01, (-half * 0.5, half * 0.5), (0.45, 0.62), DARK_BGR, 1.0)
    return build.shape(
        height_m, build.lamps((0.68 * belt_m, 0.9 * belt_m), (0.6 * belt_m, 0.76 * belt_m), 0.3)
    )


def build_box(length_m: float, width_m: float, height_m: float, clear_m: float, cab_m: float) -> Shape:
    """A van, bus or lorry: a tall body, with a windscreen, side panes and, for `cab_m` > 0, a lower cab."""
    build = ShapeBuilder(length_m, width_m)
    half, end = build.half_m, length_m
    build.under(clear_m)
    body_end = end - cab_m
    build.across(0.0, (-half, half), (clear_m, height_m), None, 0.86, is_detail=False)
    build.sides(
        [(0.0, clear_m), (body_end, clear_m), (body_end, height_m), (0.0, height_m)], half, half, None, 0.8
    )
    front_top = min(height_m, 2.7) if cab_m > 0 else height_m
    build.face(
        [(-half, clear_m, end), (half, clear_m, end), (half, front_top, end), (-half, front_top, end)],
        (0, 0, 1),
        None,
        0.8,
    )
    if cab_m > 0:
        build.sides(
            [(body_end, clear_m), (end, clear_m), (end, front_top), (body_end, front_top)],
            half,
            half,
            (90, 70, 60),
            0.85,
        )
        build.face(
            [
                (-half, front_top, body_end),
                (half, front_top, body_end),
                (half, height_m, body_end),
                (-half, height_m, body_end),
            ],
            (0, 0, 1),
            None,
            0.75,
        )
    build.wheels((0.16 * length_m, 0.84 * length_m), 0.36 if height_m < 2.6 else 0.5)
    frame = half * 0.92
    if cab_m > 0:  # doors of the load space
        build.across(-0.01, (-0.02, 0.02), (clear_m + 0.1, height_m - 0.1), DARK_BGR, 2.2)
        build.across(-0.01, (-half, half), (height_m - 0.14, height_m), CHROME_BGR, 0.6)
    else:
        build.across(-0.01, (-frame, frame), (0.57 * height_m, 0.86 * height_m), GLASS_BGR, 1.0)
        build.sides(
            [
                (0.35, 0.57 * height_m),
                (end - 0.3, 0.57 * height_m),
                (end - 0.5, 0.83 * height_m),
                (0.35, 0.83 * height_m),
            ],
            half + 0.01,
            half + 0.01,
            GLASS_BGR,
            1.0,
        )
    build.across(end + 0.01, (-frame, frame), (0.55 * front_top, 0.84 * front_top), GLASS_BGR, 1.0)
    build.across(-0.01, (-half * 0.95, half * 0.95), (clear_m, clear_m + 0.2), DARK_BGR, 1.6)
    build.across(-0.02, (-0.27, 0.27), (clear_m + 0.25, clear_m + 0.4), PLATE_BGR, 0.9)
    lamp_m = clear_m + 0.3
    return build.shape(height_m, build.lamps((lamp_m, lamp_m + 0.3), (lamp_m, lamp_m + 0.22), 0.18))


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
