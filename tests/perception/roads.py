"""A straight road in metres, seen by a calibrated camera: what tests of everything in metres begin with."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame, Prediction
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT
from perception.scene.calibration import Calibration, Intrinsics, Mount
from perception.scene.metres import (
    FREE,
    OCCUPIED,
    UNKNOWN,
    EgoLane,
    FreeSpace,
    Grid,
    Measured,
    Metres,
    MountEstimate,
)
from perception.scene.settings import calibrated as with_calibration
from perception.sources.source import SourceInfo

FRAME_WH = (640, 360)
MOUNT = Mount(1.4, pitch_rad=0.05)
LIMIT_M = 60.0
BEARINGS_RAD = np.linspace(-0.6, 0.6, 121)
CELL_M = 0.25


@cache
def calibrated(frame_wh: tuple[int, int] = FRAME_WH, mount: Mount = MOUNT) -> Calibration:
    """A pinhole camera with a view of 65 degrees."""
    width, height = frame_wh
    matrix = np.array([[0.8 * width, 0, (width - 1) / 2], [0, 0.8 * width, (height - 1) / 2], [0, 0, 1]])
    return Calibration(Intrinsics(frame_wh, matrix), mount)


class _AtAnySize:
    """In the place of `RunCalibration`, which reads a file."""

    def at(self, frame_wh: tuple[int, int]) -> Calibration:
        return calibrated(frame_wh)


def calibrated_source(info: SourceInfo) -> SourceInfo:
    """A source whose camera that is."""
    calibration: Any = _AtAnySize()
    return with_calibration(info, calibration)


def metres(
    calibration: Calibration | None = None,
    *,
    ahead_m: float = 32.0,
    obstacle_left: bool = False,
    offset_m: float = 0.3,
    curvature_per_m: float = 0.0,
) -> Metres:
    """A lane of 3.6 m and one to the right of it, free for `ahead_m`.

    Args:
        obstacle_left: 12 m ahead, a metre to the left.
        offset_m: of the vehicle to the left of its lane's middle.
    """
    calibration = calibration or calibrated()
    mount = calibration.mount
    assert mount is not None
    x = np.linspace(3.0, ahead_m, 24)
    middle = -offset_m + curvature_per_m / 2 * x * x
    half_m, width_m = 1.8, 3.6

    def strip(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([np.stack([x, left], 1), np.stack([x, right], 1)[::-1]])

    origin = (mount.forward_m, mount.left_m)
    free = _distances(origin, offset_m, ahead_m, obstacle_left=obstacle_left)
    is_seen = np.isfinite(free)
    return Metres(
        mount=MountEstimate(mount, 0.002, 0.002, 0.003, 0.02, is_followed=True),
        limit_m=LIMIT_M,
        free_space=FreeSpace(
            BEARINGS_RAD, free, 0.02 * free, is_seen & (np.nan_to_num(free) < LIMIT_M - 1e-6), origin
        ),
        make_grid=lambda: _grid(origin, free),
        distance_ahead_m=Measured(ahead_m, 0.6),
        is_ahead_open=False,
        lane=EgoLane(
            coefficients=np.array([-offset_m, 0.0, curvature_per_m]),
            covariance=np.diag([0.03, 0.002, 1e-4]) ** 2,
            near_m=3.0,
            valid_to_m=ahead_m,
            width_m=Measured(width_m, 0.05),
            centreline=np.stack([x, middle], axis=1),
            polygon=strip(middle + half_m, middle - half_m),
        ),
        left_alternative=None,
        right_alternative=strip(middle - half_m, middle - half_m - width_m),
        intrinsics=calibration.intrinsics,
    )


def _distances(
    origin: tuple[float, float], offset_m: float, ahead_m: float, *, obstacle_left: bool
) -> NDArray[np.float64]:
    """To the road's edges, to its end, or to the obstacle; the outermost directions are not seen."""
    left_m, right_m = 1.8 - offset_m - origin[1], -5.4 - offset_m - origin[1]
    with np.errstate(divide="ignore"):
        aside = np.abs(np.where(BEARINGS_RAD > 0, left_m, right_m) / np.sin(BEARINGS_RAD))
    free = np.minimum.reduce([aside, (ahead_m - origin[0]) / np.cos(BEARINGS_RAD), np.full(121, LIMIT_M)])
    if obstacle_left:
        is_hit = np.abs(BEARINGS_RAD - math.atan2(1.0, 12)) < 0.05
        free[is_hit] = np.minimum(free[is_hit], 12.0)
    free[:3] = np.nan
    return np.asarray(free)


def _grid(origin: tuple[float, float], free: NDArray[np.float64]) -> Grid:
    """Cells whose middle is nearer than the profile are free, and those at its end are occupied."""
    corner = (0.0, -12.0)
    x = corner[0] + CELL_M * (np.arange(200) + 0.5) - origin[0]
    y = corner[1] + CELL_M * (np.arange(96) + 0.5) - origin[1]
    bearing, distance = np.arctan2(y[:, None], x), np.hypot(y[:, None], x)
    end = np.interp(bearing, BEARINGS_RAD, np.nan_to_num(free), left=0.0, right=0.0)
    cells = np.full((96, 200), UNKNOWN, np.int8)
    cells[distance < end] = FREE
    cells[(distance >= end) & (distance < end + 1.5 * CELL_M) & (end > 0) & (end < LIMIT_M)] = OCCUPIED
    return Grid(cells, CELL_M, corner)


def class_map_of(
    known: Metres, frame_wh: tuple[int, int] = FRAME_WH, mask_wh: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """(h, w) what a perfect network sees of that road."""
    width, height = mask_wh or frame_wh
    ground = _ground_of(known.intrinsics, known.mount.mount, frame_wh, (width, height))
    assert known.lane is not None
    assert known.distance_ahead_m is not None
    x, y = ground.T
    middle = np.polynomial.polynomial.polyval(x, known.lane.coefficients / (1, 1, 2))
    classes = np.full(len(x), BACKGROUND, np.uint8)
    with np.errstate(invalid="ignore"):
        is_road = x < known.distance_ahead_m.value
        classes[is_road & (np.abs(y - middle) < 1.8)] = DIRECT
        classes[is_road & (y - middle < -1.8) & (y - middle > -5.4)] = ALTERNATIVE
    return classes.reshape(height, width)


@cache
def _ground_of(
    intrinsics: Intrinsics, mount: Mount, frame_wh: tuple[int, int], mask_wh: tuple[int, int]
) -> NDArray[np.float64]:
    columns, rows = np.meshgrid(np.arange(mask_wh[0]), np.arange(mask_wh[1]))
    pixels = (np.stack([columns.ravel(), rows.ravel()], 1) + 0.5) * np.array(frame_wh) / mask_wh - 0.5
    return Calibration(intrinsics, mount).ground_of(pixels)


def predicted_road(
    known: Metres | None = None, image_bgr: NDArray[np.uint8] | None = None, **values: Any
) -> Prediction:
    """A prediction with metres."""
    known = known or metres()
    width, height = known.intrinsics.frame_wh
    if image_bgr is None:
        image_bgr = np.full((height, width, 3), 110, np.uint8)
    frame = Frame("cam", 3, 5_000_000, 40, image_bgr, "000003")
    class_map = values.get("class_map")
    if class_map is None:
        scale = min(1.0, 640 / width)
        class_map = class_map_of(known, (width, height), (round(width * scale), round(height * scale)))
    shares = tuple(float((class_map == label).mean()) for label in (DIRECT, ALTERNATIVE, BACKGROUND))
    prediction = Prediction(
        *(frame, class_map, shares, "model"), published_ns=39_000_000, metres=known, provider="cpu"
    )
    return replace(prediction, **values)
