"""The ego lane and the camera's pitch from the lane's borders: one robust least-squares fit.

The borders are parallel lines on the road, y = offset + heading · x + curvature / 2 · x² ± width / 2. Seen by
the camera, the lane's width falls to nothing at the horizon, whether or not the road bends: that is where
pitch comes from. arXiv 2008.03722 learns a camera's height and angles in a like manner. Where the road rises
or falls away ahead, the width falls otherwise: the fit has a crest too, held near 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from perception.scene.lane_borders import LEFT, Borders
from perception.scene.metres import Measured
from perception.scene.road_plane import pitched

Floats = NDArray[np.float64]

PITCH, OFFSET, HEADING, CURVATURE, WIDTH, CREST, INSIDE = range(7)
FIT_TO_M: Final = 45.0
EDGE_SIGMA_PX: Final = 1.5
EDGE_SIGMA_M: Final = 0.04
"""Of a border where the network draws it: each pixel, and on the road."""
ALIKE_PX: Final = 8.0
"""Rows of a border that are nearer to each other err alike, as drawn from logits that far apart."""
LEAST_ROWS_A_SIDE: Final = 6
INLIER_SIGMAS: Final = 3.0
MOST_PITCH_RAD: Final = 0.1
MOST_CREST_PER_M: Final = 1e-3
TRUST_WIDTHS: Final = (100.0, 6.0, 3.0, 3.0)
"""In sigmas, round by round: what is farther off counts little (Geman and McClure); at first all may be."""
FIRST_GUESS: Final = np.array([0.0, 0.0, 0.0, 0.0, 3.5, 0.0, 0.0])
PRIOR_SIGMA: Final = np.array([0.0045, 2.0, 0.15, 0.008, 1.2, 1.5e-4, 1.0])
"""What roads and cars are like: pitch and heading in radians, offset and width in metres, and by metre; how
far inside a lane its borders are drawn, in pixels of the class map."""
AS_NETWORKS_DRAW: Final = Measured(1.5, 2.0)
"""Pixels of the class map by which a border is drawn inside the lane: those of rt_m-int8, on the built-in
road, are 0 to 3 px inside up to 20 m ahead. It narrows the far lane, which looks like pitch."""


@dataclass(frozen=True, eq=False)
class LaneFit:
    """What the borders say, in the frame of the camera's foot with the mount's own directions."""

    values: Floats
    """(7,) pitch beyond the mount's, offset, heading and curvature of the centre, width, crest, and how far
    inside the borders are drawn."""
    covariance: Floats
    """(7, 7)"""
    forward_m: Floats
    """(n,) of each point on a border."""
    is_inlier: NDArray[np.bool_]
    """(n,) whether it lies where the fit has the border."""

    def sigma(self, index: int) -> float:
        """Of one of the values."""
        return sqrt(self.covariance[index, index])


def fit_lane(
    borders: Borders,
    height_m: float,
    focal_px: float,
    expected: Floats = FIRST_GUESS,
    expected_sigma: Floats = PRIOR_SIGMA,
    begins: Floats | None = None,
) -> LaneFit | None:
    """The lane between two borders; None where too few rows of either are seen.

    Args:
        borders: of the direct area.
        height_m: of the camera.
        focal_px: of the class map.
        expected: (7,) what is known before, as `LaneFit.values`.
        expected_sigma: (7,) how sure that is.
        begins: (7,) near the solution, as that of the frame before: it takes half the rounds from there.
    """
    is_near = pitched(borders.t, float(expected[PITCH])) > height_m / FIT_TO_M
    seen = _Seen.of(borders.t[is_near], borders.left[is_near], borders.side[is_near], height_m, focal_px)
    if _fewer_of_sides(seen.is_left) < LEAST_ROWS_A_SIDE:
        return None
    share_of_row = seen.shares()
    values = (expected if begins is None else begins).copy()
    prior = 1.0 / expected_sigma**2
    for width in TRUST_WIDTHS if begins is None else TRUST_WIDTHS[1:3]:
        residual, slopes, variance, forward = seen.linearised(values)
        trust = 1.0 + residual * residual / (width * width * variance)
        weighted = slopes * (share_of_row / (trust * trust * variance))
        information = weighted @ slopes.T
        information.flat[:: len(values) + 1] += prior
        step = np.linalg.solve(information, weighted @ residual + prior * (expected - values))
        values += step
        values[PITCH] = min(max(values[PITCH], -MOST_PITCH_RAD), MOST_PITCH_RAD)
        values[CREST] = min(max(values[CREST], -MOST_CREST_PER_M), MOST_CREST_PER_M)
    residual = residual - step @ slopes  # the last step is small
    squares = residual * residual / variance
    is_inlier = squares < INLIER_SIGMAS**2
    if _fewer_of_sides(seen.is_left[is_inlier]) < LEAST_ROWS_A_SIDE:
        return None
    scatter = max(1.0, float(squares[is_inlier].mean()))
    covariance = np.asarray(np.linalg.inv(information) * scatter, np.float64)
    return LaneFit(values, covariance, forward, is_inlier)


def _fewer_of_sides(is_left: NDArray[np.bool_]) -> int:
    """How many of the points are on the border that has fewer."""
    of_left = int(np.count_nonzero(is_left))
    return min(of_left, len(is_left) - of_left)


class _Seen(NamedTuple):
    """Points on both borders, and what does not change from round to round."""

    t: Floats
    left: Floats
    side: Floats
    is_left: NDArray[np.bool_]
    slopes: Floats
    """(7, n) working memory; those of heading and of how far inside borders are drawn are always alike."""
    height_m: float
    focal_px: float

    @classmethod
    def of(cls, t: Floats, left: Floats, side: Floats, height_m: float, focal_px: float) -> Self:
        slopes = np.empty((7, len(t)))
        slopes[HEADING] = 1.0
        slopes[INSIDE] = side / -focal_px
        return cls(t, left, side, side == LEFT, slopes, height_m, focal_px)

    def shares(self) -> Floats:
        """(n,) of each point: a hundred rows of one border are worth no more than the few that err by
        themselves."""
        shares = np.empty(len(self.t))
        for of_side in (self.is_left, ~self.is_left):
            t = self.t[of_side]
            shares[of_side] = min(1.0, max(2.0, float(t.max() - t.min()) * self.focal_px / ALIKE_PX) / len(t))
        return shares

    def linearised(self, values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Residuals (n,) of `left`, their slopes (7, n) against the values with the sign of a prediction, the
        variance of a residual (n,) and the distance ahead (n,)."""
        pitch, offset, heading, curvature, width, crest, inside_px = values.tolist()
        left, side, slopes, height_m = self.left, self.side, self.slopes, self.height_m
        t = np.maximum(pitched(self.t, pitch), 1e-3)
        forward = height_m / np.maximum(t + (crest / 2 * height_m) / t, 1e-3)
        by_distance = 1.0 / forward
        half_forward = forward / 2
        across = (offset + side * (width / 2)) * by_distance
        predicted = across + curvature * half_forward + (heading + inside_px * slopes[INSIDE])
        by_log = (half_forward * curvature - across) * forward  # slope by distance, times its square
        slopes[PITCH] = by_log * (1.0 + t * t) / -height_m - left * t
        slopes[OFFSET] = by_distance
        slopes[CURVATURE] = half_forward
        slopes[WIDTH] = side * by_distance / 2
        slopes[CREST] = by_log * half_forward / -height_m
        variance = (EDGE_SIGMA_PX / self.focal_px) ** 2 + (EDGE_SIGMA_M * by_distance) ** 2
        return left * (1.0 + pitch * t) - predicted, slopes, variance, forward
