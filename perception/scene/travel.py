"""Pitch by sparse optical flow: the point that the picture moves away from is the one that is driven towards.

The lane's borders alone do not tell pitch where a vehicle hides them, or where a network draws them wrong for
minutes. What stands still moves in the picture by the camera's own rotation, and away from the direction of
travel; both are fitted together to some seventy points (H. C. Longuet-Higgins and K. Prazdny, The
interpretation of a moving retinal image, 1980), and what moves by itself is left out. Travel is parallel to
the road, but for a vehicle that heaves, and a road whose slope changes: an error that stays alike for long,
see `MountFilter`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.scene.calibration import Calibration, Intrinsics, Mount
from perception.scene.metres import Floats, Measured

EVERY_S: Final = 0.5
"""How often two pictures are compared at first; 5 to 10 ms of a core."""
LATER_S: Final = 2.0
SEEN_OFTEN: Final = 60
"""How often, and once how many were: each tells little then beside the error that all of them have alike."""
PAIR_S: Final = (0.09, 0.3)
"""How far apart they are, at least and at most."""
WIDTH_PX: Final = 640
"""Of the pictures that are compared, at most."""
POINTS, LEAST_POINTS = 70, 20
_APART_PX: Final = 8
_QUALITY: Final = 0.01
_WINDOW_WH: Final = (15, 15)
_LEVELS: Final = 3
_RETURN_PX: Final = 0.5
"""A point that is followed there and back ends this near to where it began."""
POINT_SIGMA_PX: Final = 0.4
LEAST_MOVEMENT_PX: Final = 1.0
"""Of the middle one of all points: a vehicle that stands tells nothing."""
LEAST_INLIERS: Final = 0.5
WORST_SIGMA_RAD: Final = math.radians(0.5)
_PRIOR: Final = np.array([0.06, 0.03, 0.003, 0.02, 0.003])
"""Sigmas of the direction of travel, to the right and down, and of the rotations about the axes to the right,
down and ahead, in radians."""
_NEAREST: Final = 0.03
"""A point nearer to the direction of travel moves too little to count as one."""
_ROUNDS, _WIDE_ROUNDS = 8, 3
_WIDE, _NARROW = 6.0, 2.5
"""Residuals in sigmas that weigh a quarter, in the first rounds and in the last ones."""

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Look:
    """The first picture of a pair."""

    luma: Image
    time_ns: int


class TravelWatch:
    """Follows the direction of travel of one camera.

    Args:
        intrinsics: of the frames, at any size.
        mount: the calibration's.
    """

    def __init__(self, intrinsics: Intrinsics, mount: Mount) -> None:
        self._calibration = Calibration(intrinsics, mount)
        self._first: _Look | None = None
        self._due_ns: int | None = None
        self._measured = 0

    def reset(self) -> None:
        """The next frame does not follow the last one."""
        self._first = self._due_ns = None

    def see(
        self,
        picture: Callable[[], Image],
        time_ns: int,
        expected_rad: float,
        ignored: NDArray[np.bool_] | None = None,
    ) -> Measured | None:
        """Pitch beyond the mount's, where one was measured with this frame; in radians, positive down.

        Args:
            picture: gives the frame's (H, W) luma, or (H, W, 3) BGR; called for few frames.
            time_ns: the frame's own time.
            expected_rad: the pitch that is likely.
            ignored: (h, w) pixels in which no road can be seen.
        """
        if self._due_ns is not None and time_ns < self._due_ns:
            return None
        first, passed_s = self._first, 0.0
        if first is not None:
            passed_s = (time_ns - first.time_ns) / 1e9
            if 0 <= passed_s < PAIR_S[0]:
                return None
        luma = _small(picture())
        if first is None or not PAIR_S[0] <= passed_s <= PAIR_S[1] or luma.shape != first.luma.shape:
            self._first = _Look(luma, time_ns)
            return None
        every_s = EVERY_S if self._measured < SEEN_OFTEN else LATER_S
        self._first, self._due_ns = None, first.time_ns + round(every_s * 1e9)
        moved = _followed(first.luma, luma, ignored)
        if moved is None:
            return None
        camera = self._calibration.scaled_to((luma.shape[1], luma.shape[0]))
        before, after = (_tangents(camera, points) for points in moved)
        is_ahead = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
        if np.count_nonzero(is_ahead) < LEAST_POINTS:
            return None
        sigma = POINT_SIGMA_PX / camera.intrinsics.focal_px[1]
        travel = _pitch((before + after)[is_ahead] / 2, (after - before)[is_ahead], sigma, expected_rad)
        self._measured += travel is not None
        return travel


def _small(picture: Image) -> Image:
    """(h, w) luma, not wider than `WIDTH_PX`, and no view of what was given."""
    height, width = picture.shape[:2]
    if width > WIDTH_PX:
        wh = WIDTH_PX, max(1, round(height * WIDTH_PX / width))
        picture = np.asarray(cv2.resize(picture, wh, interpolation=cv2.INTER_AREA), np.uint8)
    elif picture.ndim == 2:
        picture = picture.copy()
    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def _followed(before: Image, after: Image, ignored: NDArray[np.bool_] | None) -> tuple[Floats, Floats] | None:
    """(n, 2) each: where points are in both pictures; None where there are few, or nothing moves."""
    seen = None
    if ignored is not None:
        wh = before.shape[1], before.shape[0]
        seen = cv2.resize((~ignored).view(np.uint8), wh, interpolation=cv2.INTER_NEAREST)
    start = cv2.goodFeaturesToTrack(before, POINTS, _QUALITY, _APART_PX, mask=seen)
    if start is None or len(start) < LEAST_POINTS:
        return None
    end, is_found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, start, np.empty_like(start), winSize=_WINDOW_WH, maxLevel=_LEVELS
    )
    back, is_found_back, _ = cv2.calcOpticalFlowPyrLK(
        after, before, end, np.empty_like(start), winSize=_WINDOW_WH, maxLevel=_LEVELS
    )
    returned = np.hypot(*(back - start)[:, 0].T) < _RETURN_PX
    is_good = (is_found.ravel() > 0) & (is_found_back.ravel() > 0) & returned
    if np.count_nonzero(is_good) < LEAST_POINTS:
        return None
    begin, finish = (np.asarray(points[is_good, 0], np.float64) for points in (start, end))
    if float(np.median(np.hypot(*(finish - begin).T))) < LEAST_MOVEMENT_PX:
        return None
    return begin, finish


def _tangents(camera: Calibration, points_uv: Floats) -> Floats:
    """(n, 2) tangents of the angles to the right of the vehicle's forward axis and below it, by the mount."""
    assert camera.mount is not None
    directions = camera.mount.directions_of(camera.intrinsics.rays_of(points_uv))
    with np.errstate(divide="ignore", invalid="ignore"):
        tangents = -directions[:, 1:] / directions[:, :1]
    tangents[~(directions[:, 0] > 1e-6)] = np.nan
    return np.asarray(tangents, np.float64)


def _pitch(at: Floats, moved: Floats, sigma: float, expected_rad: float) -> Measured | None:
    """The pitch that the movement of points tells; None where it tells none.

    Args:
        at: (n, 2) tangents of the points, in the middle of their movement.
        moved: (n, 2) their movement.
        sigma: of one.
        expected_rad: the pitch that is likely.
    """
    (x, y), (across, down) = at.T, moved.T
    prior = np.array([0.0, -math.tan(expected_rad), 0.0, 0.0, 0.0])
    values, weights = prior, 1 / _PRIOR**2
    rotated = np.stack(
        [np.stack([x * y, -(1 + x * x), y]), np.stack([1 + y * y, -x * y, -x])]
    )  # (2, 3, n) movement by each rotation
    for number in range(_ROUNDS):
        left_across, left_down = np.stack([across, down]) - np.tensordot(values[2:], rotated, ([0], [1]))
        right, below = x - values[0], y - values[1]
        length = np.maximum(np.hypot(right, below), _NEAREST)
        residual = (left_across * below - left_down * right) / length
        slopes = (
            np.stack([left_down, -left_across, *(rotated[1] * right - rotated[0] * below)], axis=1)
            / length[:, None]
        )
        in_sigmas = residual / sigma
        weight = (1 + (in_sigmas / (_WIDE if number < _WIDE_ROUNDS else _NARROW)) ** 2) ** -2 / sigma**2
        weighted = slopes * weight[:, None]
        information = weighted.T @ slopes + np.diag(weights)
        values = values + np.linalg.solve(information, weights * (prior - values) - weighted.T @ residual)
    pitch_sigma = math.sqrt(float(np.linalg.inv(information)[1, 1]))
    inliers = np.count_nonzero(np.abs(in_sigmas) < _NARROW) / len(x)
    if inliers < LEAST_INLIERS or pitch_sigma > WORST_SIGMA_RAD:
        return None
    return Measured(-math.atan(float(values[1])), pitch_sigma)
