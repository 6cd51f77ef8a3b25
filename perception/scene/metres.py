"""Metres: what is known of one frame in metres, each number with its standard deviation.

All positions are in the vehicle's frame of REP 103: x forward and y left of the reference point, in metres,
on the ground. Angles are positive to the left. What is not known is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perception.scene.calibration import Intrinsics, Mount

Floats = NDArray[np.float64]

UNKNOWN, FREE, OCCUPIED = -1, 0, 100
"""Of a cell of the grid, as in nav_msgs/OccupancyGrid."""


class Measured(NamedTuple):
    """A number and its standard deviation, in the same unit."""

    value: float
    sigma: float


@dataclass(frozen=True)
class MountEstimate:
    """The camera's pose in this frame."""

    mount: Mount
    """Its pitch with what the car does at this moment."""
    pitch_sigma_rad: float
    yaw_sigma_rad: float
    roll_sigma_rad: float
    height_sigma_m: float
    is_followed: bool
    """Pitch and yaw were measured in this frame; otherwise they are as expected from earlier ones."""


@dataclass(frozen=True, eq=False)
class FreeSpace:
    """How far it is free in every direction, from the point on the ground below the camera.

    Everything behind the first cell that is not drivable is unknown.
    """

    bearing_rad: Floats
    """(n,) ascending in equal steps, so from right to left; 0 is the vehicle's forward direction."""
    distance_m: Floats
    """(n,) to the first cell that is not drivable, or as far as can be measured; NaN where nothing is
    seen."""
    sigma_m: Floats
    """(n,) NaN with the distance."""
    is_end_seen: NDArray[np.bool_]
    """(n,) false where it is free as far as can be measured, and where nothing is seen."""
    origin_m: tuple[float, float]
    """(x, y) of that point."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Occupancy of the ground, laid out as nav_msgs/OccupancyGrid has it."""

    cells: NDArray[np.int8]
    """(rows, columns): -1 unknown, 0 free, 100 occupied. Rows go to the left (y), columns forward (x): flat,
    they are the message's data, whose width is the columns and whose height the rows."""
    resolution_m: float
    """Side of a cell."""
    origin_m: tuple[float, float]
    """(x, y) of the outer corner of cell [0, 0], which is the rightmost and nearest."""


@dataclass(frozen=True, eq=False)
class EgoLane:
    """The lane that the vehicle is in: y = offset + heading · x + curvature / 2 · x² is its centre."""

    coefficients: Floats
    """(3,) offset of the centre at x = 0 in metres to the left, heading in radians, curvature per metre."""
    covariance: Floats
    """(3, 3) of the coefficients."""
    near_m: float
    """x where the lane is first seen."""
    valid_to_m: float
    """x up to which both borders are seen and the centre fits them."""
    width_m: Measured
    centreline: Floats
    """(n, 2) from `near_m` to `valid_to_m`."""
    polygon: Floats
    """(n, 2) both borders, the left one outward and the right one back."""

    def centre_at(self, x_m: float) -> Measured:
        """y of the lane's centre at `x_m` ahead, whether or not that is in its valid range."""
        row = np.array([1.0, x_m, x_m * x_m / 2])
        return Measured(float(row @ self.coefficients), float(np.sqrt(row @ self.covariance @ row)))


@dataclass(frozen=True, eq=False)
class Metres:
    """What is known of one frame in metres."""

    mount: MountEstimate
    limit_m: float
    """Beyond it the sigma of a distance is above 20 %; nothing farther is given."""
    free_space: FreeSpace
    make_grid: Callable[[], Grid]
    """What makes `grid`, from any thread."""
    distance_ahead_m: Measured | None
    """x of the first row of the ego lane that is not free; None without an ego lane."""
    is_ahead_open: bool
    """The ego lane is free as far as can be measured, and `distance_ahead_m` is how far that is."""
    lane: EgoLane | None
    left_alternative: Floats | None
    """(n, 2) outline of the lane to the left that could be taken."""
    right_alternative: Floats | None
    intrinsics: Intrinsics
    """Of the frame's pixels."""
    crest_per_m: float = 0.0
    """How the road's slope changes ahead of the camera: at x metres it has risen by half of that times x²."""

    @cached_property
    def grid(self) -> Grid:
        """The free space in cells; made on first access, as only some outputs have it."""
        return self.make_grid()

    def image_of(self, ground: Floats) -> Floats:
        """(n, 2) pixels of the frame at which (n, 2) points of the road are seen; NaN where none is."""
        mount = self.mount.mount
        rise_m = self.crest_per_m / 2 * (ground[:, 0] - mount.forward_m) ** 2
        points = np.column_stack([ground, rise_m])
        return self.intrinsics.project((points - mount.position_m) @ mount.vehicle_from_camera)

    @property
    def lane_width_m(self) -> Measured | None:
        """Between the ego lane's borders, as the network draws them."""
        return self.lane.width_m if self.lane else None

    @property
    def lateral_offset_m(self) -> Measured | None:
        """Of the reference point from the lane's centre, positive to the left of it."""
        if self.lane is None:
            return None
        centre = self.lane.centre_at(0.0)
        return Measured(-centre.value, centre.sigma)

    @property
    def heading_error_rad(self) -> Measured | None:
        """Of the vehicle against the lane at x = 0, positive turned to the left of it."""
        if self.lane is None:
            return None
        return Measured(-float(self.lane.coefficients[1]), float(np.sqrt(self.lane.covariance[1, 1])))

    @property
    def curvature_per_m(self) -> Measured | None:
        """Of the lane's centre, positive bends to the left; holds up to `valid_to_m`."""
        if self.lane is None:
            return None
        return Measured(float(self.lane.coefficients[2]), float(np.sqrt(self.lane.covariance[2, 2])))

    @property
    def valid_to_m(self) -> float | None:
        """x up to which lane, centreline and curvature hold."""
        return self.lane.valid_to_m if self.lane else None

    @property
    def centreline(self) -> Floats | None:
        """(n, 2) of the ego lane."""
        return self.lane.centreline if self.lane else None

    @property
    def ego_lane(self) -> Floats | None:
        """(n, 2) outline of the ego lane."""
        return self.lane.polygon if self.lane else None
