"""From the angle below the horizon to the distance on the road, and how sure that is.

A point of the ground is `height / t` ahead, where t is the tangent of its angle below the vehicle's forward
axis. A road whose slope changes by `crest_per_m` rises by half of that times the distance squared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PIXEL_SIGMA_PX: Final = 1.5
"""Of where the network ends an area, in rows of the class map."""
RELATIVE_SIGMA_LIMIT: Final = 0.2
"""Distances with a larger sigma, relative to their value, are not given."""


def pitched(t: Floats, pitch_rad: float) -> Floats:
    """t as seen by a camera that looks down by `pitch_rad` more."""
    sine, cosine = math.sin(pitch_rad), math.cos(pitch_rad)
    return (sine + cosine * t) / (cosine - sine * t)


@dataclass(frozen=True, eq=False)
class RoadPlane:
    """The road under a camera: distances and their sigma, from what is known of height, pitch and crest."""

    height_m: float
    crest_per_m: float
    """Positive rises."""
    covariance: Floats
    """(2, 2) of pitch in radians and crest per metre."""
    height_sigma_m: float
    focal_px: float
    """Down, in rows of the class map."""

    def forward_of(self, t: Floats) -> Floats:
        """Distance ahead of the camera in metres; inf at the horizon and above."""
        height_m, half_crest = self.height_m, self.crest_per_m / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            near = height_m / (t + half_crest * height_m / np.maximum(t, 1e-6))
            forward = height_m / (t + half_crest * near)
            is_on_road = (t > 1e-6) & (near > 0) & (forward > 0)
        return np.where(is_on_road, forward, np.inf)

    def sigma_of(self, forward_m: Floats) -> Floats:
        """Standard deviation of a distance ahead, in metres: of pitch, crest, height and one edge."""
        (pitch, both), (_, crest) = self.covariance.tolist()
        squared = forward_m * forward_m
        by_pitch = self.height_m + squared / self.height_m
        by_crest = squared * forward_m / (2 * self.height_m)
        edge_and_pitch = (PIXEL_SIGMA_PX / self.focal_px) ** 2 + pitch
        variance = by_pitch * (by_pitch * edge_and_pitch + by_crest * (2 * both))
        variance += by_crest * by_crest * crest + squared * (self.height_sigma_m / self.height_m) ** 2
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)), np.float64)

    def limit_of(self, forward_m: Floats) -> float:
        """The largest of ascending distances up to which sigma is at most 20 %; 0 if there is none."""
        is_vague = ~(self.sigma_of(forward_m) <= RELATIVE_SIGMA_LIMIT * forward_m)
        count = int(np.argmax(is_vague)) if is_vague.any() else len(forward_m)
        return float(forward_m[count - 1]) if count else 0.0
