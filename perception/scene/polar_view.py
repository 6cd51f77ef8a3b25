"""The class map seen from above, by bearing and distance: a table made once, moved with the pitch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.scene.calibration import Calibration, CalibrationError, Intrinsics, Mount

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

BEARING_STEP_RAD: Final = math.radians(0.5)
WIDEST_RAD: Final = math.radians(75)
MOST_RANGES: Final = 200
TURN_RAD: Final = 0.01
OUTSIDE: Final = 255
"""Class of what lies outside the picture."""


@dataclass(frozen=True, eq=False)
class PolarView:
    """Where in the class map the ground is seen, by bearing and distance ahead, for one mount."""

    bearing_rad: Floats
    """(n,) ascending in equal steps, by that mount."""
    t: Floats
    """(m,) descending: height over distance ahead, about one row of the class map apart."""
    u: Singles
    """(n, m) column of the class map."""
    v: Singles
    """(n, m) row of the class map."""
    u_by_pitch: Singles
    """(n, m) columns a radian of pitch."""
    v_by_pitch: Singles
    """(n, m) rows a radian of pitch."""

    @classmethod
    def of(cls, intrinsics: Intrinsics, mount: Mount, nearest_t: float, farthest_t: float) -> PolarView:
        """The ground between two values of t within the picture's field of view.

        Args:
            intrinsics: of the class map.
            mount: the calibration's.
            nearest_t: of the ground that the lowest row sees.
            farthest_t: of the farthest distance of use.
        """
        calibration = Calibration(intrinsics, mount)
        width, height = intrinsics.frame_wh
        corners = [(0, height - 1), (width - 1, height - 1), (0, height / 2), (width - 1, height / 2)]
        rays = intrinsics.rays_of(np.array(corners, np.float64))
        directions = mount.directions_of(rays)
        with np.errstate(invalid="ignore"):
            bearings = np.arctan2(directions[:, 1], directions[:, 0])
        if not np.isfinite(bearings).any():
            bearings = np.array([-WIDEST_RAD, WIDEST_RAD])
        low = max(float(np.nanmin(bearings)), -WIDEST_RAD)
        high = min(float(np.nanmax(bearings)), WIDEST_RAD)
        first, last = math.floor(low / BEARING_STEP_RAD), math.ceil(high / BEARING_STEP_RAD)
        bearing = np.asarray(np.arange(first, last + 1) * BEARING_STEP_RAD, np.float64)
        count = round((nearest_t - farthest_t) * intrinsics.focal_px[1])
        t = np.linspace(nearest_t, farthest_t, min(max(count, 16), MOST_RANGES), dtype=np.float64)
        forward = (mount.height_m / t)[None]
        ground = np.stack(np.broadcast_arrays(forward, forward * np.tan(bearing)[:, None]), axis=-1)
        ground = ground.reshape(-1, 2) + mount.position_m[:2]
        shape = len(bearing), len(t)
        here = calibration.image_of(ground).reshape(*shape, 2)
        turned = replace(mount, pitch_rad=mount.pitch_rad + TURN_RAD)
        there = calibration.image_of(ground, turned).reshape(*shape, 2)
        slope = np.nan_to_num((there - here) / TURN_RAD)
        here = np.nan_to_num(here, nan=-1e4)
        u, v, du, dv = (
            np.ascontiguousarray(it, np.float32)
            for it in (here[..., 0], here[..., 1], slope[..., 0], slope[..., 1])
        )
        return cls(bearing, t, u, v, du, dv)

    def sampled(self, class_map: NDArray[np.uint8], pitch_rad: float) -> NDArray[np.uint8]:
        """(n, m) class by bearing and distance, `OUTSIDE` beyond the picture.

        Args:
            class_map: (h, w) at the size of the intrinsics.
            pitch_rad: of this frame, beyond the mount's.
        """
        u = cv2.scaleAdd(self.u_by_pitch, pitch_rad, self.u)
        v = cv2.scaleAdd(self.v_by_pitch, pitch_rad, self.v)
        seen = cv2.remap(
            class_map, u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(OUTSIDE,)
        )
        return np.asarray(seen, np.uint8)


def t_limits(intrinsics: Intrinsics, mount: Mount, farthest_m: float) -> tuple[float, float]:
    """t of the ground in the lowest row, and of `farthest_m` ahead.

    Raises:
        CalibrationError: if the camera sees no ground nearer than that.
    """
    width, height = intrinsics.frame_wh
    lowest = np.column_stack([np.linspace(0, width - 1, 9), np.full(9, height - 1.0)])
    rays = intrinsics.rays_of(lowest)
    directions = mount.directions_of(rays)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(directions[:, 0] > 1e-6, -directions[:, 2] / directions[:, 0], np.nan)
    nearest = float(np.nanmax(t)) if np.isfinite(t).any() else math.inf
    farthest = mount.height_m / farthest_m
    if not farthest < nearest:
        raise CalibrationError(
            f"with a pitch of {math.degrees(mount.pitch_rad):.3g}° at {mount.height_m:g} m this camera sees "
            f"no road within {farthest_m:g} m; check its mount"
        )
    return min(nearest, 3.0), farthest
