"""The ego lane and the camera's pitch from the lane's borders: one robust least-squares fit.

The borders are parallel lines on the road, y = offset + heading · x + curvature / 2 · x² ± width / 2. Seen by
the camera, the lane's width falls to nothing at the horizon, whether or not the road bends: that is where
pitch comes from. arXiv 2008.03722 learns a camera's height and angles in a like manner. Where the road rises
or falls away ahead, the width falls otherwise: the fit has a crest too, held near 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.scene.lane_borders import LEFT, RIGHT, Borders
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
        return float(np.sqrt(self.covariance[index, index]))


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
    t0, left, side = borders.t, borders.left, borders.side
    is_near = pitched(t0, float(expected[PITCH])) > height_m / FIT_TO_M
    t0, left, side = t0[is_near], left[is_near], side[is_near]
    counts = [np.count_nonzero(side == which) for which in (LEFT, RIGHT)]
    if min(counts) < LEAST_ROWS_A_SIDE:
        return None
    # a hundred rows of one border are worth no more than the few that err by themselves
    own = [max(2.0, np.ptp(t0[side == which]) * focal_px / ALIKE_PX) for which in (LEFT, RIGHT)]
    share_of_row = np.where(
        side == LEFT, *(min(1.0, few / count) for few, count in zip(own, counts, strict=True))
    )
    values = (expected if begins is None else begins).copy()
    prior = 1.0 / expected_sigma**2
    for width in TRUST_WIDTHS if begins is None else TRUST_WIDTHS[1:3]:
        residual, jacobian, forward = _linearised(values, t0, left, side, height_m, focal_px)
        sigma = np.hypot(EDGE_SIGMA_PX / focal_px, EDGE_SIGMA_M / forward)
        normed = residual / sigma
        trust = 1.0 / (1.0 + (normed / width) ** 2) ** 2
        weighted = jacobian * (share_of_row * trust / sigma**2)[:, None]
        information = weighted.T @ jacobian
        information[np.diag_indices(7)] += prior
        pull = weighted.T @ residual + prior * (expected - values)
        values = values + np.linalg.solve(information, pull)
        values[PITCH] = np.clip(values[PITCH], -0.1, 0.1)
        values[CREST] = np.clip(values[CREST], -1e-3, 1e-3)
    residual, _, forward = _linearised(values, t0, left, side, height_m, focal_px)
    normed = residual / np.hypot(EDGE_SIGMA_PX / focal_px, EDGE_SIGMA_M / forward)
    is_inlier = np.abs(normed) < 3.0
    inliers = [np.count_nonzero(is_inlier[side == which]) for which in (LEFT, RIGHT)]
    if min(inliers) < LEAST_ROWS_A_SIDE:
        return None
    scatter = max(1.0, float(np.mean(normed[is_inlier] ** 2)))
    covariance = np.linalg.inv(information) * scatter
    return LaneFit(values, covariance, forward, is_inlier)


def _linearised(
    values: Floats, t0: Floats, left: Floats, side: Floats, height_m: float, focal_px: float
) -> tuple[Floats, Floats, Floats]:
    """Residuals (n,) of `left`, their slopes (n, 7) against the values with the sign of a prediction, and
    the distance ahead (n,)."""
    pitch, offset, heading, curvature, width, crest, inside_px = values
    t = np.maximum(pitched(t0, pitch), 1e-3)
    flat = height_m / t
    forward = height_m / np.maximum(t + crest * flat / 2, 1e-3)
    across = offset + side * (width / 2)
    predicted = across / forward + heading + curvature / 2 * forward - side * (inside_px / focal_px)
    by_forward = -across / forward**2 + curvature / 2
    jacobian = np.empty((len(t), 7))
    jacobian[:, PITCH] = by_forward * -(forward**2) / height_m * (1 + t * t) - left * t
    jacobian[:, OFFSET] = 1 / forward
    jacobian[:, HEADING] = 1.0
    jacobian[:, CURVATURE] = forward / 2
    jacobian[:, WIDTH] = side / (2 * forward)
    jacobian[:, CREST] = by_forward * -(forward**3) / (2 * height_m)
    jacobian[:, INSIDE] = side / -focal_px
    return left * (1 + pitch * t) - predicted, jacobian, forward
