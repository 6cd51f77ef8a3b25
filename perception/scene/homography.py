"""A homography from pixels to the ground, as VisionPilot's H.yaml has one, taken apart into camera and mount.

Eight numbers say less than a camera has: pixels are taken to be square, the lens to be without distortion,
and the axis to go through the middle of the picture where such a camera fits. Of a matrix that was fitted to
data it goes where the ground asks for it: what a pixel sees on the ground is as the matrix says in any case.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from perception.scene.calibration import (
    Calibration,
    CalibrationError,
    Floats,
    Intrinsics,
    Mount,
    NoPictureSizeError,
)
from perception.scene.yaml_values import Group, matrix_in

FARTHEST_M: Final = 60.0
"""Of the ground that the camera is fitted to."""
WORST_RMS_SHARE: Final = 0.0005
"""Of the picture's width: what the fit may miss its pixels by."""
_UNTIL: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 300, 1e-12)
_GRID_WH: Final = (9, 7)
_NAME: Final = "H"
_FIXED: Final = (
    cv2.CALIB_USE_INTRINSIC_GUESS
    | cv2.CALIB_FIX_ASPECT_RATIO
    | cv2.CALIB_ZERO_TANGENT_DIST
    | cv2.CALIB_FIX_K1
    | cv2.CALIB_FIX_K2
    | cv2.CALIB_FIX_K3
)


def is_homography(group: Group) -> bool:
    """Whether a file with these names is one."""
    return _NAME in group


def calibration_of_homography(group: Group, frame_wh: tuple[int, int] | None) -> Calibration:
    """The camera that sees the ground so.

    Its ground is in metres, x forward and y to the left, or to the right: which, the matrix itself shows.

    Args:
        frame_wh: of the pictures, which the file does not say.

    Raises:
        CalibrationError: if the matrix is none of a camera over ground, in pictures of that size; or if there
            is no `frame_wh`.
    """
    matrix = _regular(matrix_in(group, _NAME, (3, 3)))
    if frame_wh is None:
        raise NoPictureSizeError
    ground_from_image = _facing(matrix, frame_wh)
    pixels = _ground_pixels(ground_from_image, frame_wh)
    ground = _mapped(ground_from_image, pixels)
    centre = (np.array(frame_wh, np.float64) - 1) / 2
    focal_px = _focal_px(np.asarray(np.linalg.inv(ground_from_image), np.float64), centre)
    guess = np.array([[focal_px, 0, centre[0]], [0, focal_px, centre[1]], [0, 0, 1]])
    points = np.column_stack([ground, np.zeros(len(ground))]).astype(np.float32)
    limit_px = WORST_RMS_SHARE * frame_wh[0]
    for flags in (_FIXED | cv2.CALIB_FIX_PRINCIPAL_POINT, _FIXED):
        try:
            rms_px, fitted, _, turns, shifts = cv2.calibrateCamera(
                *([points], [pixels.astype(np.float32)], frame_wh, guess, np.zeros(5)),
                flags=flags,
                criteria=_UNTIL,
            )
        except cv2.error:
            raise CalibrationError("H is not that of a camera: no focal length fits it") from None
        if rms_px <= limit_px:
            break
    else:
        raise CalibrationError(
            f"H is not that of a camera: the nearest one misses it by {rms_px:.1f} px in {frame_wh[0]}x"
            f"{frame_wh[1]} pictures; are they of another size?"
        )
    camera_from_ground = np.asarray(cv2.Rodrigues(turns[0])[0], np.float64)
    position = -camera_from_ground.T @ np.asarray(shifts[0], np.float64).ravel()
    return Calibration(
        Intrinsics(frame_wh, np.asarray(fitted, np.float64)), Mount.of_pose(camera_from_ground.T, position)
    )


def _regular(matrix: Floats) -> Floats:
    """The matrix, if it is one; raises CalibrationError."""
    if not np.isfinite(matrix).all():
        raise CalibrationError("H is not finite")
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    if not largest.all() or abs(float(np.linalg.det(matrix / largest))) < 1e-12:
        raise CalibrationError("H is singular: it maps the picture to a line")
    return matrix


def _facing(matrix: Floats, frame_wh: tuple[int, int]) -> Floats:
    """The homography with y to the left, and a positive scale for what lies below the horizon."""
    width, height = frame_wh
    below = np.array([(width - 1) / 2, height - 1, 1.0])
    if (depth := matrix[2] @ below) == 0:
        raise CalibrationError("H has its horizon at the lower edge of the picture")
    matrix = matrix * math.copysign(1, depth)
    corners = _mapped(matrix, np.array([[0, height - 1], [width - 1, height - 1]], np.float64))
    if corners[0, 1] < corners[1, 1]:  # y grows to the right
        matrix = np.diag([1.0, -1.0, 1.0]) @ matrix
    return np.asarray(matrix, np.float64)


def _ground_pixels(matrix: Floats, frame_wh: tuple[int, int]) -> Floats:
    """(n, 2) pixels that look at near ground, in rows."""
    width, height = frame_wh
    rows = np.linspace(height - 1, 0, 200)
    middle = np.column_stack([np.full_like(rows, (width - 1) / 2), rows])
    depths = np.column_stack([middle, np.ones_like(rows)]) @ matrix[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        ahead_m = _mapped(matrix, middle)[:, 0]
    is_near = (depths > 0) & (ahead_m > 0) & (ahead_m < FARTHEST_M)
    near = rows[: int(np.argmin(is_near))] if not is_near.all() else rows
    if len(near) < 3 or not (np.diff(ahead_m[: len(near)]) > 0).all():
        raise CalibrationError(
            f"H gives no ground ahead in the lower part of {width}x{height} pictures: x forward in metres is "
            f"wanted, and pictures of the size that it was made for"
        )
    u, v = np.meshgrid(np.linspace(0, width - 1, _GRID_WH[0]), np.linspace(near[0], near[-1], _GRID_WH[1]))
    pixels = np.column_stack([u.ravel(), v.ravel()])
    return np.asarray(pixels[np.column_stack([pixels, np.ones(len(pixels))]) @ matrix[2] > 0], np.float64)


def _focal_px(image_from_ground: Floats, centre: Floats) -> float:
    """Of the camera: forward and left are directions of equal length in it (Zhang 2000)."""
    (x1, x2, _), (y1, y2, _), (z1, z2, _) = image_from_ground
    across = (x2 - centre[0] * z2) ** 2 + (y2 - centre[1] * z2) ** 2
    along = (x1 - centre[0] * z1) ** 2 + (y1 - centre[1] * z1) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        square = (across - along) / (z1**2 - z2**2)
    if not (math.isfinite(square) and square > 0):
        raise CalibrationError("H is not that of a camera: forward and sideways do not have the same scale")
    return math.sqrt(square)


def _mapped(matrix: Floats, points: Floats) -> Floats:
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:], np.float64)
