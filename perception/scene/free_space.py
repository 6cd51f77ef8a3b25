"""Free space in every direction and its grid, from the class map seen from above."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.labels import BACKGROUND
from perception.scene.metres import FREE, OCCUPIED, UNKNOWN, FreeSpace, Grid
from perception.scene.polar_view import BEARING_STEP_RAD, OUTSIDE, PolarView
from perception.scene.road_plane import RoadPlane

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MARK_M: Final = 0.4
"""A gap between drivable areas up to this width is the paint between two lanes."""
HIDDEN_T_SHARE: Final = 0.5
"""The bonnet may hide the road up to where t is this share of the nearest visible ground's."""
GRID_M: Final = (40.0, 10.0)
"""Of the grid: forward, and to either side."""
LOW_SHARE: Final = 0.07
"""Of the camera's height: what stands there and is higher hides more of the ground behind it than this share
of its own distance."""
CELL_M: Final = 0.2
WALL_M: Final = 0.3
"""How deep the cells behind an end are marked as occupied; behind them all is unknown."""


class FreeSpaceFinder:
    """Free space of one camera, frame by frame.

    Our own bonnet is not drivable, and no obstacle: of every bearing it learns where the ground begins, as
    the nearest cell that was drivable in any frame. What is nearer is unknown.
    """

    def __init__(self, view: PolarView, height_m: float) -> None:
        self._view = view
        bearings, ranges = view.u.shape
        self._first = np.full(bearings, ranges, np.int64)
        self.hidden_to = int(np.searchsorted(-view.t, -view.t[0] * HIDDEN_T_SHARE))
        """Number of ranges that the bonnet may hide."""
        self._ranges = np.arange(ranges)
        self._bands = self._closing_bands(view, height_m)
        self._cosine = np.cos(view.bearing_rad)
        # of every range, the first one whose ground an obstacle at it would not hide
        self._behind = np.searchsorted(-view.t, -view.t * (1 - LOW_SHARE))
        columns, rows = round(GRID_M[0] / CELL_M), round(2 * GRID_M[1] / CELL_M)
        x, y = np.meshgrid((np.arange(columns) + 0.5) * CELL_M, (np.arange(rows) + 0.5) * CELL_M - GRID_M[1])
        self._cell_bearing = np.arctan2(y, x)
        self._columns = np.arange(columns, dtype=np.int16)
        self._table: tuple[float, NDArray[np.int16]] | None = None

    @staticmethod
    def _closing_bands(view: PolarView, height_m: float) -> list[tuple[slice, int]]:
        """Distances at which a mark is about equally many bearings wide, and how many."""
        per_bearing_m = BEARING_STEP_RAD * height_m / view.t
        wide = np.clip(np.ceil(MARK_M / per_bearing_m), 0, 24).astype(np.int64)
        wide = np.array([0, 1, 2, 4, 8, 16, 24])[np.searchsorted([1, 2, 3, 6, 12, 20], wide, side="right")]
        edges = np.flatnonzero(np.diff(wide, prepend=-1))
        ends = np.append(edges[1:], len(wide))
        return [
            (slice(int(start), int(end)), int(wide[start]) + 1)
            for start, end in zip(edges, ends, strict=True)
            if wide[start] >= 1
        ]

    def drivable(self, classes: NDArray[np.uint8]) -> Mask:
        """(n, m) what is drivable, the paint between two drivable areas too.

        Args:
            classes: (n, m) from `PolarView.sampled`.
        """
        mask = (classes != BACKGROUND) & (classes != OUTSIDE)
        closed = mask.view(np.uint8).copy()
        for band, wide in self._bands:
            kernel = np.ones((wide, 1), np.uint8)
            closed[:, band] = cv2.morphologyEx(np.ascontiguousarray(closed[:, band]), cv2.MORPH_CLOSE, kernel)
        return np.asarray(closed.view(np.bool_), np.bool_)

    def find(
        self, drivable: Mask, road: RoadPlane, forward_m: Floats, limit_m: float, yaw_rad: float,
        origin_m: tuple[float, float], unseen: Mask | None = None,
    ) -> tuple[FreeSpace, Callable[[], Grid]]:  # fmt: skip
        """Free space of one frame, and what makes its grid.

        Args:
            drivable: (n, m) from `drivable`.
            road: of this frame.
            forward_m: (m,) distance ahead of each of the view's ranges.
            limit_m: beyond it no distance is given.
            yaw_rad: learnt beyond the mount's.
            origin_m: the point below the camera.
            unseen: (n, m) ignored pixels, and those outside the picture.
        """
        free = drivable & (forward_m <= limit_m)
        start = self._starts(free, unseen)
        is_blocked = ~free & (self._ranges >= start[:, None])
        end = is_blocked.argmax(axis=1)
        inside = int(np.count_nonzero(forward_m <= limit_m))
        end = np.where(is_blocked.any(axis=1), end, inside)
        is_end_seen = end < inside
        is_seen = start < inside
        if unseen is not None:  # the picture ends, and not the free space
            reached = np.minimum(end, len(forward_m) - 1)
            is_end_seen &= ~unseen[np.arange(len(end)), reached]
        # the end lies between two ranges, which are even in t
        view_t = self._view.t
        step = view_t[0] - view_t[1]
        at = np.interp(end - 0.5, self._ranges, forward_m)
        at = np.where(end == 0, np.interp(0.0, self._ranges, forward_m), at)
        forward = np.where(is_seen, np.minimum(at, limit_m), np.nan)
        sigma = np.hypot(road.sigma_of(forward), forward**2 / road.height_m * step / 3.5)
        bearing = self._view.bearing_rad + yaw_rad
        space = FreeSpace(
            bearing, forward / self._cosine, sigma / self._cosine, is_end_seen & is_seen, origin_m
        )
        return space, partial(self._grid, space, self._nearest_of(start, forward_m), yaw_rad)

    def _starts(self, free: Mask, unseen: Mask | None) -> NDArray[np.int64]:
        """Where the ground begins in every direction, by this frame and those before.

        The bonnet's edge moves against the road as the car pitches: ground that is seen sooner behind the
        nearest known one than behind any obstacle begins here.
        """
        is_any = free.any(axis=1)
        first = np.where(is_any, free.argmax(axis=1), free.shape[1])
        can_be_hidden = first <= self.hidden_to
        self._first = np.where(can_be_hidden, np.minimum(self._first, first), self._first)
        never = self._first >= free.shape[1]
        start = np.where(never, 0, self._first)
        start = np.where(first <= self._behind[start], first, start)
        if unseen is not None:
            start = np.maximum(
                start, np.where((~unseen).any(axis=1), (~unseen).argmax(axis=1), free.shape[1])
            )
        return np.asarray(start, np.int64)

    def _nearest_of(self, start: NDArray[np.int64], forward_m: Floats) -> Floats:
        """Distance along each bearing from which on the ground is seen."""
        return np.asarray(forward_m[np.minimum(start, len(forward_m) - 1)] / self._cosine, np.float64)

    def _index(self, yaw_rad: float) -> NDArray[np.int16]:
        """(rows, columns) bearing of every cell; that behind the last one is of cells outside the picture."""
        table = self._table  # one assignment, so that several threads may make grids
        if table is None or abs(yaw_rad - table[0]) > BEARING_STEP_RAD / 10:
            bearing = self._view.bearing_rad
            index = np.rint((self._cell_bearing - bearing[0] - yaw_rad) / BEARING_STEP_RAD)
            inside = (index >= 0) & (index < len(bearing))
            table = yaw_rad, np.where(inside, index, len(bearing)).astype(np.int16)
            self._table = table
        return table[1]

    def _grid(self, space: FreeSpace, nearest_m: Floats, yaw_rad: float) -> Grid:
        distance = np.nan_to_num(space.distance_m, nan=-1.0)
        wall = np.where(space.is_end_seen, distance + WALL_M, distance)
        index = self._index(yaw_rad)
        # along the axis forward, and by column of the grid: how many cells from the camera it begins and ends
        cosine = np.cos(space.bearing_rad)
        ahead = np.stack([distance, wall, nearest_m]) * cosine / CELL_M - 0.5
        ahead = np.append(np.clip(np.ceil(ahead), 0, 32000), [[0], [0], [32000]], axis=1).astype(np.int16)
        free_to, wall_to, start = (np.take(it, index) for it in ahead)
        cells = np.where(self._columns < free_to, np.int8(FREE), np.int8(OCCUPIED))
        cells[(self._columns >= wall_to) | (self._columns < start)] = UNKNOWN
        x, y = space.origin_m
        return Grid(cells, CELL_M, (x, y - GRID_M[1]))


def direct_width(is_direct: NDArray[np.uint8], bearing_rad: Floats, forward_m: Floats) -> Floats:
    """(m,) how wide the direct area is at every distance ahead, in metres across.

    Args:
        is_direct: (n, m) 1 where a view from above has the direct area, else 0.
        bearing_rad: (n,) of the view.
        forward_m: (m,) distance ahead.
    """
    across = (BEARING_STEP_RAD / np.cos(bearing_rad) ** 2).astype(np.float32)
    return np.asarray((across @ is_direct) * forward_m, np.float64)


def share_of_way(
    is_direct: NDArray[np.uint8], bearing_rad: Floats, forward_m: Floats, middle_m: Floats, half_m: float
) -> Floats:
    """(m,) how much of a vehicle's way along the lane is direct area, 0 to 1, at every distance ahead.

    Args:
        is_direct: (n, m) 1 where a view from above has the direct area, else 0.
        bearing_rad: (n,) of the view.
        forward_m: (m,) distance ahead.
        middle_m: (m,) of the lane, to the left.
        half_m: of the way's width.
    """
    sums = cv2.integral(is_direct)  # over bearings and distances: a column's own are a difference
    ends = np.arctan2(np.stack([middle_m - half_m, middle_m + half_m]), forward_m)
    index = np.clip(np.rint((ends - bearing_rad[0]) / BEARING_STEP_RAD), 0, len(bearing_rad) - 1)
    low, high = index.astype(np.int64)
    every = np.arange(len(forward_m))
    within = sums[high + 1, every + 1] - sums[high + 1, every] - sums[low, every + 1] + sums[low, every]
    return np.asarray(within / (high + 1 - low), np.float64)


def end_of_lane(is_free: Mask, inside: int, hidden_to: int) -> tuple[int, bool] | None:
    """Where the ego lane ends: index of the first range that is not free, and whether such a one was seen.

    Args:
        is_free: (m,) whether there is a way through, at every distance ahead.
        inside: number of ranges in which distances can be given.
        hidden_to: up to where the bonnet may hide the road.

    Returns:
        None without a direct area near enough.
    """
    is_free = is_free[:inside]
    start = int(is_free.argmax()) if is_free.any() else inside
    if start > hidden_to or start >= inside:
        return None
    is_blocked = ~is_free[start:]
    is_blocked[:-1] &= is_blocked[1:]  # a single row is noise
    if not is_blocked.any():
        return inside, False
    return start + int(is_blocked.argmax()), True
