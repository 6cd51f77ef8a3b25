"""The world of the built-in drive: its scenes, one road drawn from a seed, the ego path and the traffic.

Road coordinates: `s` runs along the road in metres, `d` across it in metres to the right. `d = 0` is the left
edge of the lanes of our direction, so lane `i` lies between `i * lane_width_m` and `(i + 1) * lane_width_m`.
Everything is a closed function of time or a table made once, so that any frame can be asked for at any time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perception.synthetic.vehicles import Bgr, Shape, shape_of

Floats = NDArray[np.float64]
Setting = Literal["highway", "suburb", "city"]

PERIOD_S = 120.0  # the lane changes repeat after this; road, roadside and traffic do not
TABLE_STEP_S = 0.1
TRAFFIC_WINDOW_M = 230.0  # a vehicle that leaves this window behind us comes back far ahead as another one
TRAFFIC_BEHIND_M = 25.0
EGO_GAP_M = 9.0  # approximate least distance to vehicles in our lane
LONGEST_M = 15.0  # of any vehicle
PARKING_CELL_M = 6.4
PARKED_FAR_M = 75.0


_BY_SETTING: dict[Setting, tuple[tuple[float, float], float, float, float]] = {
    "highway": ((22, 30), 1 / 900, 1 / 6000, 1.0),
    "suburb": ((11, 17), 1 / 220, 1 / 2200, 0.7),
    "city": ((7, 12), 1 / 1500, 1 / 3500, 1.3),
}
"""Range of our speed in m/s, curvature per metre in plan and in profile, and density of traffic."""


@dataclass(frozen=True)
class Scene:
    """What light, weather and surroundings a drive has. Light is relative to a sunny day."""

    settings: tuple[Setting, ...]
    sky_top_bgr: Bgr
    sky_low_bgr: Bgr
    cloud: float  # 0 clear sky, 1 overcast
    ambient: float
    sun: float  # how dark the shadow of a vehicle is, 0..1
    shade: float  # how dark the shadows of trees and bridges on the road are, 0..1
    rain: float
    visibility_m: float
    noise_sigma: float  # grey levels of 255
    lamps_on: bool = False
    headlights: bool = False
    street_lamps: bool = True
    traffic: float = 1.0  # how many vehicles, relative to a usual road of the kind
    gains: tuple[float, float] = (0.85, 1.2)  # of the cameras
    noise_spread: tuple[float, float] = (0.6, 1.4)  # the same, of `noise_sigma`


_ANYWHERE: tuple[Setting, ...] = ("suburb", "city", "highway")
_DAY = Scene(_ANYWHERE, (205, 140, 80), (240, 220, 195), 0.35, 1.0, 0.60, 0.0, 0.0, 420.0, 2.5)
_UNLIT = Scene(
    ("suburb", "highway"), (3, 2, 2), (5, 4, 4), 0.3, 0.01, 0.0, 0.0, 0.0, 110.0, 2.5, True, True,
    street_lamps=False, traffic=0.15, gains=(1.1, 2.8), noise_spread=(0.0, 2.5),
)  # fmt: skip

SCENES: dict[str, Scene] = {
    "day": _DAY,
    "dusk": Scene(_ANYWHERE, (130, 85, 70), (105, 165, 235), 0.6, 0.50, 0.25, 0.0, 0.0, 260.0, 4.5, True),
    "night": Scene(_ANYWHERE, (16, 11, 9), (46, 38, 36), 0.3, 0.2, 0.0, 0.0, 0.0, 230.0, 4.5, True, True),
    "rain": Scene(_ANYWHERE, (165, 160, 155), (190, 188, 185), 1.0, 0.62, 0.20, 0.0, 1.0, 120.0, 4.0, True),
    "shadows": Scene(
        ("suburb", "city"), (215, 150, 85), (245, 228, 205), 0.25, 1.1, 0.70, 0.62, 0.0, 420.0, 2.5
    ),
    "highway": Scene(("highway",), (200, 150, 100), (235, 222, 205), 0.55, 0.95, 0.55, 0.0, 0.0, 420.0, 2.5),
    "city": Scene(("city",), (205, 180, 155), (238, 232, 225), 0.7, 0.85, 0.45, 0.2, 0.0, 300.0, 3.0),
    "mixed": _DAY,  # begins by day; the renderer goes through those of MIXED every few seconds
    "unlit": _UNLIT,
    "unlit_rain": replace(_UNLIT, rain=1.0, visibility_m=80.0),
}
MIXED = ("day", "dusk", "night", "rain", "shadows", "highway", "city")
"""The scenes of `mixed`, of training on the built-in road and of accuracy on it."""


def mixed_hash(*numbers: int) -> int:
    """A 32-bit number that looks random and depends on every argument; cheaper than a generator."""
    value = 0x9E3779B9
    for number in numbers:
        value = ((value ^ (number & 0xFFFFFFFF)) * 0x85EBCA6B) & 0xFFFFFFFF
        value = ((value ^ (value >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
        value ^= value >> 16
    return value


def hash_unit(*numbers: int) -> float:
    """`mixed_hash` as a number in [0, 1)."""
    return mixed_hash(*numbers) / 4294967296.0


class Bends:
    """A line that bends gently: a sum of sines, so position and direction are closed functions of `s`."""

    def __init__(
        self, rng: np.random.Generator, curvature_per_m: float, lengths_m: tuple[float, ...]
    ) -> None:
        self._rates = 2.0 * math.pi / (np.asarray(lengths_m) * rng.uniform(0.8, 1.25, len(lengths_m)))
        share = rng.uniform(0.3, 1.0, len(lengths_m))
        self._sizes = curvature_per_m * share / share.sum() / self._rates**2
        self._phases = rng.uniform(0.0, 2.0 * math.pi, len(lengths_m))

    def slope(self, s_m: float) -> float:
        return float(np.sum(self._sizes * self._rates * np.cos(self._rates * s_m + self._phases)))

    def offset(self, s_m: float, ahead_m: Floats) -> Floats:
        """How far the line has left its tangent at `s_m`, `ahead_m` metres further on. Metres, same shape."""
        result = -self.slope(s_m) * ahead_m
        for size, rate, phase in zip(self._sizes, self._rates, self._phases, strict=True):
            start = rate * s_m + phase
            result += size * (np.sin(rate * ahead_m + start) - math.sin(start))
        return result


@dataclass(frozen=True)
class Road:
    """The cross-section of one road. All in metres."""

    setting: Setting
    lane_width_m: float
    lanes: int
    oncoming_lanes: int
    divider: Literal["yellow", "median", "none"]
    median_m: float  # between our left edge and the oncoming lanes
    left_extra_m: float  # paved strip left of everything: shoulder or parking
    right_extra_m: float
    is_parking: bool  # the extra strips hold parked cars
    walk_m: float  # width of the sidewalk, 0 for a verge
    is_marked: bool

    @property
    def right_m(self) -> float:
        """Right edge of our lanes."""
        return self.lanes * self.lane_width_m

    def lane_at(self, d_m: float) -> int:
        """The one of our lanes at a place across the road, or the nearest to it."""
        return min(max(int(d_m // self.lane_width_m), 0), self.lanes - 1)

    @property
    def oncoming_right_m(self) -> float:
        return -self.median_m

    @property
    def oncoming_left_m(self) -> float:
        return -self.median_m - self.oncoming_lanes * self.lane_width_m

    @property
    def paved_left_m(self) -> float:
        return self.oncoming_left_m - self.left_extra_m

    @property
    def paved_right_m(self) -> float:
        return self.right_m + self.right_extra_m


def draw_road(rng: np.random.Generator, setting: Setting) -> Road:
    """One road of the given setting."""
    is_parking = False
    walk_m = 0.0
    if setting == "highway":
        lanes = int(rng.integers(2, 5))
        oncoming, divider, median_m = int(rng.integers(2, 4)), "median", float(rng.uniform(2.0, 5.0))
        left_extra_m, right_extra_m = 2.0, float(rng.uniform(1.5, 3.2))
        lane_width_m = float(rng.uniform(3.4, 3.8))
    elif setting == "suburb":
        lanes = int(rng.choice([1, 1, 2, 2, 3]))
        oncoming, divider, median_m = max(1, lanes - int(rng.integers(0, 2))), "yellow", 0.3
        left_extra_m = right_extra_m = float(rng.uniform(0.4, 1.8))
        lane_width_m = float(rng.uniform(3.1, 3.8))
        walk_m = float(rng.choice([0.0, 1.8]))
    else:
        lanes = int(rng.choice([1, 2, 2, 3, 4]))
        oncoming = int(rng.choice([0, 1, 2])) if lanes < 4 else 0
        divider, median_m = ("yellow", 0.3) if oncoming else ("none", 0.0)
        is_parking = bool(rng.random() < 0.75)
        left_extra_m = right_extra_m = float(rng.uniform(2.2, 2.6)) if is_parking else 0.4
        lane_width_m = float(rng.uniform(3.0, 3.5)) + (0.8 if lanes == 1 else 0.0)
        walk_m = float(rng.uniform(2.0, 4.0))
    is_marked = not (setting != "highway" and lanes == 1 and rng.random() < 0.35)
    return Road(
        setting, lane_width_m, lanes, oncoming, divider, median_m,  # type: ignore[arg-type]  # literals by branch
        left_extra_m, right_extra_m, is_parking, walk_m, is_marked,
    )  # fmt: skip


@dataclass(frozen=True)
class Vehicle:
    """One vehicle at one moment: `ahead_m` is its near end along the road, `d_m` its middle across it."""

    ahead_m: float
    d_m: float
    lane: int | None  # lane of our direction, None for oncoming or parked
    is_oncoming: bool  # its front faces us
    is_parked: bool
    is_braking: bool
    shape: Shape
    identity: int  # shape and colour follow from it


class World:
    """One road with its ego path and traffic; every method is a function of time alone."""

    def __init__(self, scene: Scene, seed: int) -> None:
        rng = np.random.default_rng([seed, 11])
        self.seed = seed
        self.road = draw_road(rng, scene.settings[int(rng.integers(len(scene.settings)))])
        speeds_mps, bend, grade, usual = _BY_SETTING[self.road.setting]
        self.speed_mps = float(rng.uniform(*speeds_mps))
        bend *= float(rng.uniform(0.5, 1.3))
        grade *= float(rng.uniform(0.3, 1.2))
        self.plan = Bends(rng, bend, (700.0, 310.0, 170.0))
        self.profile = Bends(rng, grade, (520.0, 260.0))
        self.camera_height_m = float(rng.uniform(1.2, 1.6))
        self.focal_per_width = float(rng.uniform(0.82, 1.08))
        self.yaw_rad = float(rng.normal(0.0, 0.02))
        self.roll_rad = float(rng.normal(0.0, 0.008))
        self.horizon_share = float(rng.uniform(0.44, 0.56))
        self.shake = float(rng.uniform(0.4, 1.4))
        self._speed_wave = [float(rng.uniform(*limits)) for limits in ((0.1, 0.25), (0.15, 0.35), (0, 6))]
        self._shake_phases = rng.uniform(0, 6.28, 6)
        self._wander = rng.uniform(0, 6.28, 2)
        self.density = float(rng.uniform(0.5, 1.6)) * usual * scene.traffic
        self._times_s = np.arange(0.0, PERIOD_S + TABLE_STEP_S / 2, TABLE_STEP_S)
        self._lane_table = self._drive_lanes(rng)
        self._make_traffic(rng)

    def _drive_lanes(self, rng: np.random.Generator) -> Floats:
        """Lane the camera is in, as a smooth number, over one period; it ends where it began."""
        lanes = self.road.lanes
        first = int(rng.integers(lanes))
        table = np.full(self._times_s.shape, float(first))
        now, at_s = first, float(rng.uniform(5.0, 14.0))
        while lanes > 1 and at_s < PERIOD_S - 12.0 * lanes:
            target = min(max(now + int(rng.choice([-1, 1])), 0), lanes - 1)
            table += (target - now) * smooth_step((self._times_s - at_s) / 4.0)
            now, at_s = target, at_s + float(rng.uniform(11.0, 22.0))
        for step in range(abs(first - now)):  # the way back, one lane at a time
            at_s = PERIOD_S - 11.0 * (step + 1)
            table += math.copysign(1.0, first - now) * smooth_step((self._times_s - at_s) / 4.0)
        return table

    def _make_traffic(self, rng: np.random.Generator) -> None:
        """Slots of vehicles per lane, and our closeness to each of our lanes over one period.

        While we are in a lane, or about to be, its vehicles stop drifting past us and keep their gap. The
        drift stops before the gap opens and resumes after it has closed, so that no vehicle jumps over us.
        """
        lane_axis = np.arange(self.road.lanes)[:, None]
        nearness = np.clip(1.6 - np.abs(self._lane_table[None] - lane_axis), 0.0, 1.0)
        window = np.ones(int(3.0 / TABLE_STEP_S))
        held = np.stack([widest(row, len(window)) for row in nearness]) > 0.0
        frozen = np.stack([widest(row, len(window)) for row in held.astype(np.float64)]) > 0.0
        soft = np.stack(
            [np.convolve(wrap_pad(row, len(window)), window / len(window), "same") for row in held * 1.0]
        )
        self._gap_share = soft[:, len(window) : -len(window)]
        relative_mps = rng.uniform(-4.0, 4.5, self.road.lanes) * self.speed_mps / 20.0
        moved = np.cumsum(relative_mps[:, None] * ~frozen * TABLE_STEP_S, axis=1)
        self._drift_m = moved - moved[:, :1]
        self._wobbles = [
            (float(rng.uniform(0.15, 0.4)), float(rng.uniform(0, 6.28))) for _ in range(self.road.lanes)
        ]
        self._slots: list[tuple[int, float]] = []  # lane (-1 and below: oncoming) and place along the window
        per_lane = 0.9 + 3.2 * self.density
        for lane in range(-self.road.oncoming_lanes, self.road.lanes):
            count = min(max(1, int(rng.poisson(per_lane))), 8)
            start = float(rng.uniform(0, TRAFFIC_WINDOW_M))
            for k in range(count):
                jitter = float(rng.uniform(-0.2, 0.2))
                self._slots.append((lane, start + (k + jitter) * TRAFFIC_WINDOW_M / count))
        self._oncoming_mps = self.speed_mps * float(rng.uniform(0.8, 1.1))

    def travelled_m(self, time_s: float) -> float:
        share, rate, phase = self._speed_wave
        return self.speed_mps * (time_s + share / rate * math.sin(rate * time_s + phase))

    def camera_d_m(self, time_s: float) -> float:
        """Where the camera is across the road."""
        lane = float(np.interp(time_s % PERIOD_S, self._times_s, self._lane_table))
        wander = 0.16 * math.sin(0.55 * time_s + self._wander[0]) + 0.1 * math.sin(
            1.3 * time_s + self._wander[1]
        )
        return (lane + 0.5) * self.road.lane_width_m + wander

    def shake_rad(self, time_s: float) -> tuple[float, float]:
        """Pitch and roll of the camera from an uneven road."""
        p = self._shake_phases
        slow = math.sin(1.9 * time_s + p[0]) + 0.6 * math.sin(4.7 * time_s + p[1])
        fast = math.sin(13.0 * time_s + p[2]) * (0.5 + 0.5 * math.sin(0.8 * time_s + p[3]))
        roll = math.sin(2.3 * time_s + p[4]) + 0.5 * math.sin(6.1 * time_s + p[5])
        return self.shake * (0.0022 * slow + 0.0012 * fast), self.shake * 0.0018 * roll

    def vehicles(self, time_s: float, far_m: float) -> list[Vehicle]:
        """All vehicles from just behind us to `far_m`, the farthest first."""
        rounds, rest_s = divmod(time_s, PERIOD_S)
        travelled = self.travelled_m(time_s)
        result = self._parked(travelled, min(far_m, PARKED_FAR_M))
        cursor = rest_s / TABLE_STEP_S
        at, part = int(cursor), cursor - int(cursor)
        for index, (lane, offset) in enumerate(self._slots):
            if lane < 0:
                place = offset - travelled - self._oncoming_mps * time_s
            else:
                drift = self._drift_m[lane]
                place = offset + drift[at] * (1 - part) + drift[at + 1] * part + rounds * drift[-1]
            turn, ahead_m = divmod(place + TRAFFIC_BEHIND_M, TRAFFIC_WINDOW_M)
            ahead_m -= TRAFFIC_BEHIND_M
            identity = mixed_hash(self.seed, index, int(turn))
            is_braking = False
            if lane >= 0:
                share = self._gap_share[lane]
                near = float(share[at] * (1 - part) + share[at + 1] * part)
                rate, phase = self._wobbles[lane]
                # one wobble for the whole lane keeps its vehicles in order
                wobble_m = 0.22 * math.sin(rate * time_s + phase) * min(max(ahead_m + EGO_GAP_M, 0.0), 35.0)
                ahead_m += near * (EGO_GAP_M + wobble_m if ahead_m > -2.0 else -LONGEST_M - EGO_GAP_M)
                is_braking = math.cos(rate * time_s + phase) < -0.6 and ahead_m < 60.0
            if -LONGEST_M < ahead_m < far_m:
                sway = 0.15 * math.sin(0.4 * time_s + index)
                shift_m = self.road.oncoming_right_m if lane < 0 else 0.0
                d_m = (lane + 0.5) * self.road.lane_width_m + shift_m + sway
                own_lane = lane if lane >= 0 else None
                shape = shape_of(identity, self.road.setting, False)
                result.append(Vehicle(ahead_m, d_m, own_lane, lane < 0, False, is_braking, shape, identity))
        return sorted(result, key=lambda vehicle: -vehicle.ahead_m)

    def with_one_ahead(self, vehicles: list[Vehicle], time_s: float, ahead_m: float) -> list[Vehicle]:
        """The vehicles of a moment with one more, which brakes in the middle of our lane; farthest first."""
        lane = self.road.lane_at(self.camera_d_m(time_s))
        identity = mixed_hash(self.seed, 9)
        shape = shape_of(identity, self.road.setting, False)
        middle_m = (lane + 0.5) * self.road.lane_width_m
        one = Vehicle(ahead_m, middle_m, lane, False, False, True, shape, identity)
        return sorted([*vehicles, one], key=lambda vehicle: -vehicle.ahead_m)

    def _parked(self, travelled_m: float, far_m: float) -> list[Vehicle]:
        if not self.road.is_parking:
            return []
        result = []
        first = int(travelled_m // PARKING_CELL_M) - 1
        for cell in range(first, first + int(far_m / PARKING_CELL_M) + 2):
            for side, d_m in ((1, self.road.right_m + 1.15), (2, self.road.oncoming_left_m - 1.15)):
                identity = mixed_hash(self.seed, cell, side, 5)
                if identity % 100 < 35 + 25 * self.density and (cell // 9 + side) % 4:
                    ahead_m = cell * PARKING_CELL_M + 0.8 * hash_unit(identity, 1) - travelled_m
                    is_facing_us = side == 2 and self.road.oncoming_lanes > 0
                    shape = shape_of(identity, self.road.setting, True)
                    result.append(Vehicle(ahead_m, d_m, None, is_facing_us, True, False, shape, identity))
        return result


def smooth_step(x: Floats) -> Floats:
    """0 up to x = 0, 1 from x = 1, smooth between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def wrap_pad(row: Floats, pad: int) -> Floats:
    return np.concatenate([row[-pad:], row, row[:pad]])


def widest(row: Floats, reach: int) -> Floats:
    """The largest value within `reach` samples to either side, around the ends of the period."""
    padded = wrap_pad(row, reach)
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    return np.asarray(views.max(axis=1), dtype=np.float64)
