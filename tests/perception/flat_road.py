"""Class maps of a flat road, as a calibrated camera sees them: every number of them is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT
from perception.scene.calibration import Calibration, Intrinsics, Mount

Floats = NDArray[np.float64]
Box = tuple[float, float, float, float]
"""x and y where it begins, x and y where it ends, in metres."""

WH = (640, 360)
FOCAL_PX = 600.0


def camera(
    mount: Mount | None = None, *, wh: tuple[int, int] = WH, distortion: Sequence[float] = (0, 0, 0, 0, 0)
) -> Calibration:
    """A camera whose principal point is the middle."""
    focal = FOCAL_PX * wh[0] / WH[0]
    matrix = np.array([[focal, 0, (wh[0] - 1) / 2], [0, focal, (wh[1] - 1) / 2], [0, 0, 1.0]])
    intrinsics = Intrinsics(wh, matrix, "plumb_bob", np.array(distortion, np.float64))
    return Calibration(intrinsics, mount or Mount(1.4))


def line(offset_m: float, heading_rad: float, curvature_per_m: float, x: Floats) -> Floats:
    """y of a lane's middle."""
    return offset_m + heading_rad * x + curvature_per_m / 2 * x * x


def class_map(
    calibration: Calibration,
    *,
    mount: Mount | None = None,
    offset_m: float = 0.0,
    heading_rad: float = 0.0,
    curvature_per_m: float = 0.0,
    width_m: float = 3.6,
    to_m: float = 70.0,
    left_lane: bool = False,
    right_lane: bool = False,
    boxes: Sequence[Box] = (),
) -> NDArray[np.uint8]:
    """(h, w) the ego lane, lanes beside it, and boxes on the ground that hide nothing.

    Args:
        mount: what the camera's is in this frame, if not what the calibration says.
    """
    width, height = calibration.intrinsics.frame_wh
    mount = mount or calibration.mount
    v, u = np.mgrid[0:height, 0:width]
    points = np.column_stack([u.ravel(), v.ravel()]).astype(np.float64)
    ground = calibration.ground_of(points, mount).reshape(height, width, 2)
    x, y = ground[..., 0], ground[..., 1]
    with np.errstate(invalid="ignore"):
        across = y - line(offset_m, heading_rad, curvature_per_m, x)
        on_road = (x > 0) & (x < to_m)
        classes = np.full((height, width), BACKGROUND, np.uint8)
        classes[on_road & (np.abs(across) < width_m / 2)] = DIRECT
        if left_lane:
            classes[on_road & (np.abs(across - width_m) < width_m / 2)] = ALTERNATIVE
        if right_lane:
            classes[on_road & (np.abs(across + width_m) < width_m / 2)] = ALTERNATIVE
        for x0, y0, x1, y1 in boxes:
            classes[(x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)] = BACKGROUND
    return classes
