"""Markings of a straight road in one picture, and the point in which they meet.

In the plane of rays at depth 1 a straight line on the ground is a straight line, and parallel ones meet in
one point, the vanishing point: the direction of the road.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.scene.calibration import CalibrationError, Floats, Intrinsics

MARK_OF_HEIGHT: Final = 0.1
"""Width of a marking as a share of the camera's height above it: 0.15 m at 1.5 m."""
FEWEST_ROWS: Final = 40
"""In which a marking has to be seen; dashes have gaps."""
BEND_DEG: Final = 0.5
"""What the near and the far part of the markings may differ by in the direction of the road."""
DIRECTION_DEG: Final = 15.0
"""How far the road may go off the camera's axis."""
BY_HAND: Final = "or give the markings of the lane: --left_line u1,v1,u2,v2 --right_line u1,v1,u2,v2"
_ANY_SEED: Final = 20
_TRIES: Final = 6000
_COUNTED: Final = 1500
"""Points of all by which the tries are compared."""
_MOST_LINES: Final = 8
_ABOVE_SHARE: Final = 0.02
"""Of a line's points, that may lie above where it meets the others."""
_OFF_PX: Final = 2.0
"""From a line, across."""
_CONTRAST: Final = 14.0
_TOP_SHARE: Final = 0.03
"""Of the picture's height: rows below the horizon in which markings are too narrow."""


@dataclass(frozen=True, eq=False)
class RoadLine:
    """A straight line, x = at + slope · y in rays at depth 1."""

    at: float
    slope: float
    covariance: Floats
    """(2, 2) of `at` and `slope`."""
    rays: Floats
    """(n, 2) that it was fitted to."""

    def x_at(self, y: float) -> float:
        """Where it crosses a row of rays."""
        return self.at + self.slope * y


@dataclass(frozen=True, eq=False)
class Road:
    """The direction of a straight road, and its lines."""

    lines: tuple[RoadLine, ...]
    """That meet, from left to right."""
    meets: Floats
    """(2,) x and y at depth 1."""
    covariance: Floats
    """(2, 2) of it."""

    @property
    def borders(self) -> tuple[RoadLine, RoadLine]:
        """Of the lane in which the camera is: the nearest line on each side; raises CalibrationError."""
        left = [line for line in self.lines if line.slope < 0]
        right = [line for line in self.lines if line.slope >= 0]
        if not left or not right:
            side = "right" if left else "left"
            raise CalibrationError(f"no marking was found on the {side}; take another picture, {BY_HAND}")
        return max(left, key=lambda line: line.slope), min(right, key=lambda line: line.slope)


def road_in(image_bgr: NDArray[np.uint8], intrinsics: Intrinsics) -> Road:
    """The straight road in a picture, by its bright markings.

    Args:
        image_bgr: (H, W, 3) of the size of `intrinsics`.

    Raises:
        CalibrationError: if no lines meet, or they bend.
    """
    light = np.asarray(image_bgr.max(axis=2), np.float32)  # yellow is as bright as white in it
    level = _seen(light, intrinsics, intrinsics.centre_px[1])
    # markings are as wide as they are below the horizon, which is known better now
    horizon = intrinsics.project(np.array([[*level.meets, 1.0]]))[0, 1]
    road = _seen(light, intrinsics, float(horizon))
    bend_deg = _bend_deg(road)
    if bend_deg > BEND_DEG:
        raise CalibrationError(
            f"the road is not straight and level: its near and its far part differ by {bend_deg:.1f}° in "
            f"direction; take another picture"
        )
    return road


def _seen(light: NDArray[np.float32], intrinsics: Intrinsics, horizon: float) -> Road:
    rays = intrinsics.rays_of(_bright_ridges(light, horizon))
    off = _OFF_PX / intrinsics.focal_px[0]
    lines = _lines(rays[np.isfinite(rays).all(axis=1)], off)
    if len(lines) < 2:
        raise CalibrationError(_not_found(len(lines)))
    return _meeting(lines, off)


def road_of(left: Floats, right: Floats, intrinsics: Intrinsics) -> Road:
    """The road between two lines that were given by two pixels each, (2, 2); raises CalibrationError."""
    lines = []
    for name, points in (("left_line", left), ("right_line", right)):
        rays = intrinsics.rays_of(points)
        if not np.isfinite(rays).all() or abs(rays[0, 1] - rays[1, 1]) < 0.01:
            raise CalibrationError(f"{name} is no line along the road: its points are not below each other")
        lines.append(_fitted(rays, 1 / intrinsics.focal_px[0]))
    first, second = lines
    if math.isclose(first.slope, second.slope, abs_tol=0.01):
        raise CalibrationError("left_line and right_line are parallel in the picture; they have to meet")
    return _met(lines)


def _bright_ridges(light: NDArray[np.float32], horizon: float) -> Floats:
    """(n, 2) pixels in the middle of what is brighter than both its sides, and as wide as a marking."""
    height, width = light.shape
    first = max(1, round(horizon + _TOP_SHARE * height))
    found = []
    for row in range(first, height):
        mark_px = max(2.0, MARK_OF_HEIGHT * (row - horizon))
        box = max(1, round(mark_px / 2)) | 1
        reach = max(2, round(mark_px))
        line = np.asarray(cv2.blur(light[row : row + 1], (box, 1)), np.float32)[0]
        if width <= 2 * reach + 2:
            continue
        middle = line[reach:-reach]
        ridge = middle - np.maximum(line[: -2 * reach], line[2 * reach :])
        peaks = np.flatnonzero(
            (ridge[1:-1] > _CONTRAST) & (ridge[1:-1] >= ridge[:-2]) & (ridge[1:-1] > ridge[2:])
        )
        for at in peaks + 1:
            # to a fraction of a pixel, by the parabola through three values
            before, here, after = (float(value) for value in ridge[at - 1 : at + 2])
            bend = before - 2 * here + after
            shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
            found.append((reach + at + shift, row))
    return np.array(found, np.float64).reshape(-1, 2)


def _lines(rays: Floats, off: float) -> list[RoadLine]:
    """The lines with most points, one after the other (RANSAC)."""
    rng = np.random.default_rng(_ANY_SEED)
    lines: list[RoadLine] = []
    left = rays
    reach = math.tan(math.radians(DIRECTION_DEG))
    while len(lines) < _MOST_LINES and len(left) >= FEWEST_ROWS:
        first, second = rng.integers(len(left), size=(2, _TRIES))
        (x1, y1), (x2, y2) = left[first].T, left[second].T
        apart = np.abs(y2 - y1) > 0.05
        slope = (x2 - x1)[apart] / (y2 - y1)[apart]
        at = x1[apart] - slope * y1[apart]
        fits = np.abs(at) < reach + reach * np.abs(slope)  # it can come from where the road goes
        if not fits.any():
            break
        slope, at = slope[fits], at[fits]
        # across the line, as steep and flat ones are to be alike
        some = left if len(left) <= _COUNTED else left[rng.choice(len(left), _COUNTED, replace=False)]
        inside = np.abs(some[:, :1] - at - some[:, 1:] * slope) < off * np.hypot(1, slope)
        best = int(inside.sum(axis=0).argmax())
        chosen = np.abs(left[:, 0] - at[best] - left[:, 1] * slope[best]) < off * np.hypot(1, slope[best])
        for _ in range(3):
            line = _fitted(left[chosen], off) if np.ptp(left[chosen, 1]) > 0 else None
            if line is None:
                break
            miss = np.abs(left[:, 0] - line.at - left[:, 1] * line.slope) / math.hypot(1, line.slope)
            chosen = miss < off
        if line is None or len(np.unique(left[chosen, 1])) < FEWEST_ROWS:
            break
        lines.append(_fitted(left[chosen], off))
        left = left[miss > 3 * off]
    return lines


def _fitted(rays: Floats, sigma: float) -> RoadLine:
    """Least squares; `sigma` across is the least that a point is taken to be off."""
    design = np.column_stack([np.ones(len(rays)), rays[:, 1]])
    normal = np.linalg.pinv(design.T @ design)
    at, slope = normal @ design.T @ rays[:, 0]
    residuals = rays[:, 0] - design @ (at, slope)
    variance = max(float(residuals @ residuals) / max(1, len(rays) - 2), (sigma / 2) ** 2)
    return RoadLine(float(at), float(slope), normal * variance, rays)


def _meeting(lines: list[RoadLine], off: float) -> Road:
    """The point in which most lines meet, by points seen; raises CalibrationError."""
    reach = math.tan(math.radians(DIRECTION_DEG))
    best: list[RoadLine] = []
    for one, first in enumerate(lines):
        for second in lines[one + 1 :]:
            if abs(first.slope - second.slope) < 0.2:
                continue
            y = (second.at - first.at) / (first.slope - second.slope)
            x = first.x_at(y)
            if max(abs(x), abs(y)) > reach:
                continue
            meeting = [
                line
                for line in lines
                if abs(line.x_at(y) - x) / math.hypot(1, line.slope) < 3 * off
                and (line.rays[:, 1] < y).mean() < _ABOVE_SHARE  # else it is no line on the ground
            ]
            if sum(len(line.rays) for line in meeting) > sum(len(line.rays) for line in best):
                best = meeting
    if len(best) < 2:
        raise CalibrationError(_not_found(len(best)))
    return _met(best)


def _met(lines: list[RoadLine]) -> Road:
    """Least squares of where lines meet, each weighted by how well it is known there."""
    y = 0.0
    for _ in range(5):
        design = np.array([[1.0, -line.slope] for line in lines])
        at = np.array([line.at for line in lines])
        here = np.array([1.0, y])
        weights = np.array([1 / max(1e-18, float(here @ line.covariance @ here)) for line in lines])
        covariance = np.linalg.inv(design.T @ (design * weights[:, None]))
        x, y = covariance @ design.T @ (at * weights)
    ordered = tuple(sorted(lines, key=lambda line: line.slope))
    return Road(ordered, np.array([x, y]), covariance)


def _bend_deg(road: Road) -> float:
    """Between the directions of the near and of the far halves of the lines, where both are well seen."""
    halves: list[list[RoadLine]] = [[], []]
    for line in road.lines:
        middle = np.median(line.rays[:, 1])
        for half, chosen in zip(halves, (line.rays[:, 1] > middle, line.rays[:, 1] <= middle), strict=True):
            part = line.rays[chosen]
            if len(part) >= FEWEST_ROWS // 2 and np.ptp(part[:, 1]) > 0.02:
                half.append(_fitted(part, math.sqrt(float(line.covariance[0, 0]) * len(line.rays)) / 2))
    near, far = (_met(half) if len(half) >= 2 else None for half in halves)
    if near is None or far is None:
        return 0.0
    return math.degrees(math.atan(float(np.hypot(*(near.meets - far.meets)))))


def _not_found(lines: int) -> str:
    seen = "one line" if lines == 1 else "none"
    return (
        f"the direction of the road is not known: of markings that meet ahead there is {seen}; take a "
        f"picture of a straight road with markings on both sides, {BY_HAND}"
    )
