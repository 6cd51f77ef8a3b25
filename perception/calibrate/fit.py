"""A camera's intrinsics from views of a board, how sure they are, and which views do not fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from perception.calibrate.config import FEWEST_VIEWS, Lens
from perception.calibrate.views import View
from perception.scene.calibration import (
    DISTORTION_SIZES,
    CalibrationError,
    DistortionModel,
    Floats,
    Intrinsics,
)

Fitted = tuple[MatLike, MatLike, Sequence[MatLike], Sequence[MatLike]]
"""Camera matrix, distortion, and for each view Rodrigues vector and shift, as OpenCV gives them."""

MODELS: Final[dict[Lens, DistortionModel]] = {
    "pinhole": "plumb_bob",
    "wide": "rational_polynomial",
    "fisheye": "equidistant",
}
OUTLIER: Final = 4.0
"""A view whose rms is so many times the median of all views' is left out, the worst first."""
OUTLIER_PX: Final = 0.5
"""And it has to be above this."""
MOST_OUTLIERS: Final = 0.2
"""Share of the views that may be left out; with more, something else is wrong."""
WORST_SIGMA: Final = 0.02
"""Of the focal length, as a share of it: views that are all alike do not tell it."""
_UNTIL: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
_FISHEYE_FLAGS: Final = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_RECOMPUTE_EXTRINSIC | cv2.CALIB_FIX_SKEW
_FISHEYE_ANGLES_DEG: Final = (180.0, 120.0, 90.0, 220.0)
"""Of view, across, that a fit may begin with."""


@dataclass(frozen=True, eq=False)
class FittedView:
    """A view, and how it fits."""

    view: View
    turn: Floats
    """(3,) Rodrigues vector, camera from board."""
    shift: Floats
    """(3,) in the board's unit."""
    residuals_px: Floats
    """(n, 2) seen minus expected."""

    @property
    def rms_px(self) -> float:
        """Root mean square distance."""
        return _rms_px(self.residuals_px)

    @property
    def tilt_deg(self) -> float:
        """Between the board and the picture's plane."""
        rotation = np.asarray(cv2.Rodrigues(self.turn)[0], np.float64)
        return math.degrees(math.acos(min(1.0, abs(float(rotation[2, 2])))))


@dataclass(frozen=True, eq=False)
class Fit:
    """Intrinsics from views."""

    intrinsics: Intrinsics
    views: Sequence[FittedView]
    dropped: Sequence[FittedView]
    """Views that were left out, as they fitted then."""
    covariance: Floats
    """(4, 4) of fx, fy, cx, cy in px², if every corner's error is its own."""

    @property
    def rms_px(self) -> float:
        """Root mean square distance of all corners."""
        return _rms_px(np.concatenate([view.residuals_px for view in self.views]))

    @property
    def sigma_px(self) -> Floats:
        """(4,) of fx, fy, cx, cy."""
        return np.asarray(np.sqrt(np.diag(self.covariance)), np.float64)


def fit(views: Sequence[View], frame_wh: tuple[int, int], lens: Lens) -> Fit:
    """Fit the intrinsics to views; those that fit far worse than the others are left out.

    Raises:
        CalibrationError: if nothing fits, or the views do not determine the focal length.
    """
    kept = list(views)
    dropped: list[FittedView] = []
    most = int(MOST_OUTLIERS * len(views))
    while True:
        fitted = _fit_once(kept, frame_wh, lens)
        by_rms = sorted(fitted.views, key=lambda each: each.rms_px)
        limit_px = max(OUTLIER_PX, OUTLIER * by_rms[len(by_rms) // 2].rms_px)
        worst = by_rms[-1]
        if worst.rms_px <= limit_px or len(dropped) == most or len(kept) <= FEWEST_VIEWS:
            break
        dropped.append(worst)
        kept.remove(worst.view)
    share = float(max(fitted.sigma_px[:2] / fitted.intrinsics.focal_px))
    if not share <= WORST_SIGMA:
        raise CalibrationError(
            f"the views leave the focal length open (sigma {share:.1%} of it): tilt the board by 20 to 45 "
            f"degrees, to the left, to the right, up and down"
        )
    return replace(fitted, dropped=dropped)


def _fit_once(views: Sequence[View], frame_wh: tuple[int, int], lens: Lens) -> Fit:
    board = [view.corners.board_m for view in views]
    image = [view.corners.image_uv for view in views]
    try:
        if lens == "fisheye":
            found = _fisheye(board, image, frame_wh)
        else:
            flags = cv2.CALIB_RATIONAL_MODEL if lens == "wide" else 0
            found = cv2.calibrateCamera(board, image, frame_wh, None, None, flags=flags, criteria=_UNTIL)[1:]
    except cv2.error as error:
        raise CalibrationError(f"no camera fits these views: {error.err or error}") from None
    matrix, distortion, turns, shifts = found
    size = max(DISTORTION_SIZES[MODELS[lens]])
    intrinsics = Intrinsics(
        *(frame_wh, np.asarray(matrix, np.float64), MODELS[lens]),
        np.asarray(distortion, np.float64).ravel()[:size],
    )
    return _judged(intrinsics, views, turns, shifts)


def _fisheye(
    board: Sequence[NDArray[np.float32]], image: Sequence[NDArray[np.float32]], frame_wh: tuple[int, int]
) -> Fitted:
    """The best of the fits from several beginnings; raises cv2.error if there is none."""
    points = [each.astype(np.float64)[None] for each in board]
    seen = [each.astype(np.float64)[None] for each in image]
    best: tuple[float, Fitted] | None = None
    problem: cv2.error | None = None
    for angle_deg in _FISHEYE_ANGLES_DEG:
        focal_px = frame_wh[0] / math.radians(angle_deg)
        centre = (frame_wh[0] - 1) / 2, (frame_wh[1] - 1) / 2
        guess = np.array([[focal_px, 0, centre[0]], [0, focal_px, centre[1]], [0, 0, 1.0]])
        try:
            rms, matrix, distortion, turns, shifts = cv2.fisheye.calibrate(
                points, seen, frame_wh, guess, np.zeros((4, 1)), flags=_FISHEYE_FLAGS, criteria=_UNTIL
            )
        except cv2.error as error:
            problem = error
            continue
        if math.isfinite(rms) and (best is None or rms < best[0]):
            best = rms, (matrix, distortion, turns, shifts)
    if best is None:
        raise problem or cv2.error("it does not converge")
    return best[1]


def _judged(
    intrinsics: Intrinsics, views: Sequence[View], turns: Sequence[MatLike], shifts: Sequence[MatLike]
) -> Fit:
    """With residuals, and the covariance from the Jacobian (Gauss and Markov), poses eliminated."""
    fitted = []
    size = 4 + intrinsics.distortion.size
    normal = np.zeros((size, size))
    square_sum, count = 0.0, 0
    for view, *pose in zip(views, turns, shifts, strict=True):
        turn, shift = (np.asarray(each, np.float64).ravel() for each in pose)
        seen, of_camera, of_pose = _expected(intrinsics, view, turn, shift)
        residuals = view.corners.image_uv - seen
        fitted.append(FittedView(view, turn, shift, residuals))
        square_sum += float((residuals**2).sum())
        count += residuals.size
        across = of_camera.T @ of_pose
        normal += of_camera.T @ of_camera - across @ np.linalg.pinv(of_pose.T @ of_pose) @ across.T
    variance = square_sum / max(1, count - size - 6 * len(views))
    covariance = np.linalg.pinv(normal, hermitian=True)[:4, :4] * variance
    return Fit(intrinsics, fitted, [], np.asarray(covariance, np.float64))


def _expected(
    intrinsics: Intrinsics, view: View, turn: Floats, shift: Floats
) -> tuple[Floats, Floats, Floats]:
    """(n, 2) pixels; (2n, 4 + k) their derivatives by fx, fy, cx, cy and distortion, (2n, 6) by the pose."""
    points = view.corners.board_m.astype(np.float64)[:, None]
    matrix, distortion = intrinsics.camera_matrix, intrinsics.distortion
    if intrinsics.distortion_model == "equidistant":
        pixels, jacobian = cv2.fisheye.projectPoints(points, turn, shift, matrix, distortion)
        of_camera, of_pose = jacobian[:, :8], jacobian[:, 8:14]
    else:
        pixels, jacobian = cv2.projectPoints(points, turn, shift, matrix, distortion)
        of_camera, of_pose = jacobian[:, 6 : 10 + distortion.size], jacobian[:, :6]
    return (
        np.asarray(pixels, np.float64).reshape(-1, 2),
        np.asarray(of_camera, np.float64),
        np.asarray(of_pose, np.float64),
    )


def _rms_px(residuals_px: Floats) -> float:
    return float(np.sqrt((residuals_px**2).sum(axis=1).mean()))
