"""What is known in metres, as records have it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.scene.metres import FreeSpace, Measured, Metres, MountEstimate

_LENGTH_DIGITS, _ANGLE_DIGITS, _CURVATURE_DIGITS = 2, 5, 6


def metres_record(metres: Metres) -> dict[str, Any]:
    """Ready for JSON: all but the grid, which is the free space once more, in cells."""
    return {
        "distance_ahead_m": _measured(metres.distance_ahead_m, _LENGTH_DIGITS),
        "is_ahead_open": bool(metres.is_ahead_open),
        "lateral_offset_m": _measured(metres.lateral_offset_m, _LENGTH_DIGITS + 1),
        "lane_width_m": _measured(metres.lane_width_m, _LENGTH_DIGITS + 1),
        "heading_error_rad": _measured(metres.heading_error_rad, _ANGLE_DIGITS),
        "curvature_per_m": _measured(metres.curvature_per_m, _CURVATURE_DIGITS),
        "valid_to_m": None if metres.valid_to_m is None else round(float(metres.valid_to_m), _LENGTH_DIGITS),
        "limit_m": round(float(metres.limit_m), _LENGTH_DIGITS),
        "centreline": _points(metres.centreline),
        "ego_lane": _points(metres.ego_lane),
        "left_alternative": _points(metres.left_alternative),
        "right_alternative": _points(metres.right_alternative),
        "free_space": _free_space(metres.free_space),
        "mount": _mount(metres.mount),
    }


def _measured(measured: Measured | None, digits: int) -> dict[str, float] | None:
    if measured is None:
        return None
    return {"value": round(float(measured.value), digits), "sigma": round(float(measured.sigma), digits)}


def _points(points: NDArray[np.float64] | None) -> list[list[float]] | None:
    if points is None:
        return None
    rounded: list[list[float]] = points.round(_LENGTH_DIGITS).tolist()
    return rounded


def _free_space(profile: FreeSpace) -> dict[str, Any]:
    return {
        "origin_m": [round(float(value), _LENGTH_DIGITS) for value in profile.origin_m],
        "first_bearing_rad": round(float(profile.bearing_rad[0]), _ANGLE_DIGITS),
        "bearing_step_rad": round(float(profile.bearing_rad[1] - profile.bearing_rad[0]), _ANGLE_DIGITS + 2),
        "distance_m": _numbers(profile.distance_m),
        "sigma_m": _numbers(profile.sigma_m),
        "is_end_seen": profile.is_end_seen.tolist(),
    }


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    """NaN is null."""
    return [value if value == value else None for value in values.round(_LENGTH_DIGITS).tolist()]


def _mount(estimate: MountEstimate) -> dict[str, Any]:
    mount = estimate.mount
    return {
        "height_m": _measured(Measured(mount.height_m, estimate.height_sigma_m), _LENGTH_DIGITS + 1),
        "pitch_rad": _measured(Measured(mount.pitch_rad, estimate.pitch_sigma_rad), _ANGLE_DIGITS),
        "yaw_rad": _measured(Measured(mount.yaw_rad, estimate.yaw_sigma_rad), _ANGLE_DIGITS),
        "roll_rad": _measured(Measured(mount.roll_rad, estimate.roll_sigma_rad), _ANGLE_DIGITS),
        "is_followed": bool(estimate.is_followed),
    }
