"""The camera's mount from the direction of a straight, level road, and a height or the width of a lane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.calibrate.config import MountConfig
from perception.calibrate.road_lines import BY_HAND, Road, RoadLine, road_in, road_of
from perception.scene.calibration import Calibration, CalibrationError, Floats, Intrinsics, Mount

HEIGHTS_M: Final = (0.8, 4.0)
"""Of cameras on vehicles, for heights that follow from a lane's width."""
_MARKS_M: Final = (5, 10, 15, 20, 30, 40, 60)
_LINE_BGR, _BORDER_BGR, _MARK_BGR, _HORIZON_BGR = (255, 200, 0), (80, 220, 80), (255, 255, 255), (60, 90, 255)


@dataclass(frozen=True, eq=False)
class RoadMount:
    """A mount, and what it was taken from."""

    mount: Mount
    road: Road
    pitch_sigma_rad: float
    yaw_sigma_rad: float
    lane_width_m: float | None
    """Of the lane between the nearest markings; None where there is none on a side."""
    offset_left_m: float | None
    """Of the camera from the middle of that lane."""


def mount_from_road(image_bgr: NDArray[np.uint8], intrinsics: Intrinsics, config: MountConfig) -> RoadMount:
    """Pitch and yaw from the direction of the road; the height as given, or from the lane's width.

    Args:
        image_bgr: (H, W, 3) of the size of `intrinsics`.

    Raises:
        CalibrationError: if the road is not seen, or not straight.
    """
    if config.left_line is not None and config.right_line is not None:
        left, right = (np.reshape(points, (2, 2)) for points in (config.left_line, config.right_line))
        road = road_of(left, right, intrinsics)
    else:
        road = road_in(image_bgr, intrinsics)
    pitch_rad, yaw_rad = angles_of(road.meets, math.radians(config.roll_deg))
    mount = config.mount_of(config.height_m or 1.0, pitch_rad, yaw_rad)
    if config.height_m is None:
        per_height = _lane_of(road.borders, Calibration(intrinsics, mount))[0]
        height_m = float(config.lane_width_m or 0) / per_height
        if not HEIGHTS_M[0] <= height_m <= HEIGHTS_M[1]:
            raise CalibrationError(
                f"with these markings the camera would be {height_m:.2f} m above the ground: they are not "
                f"those of one lane; take another picture, {BY_HAND}"
            )
        mount = config.mount_of(height_m, pitch_rad, yaw_rad)
    lane_width_m = offset_left_m = None
    if road.lines[0].slope < 0 <= road.lines[-1].slope:
        lane_width_m, offset_left_m = _lane_of(road.borders, Calibration(intrinsics, mount))
    yaw_sigma_rad, pitch_sigma_rad = np.sqrt(np.diag(road.covariance))
    return RoadMount(mount, road, float(pitch_sigma_rad), float(yaw_sigma_rad), lane_width_m, offset_left_m)


def angles_of(meets: Floats, roll_rad: float) -> tuple[float, float]:
    """Pitch and yaw of a camera with that roll, that sees forward at a ray (2,) at depth 1."""
    ahead, left, up = 1.0, -float(meets[0]), -float(meets[1])
    left, up = (
        left * math.cos(roll_rad) - up * math.sin(roll_rad),
        left * math.sin(roll_rad) + up * math.cos(roll_rad),
    )
    pitch_rad = math.atan2(up, ahead)
    return pitch_rad, -math.atan2(left, math.hypot(ahead, up))


def _lane_of(borders: tuple[RoadLine, RoadLine], calibration: Calibration) -> tuple[float, float]:
    """Width of the lane in metres, and how far the camera is to the left of its middle."""
    mount = calibration.mount
    assert mount is not None
    lefts = []
    for line in borders:
        y = np.linspace(float(line.rays[:, 1].min()), float(line.rays[:, 1].max()), 50)
        pixels = calibration.intrinsics.project(
            np.column_stack([line.at + line.slope * y, y, np.ones_like(y)])
        )
        ground = calibration.ground_of(pixels)
        lefts.append(float(np.nanmedian(ground[:, 1])))
    width_m = lefts[0] - lefts[1]
    return width_m, mount.left_m - (lefts[0] + lefts[1]) / 2


def picture_of(image_bgr: NDArray[np.uint8], found: RoadMount, intrinsics: Intrinsics) -> NDArray[np.uint8]:
    """(H, W, 3) BGR with the lines, the horizon, and lines across at some distances from the camera."""
    picture = image_bgr.copy()
    calibration = Calibration(intrinsics, found.mount)
    thick = max(1, picture.shape[1] // 640)
    borders = found.road.borders if found.lane_width_m is not None else ()
    for line in found.road.lines:
        y = np.linspace(float(line.rays[:, 1].min()), float(line.rays[:, 1].max()), 60)
        rays = np.column_stack([line.at + line.slope * y, y, np.ones_like(y)])
        colour = _BORDER_BGR if any(line is border for border in borders) else _LINE_BGR
        _draw(picture, intrinsics.project(rays), colour, thick)
    across_m = np.linspace(-2.5, 2.5, 30)
    for ahead_m in _MARKS_M:
        ground = np.column_stack([np.full_like(across_m, ahead_m), across_m]) + found.mount.position_m[:2]
        pixels = calibration.image_of(ground)
        _draw(picture, pixels, _MARK_BGR, thick)
        if np.isfinite(pixels[0]).all():
            at = round(float(pixels[0, 0])) + 4 * thick, round(float(pixels[0, 1]))
            scale = 0.4 * thick
            cv2.putText(
                picture, f"{ahead_m} m", at, cv2.FONT_HERSHEY_SIMPLEX, scale, _MARK_BGR, thick, cv2.LINE_AA
            )
    far = np.column_stack([np.full(60, 1e5), np.linspace(-1e5, 1e5, 60)])
    _draw(picture, calibration.image_of(far), _HORIZON_BGR, thick)
    return picture


def _draw(picture: NDArray[np.uint8], pixels: Floats, colour: tuple[int, int, int], thick: int) -> None:
    """A line through what the camera sees of it."""
    seen = pixels[np.isfinite(pixels).all(axis=1)]
    limit = 4 * max(picture.shape[:2])
    seen = seen[(np.abs(seen) < limit).all(axis=1)]
    if len(seen) > 1:
        cv2.polylines(picture, [np.rint(seen * 16).astype(np.int32)], False, colour, thick, cv2.LINE_AA, 4)
