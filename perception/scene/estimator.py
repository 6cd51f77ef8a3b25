"""SceneEstimator: from the class maps of one camera to metres, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.labels import DIRECT, LABELS, LABELS_OF_TWO
from perception.scene.calibration import Calibration, CalibrationError, Intrinsics, Mount
from perception.scene.free_space import FreeSpaceFinder, direct_width, end_of_lane, share_of_way
from perception.scene.lane_borders import (
    LEFT,
    RIGHT,
    Borders,
    beside,
    borders_of,
    lanes_of,
    without_corners,
)
from perception.scene.lane_fit import (
    AS_NETWORKS_DRAW,
    CREST,
    CURVATURE,
    FIRST_GUESS,
    HEADING,
    INSIDE,
    OFFSET,
    PITCH,
    PRIOR_SIGMA,
    WIDTH,
    LaneFit,
    fit_lane,
)
from perception.scene.metres import EgoLane, Floats, Measured, Metres
from perception.scene.mount_filter import Learnt, MountFilter
from perception.scene.polar_view import OUTSIDE, PolarView, t_limits
from perception.scene.road_plane import RoadPlane, pitched
from perception.scene.roll_from_lanes import roll_beside
from perception.scene.row_view import FARTHEST_M, RowView, of_class_map
from perception.scene.runs import Runs
from perception.scene.travel import TravelWatch

LANE_WIDTHS_M: Final = (2.0, 6.0)
WORST_CENTRE_SIGMA_M: Final = 0.5
"""At 10 m; a lane known less well is not given."""
SAME_LANE_M: Final = 1.2
"""A centre that moves by more from one frame to the next is that of another lane."""
WIDTH_SIGMA_M: Final = 0.15
"""How much a lane's width changes within seconds."""
LEAST_SHARE: Final = 0.6
"""Of the middle half of our lane that is free where a vehicle can pass."""
BEYOND_FIT_M: Final = 5.0
"""How far behind the last row that fits the lane's middle is still known."""
GAP_S: Final = 0.5
"""Without frames for longer, only what was learnt slowly is still known."""
REBUILD_ROLL_RAD: Final = math.radians(0.15)


@dataclass(frozen=True, eq=False)
class _Views:
    """Tables for one size of frames and class maps."""

    frame_wh: tuple[int, int]
    map_wh: tuple[int, int]
    roll_rad: float
    of_frame: Intrinsics
    intrinsics: Intrinsics
    """Of the class map."""
    mount: Mount
    """The calibration's, with the roll that was learnt."""
    rows: RowView
    polar: PolarView


class SceneEstimator:
    """Metres of one camera's frames, in their order; keeps what was learnt of its mount.

    Args:
        calibration: with a mount.
        lane_width_m: of the lanes that are driven in, if known: height and roll are learnt from it.
        learnt: what an earlier run knew of the mount.
        follows: frames follow each other in time; pictures that do not teach nothing.
        drawn_inside_px: how far inside a lane the class maps have its borders.

    Raises:
        CalibrationError: if the calibration has no mount.
    """

    def __init__(
        self,
        calibration: Calibration,
        *,
        lane_width_m: float | None = None,
        learnt: Learnt | None = None,
        follows: bool = True,
        drawn_inside_px: Measured = AS_NETWORKS_DRAW,
    ) -> None:
        if calibration.mount is None:
            raise CalibrationError("the camera's mount is not known: its height above the ground at least")
        self._intrinsics, self._mount = calibration.intrinsics, calibration.mount
        self._lane_width_m, self._follows, self._drawn_inside_px = lane_width_m, follows, drawn_inside_px
        self._start = learnt or Learnt()
        self._filter = MountFilter(self._mount, self._start, follows=follows)
        self._travel = TravelWatch(calibration.intrinsics, self._mount)
        self._time_ns: int | None = None
        self._views: _Views | None = None
        self._finder: FreeSpaceFinder | None = None
        self._width: Measured | None = None
        self._centre_m: float | None = None
        self._last: Floats | None = None

    @property
    def learnt(self) -> Learnt:
        """What is known of the mount by now."""
        return self._filter.learnt

    def __call__(
        self,
        class_map: NDArray[np.uint8],
        frame_wh: tuple[int, int],
        time_ns: int,
        *,
        labels: tuple[str, ...] = LABELS,
        ignored: NDArray[np.bool_] | None = None,
        picture: Callable[[], NDArray[np.uint8]] | None = None,
    ) -> Metres:
        """What is known in metres of one frame.

        Args:
            class_map: (h, w) over the whole frame.
            frame_wh: width and height of the frame.
            time_ns: the frame's own time.
            labels: the network's classes; without lane classes there is no lane.
            ignored: (h, w) pixels in which no road can be seen.
            picture: gives the frame's (H, W) luma, or (H, W, 3) BGR, for the direction of travel; called for
                few frames.

        Raises:
            CalibrationError: if the frame has another shape than the calibration, or sees no road.
        """
        views, finder = self._views_of(frame_wh, (class_map.shape[1], class_map.shape[0]))
        self._advance(time_ns)
        if picture is not None and self._follows:
            travel = self._travel.see(picture, time_ns, self._filter.pitch.value, ignored)
            if travel is not None:
                self._filter.see_travel(travel)
        fit, lanes = None, None
        if labels != LABELS_OF_TWO and len(views.rows.rows):
            lanes = lanes_of(class_map[views.rows.rows])
            hidden = None if ignored is None else ignored[views.rows.rows]
            whole = without_corners(lanes[0], views.rows, len(class_map))
            fit = self._fit(borders_of(whole, views.rows, hidden), views)
        road, pitch_rad = self._road(fit, views)
        classes = views.polar.sampled(class_map, pitch_rad)
        forward = np.minimum(road.forward_of(views.polar.t), 10 * FARTHEST_M)  # the sky is far, not inf
        limit = road.limit_of(forward)
        yaw_rad, camera_xy = self._filter.yaw.value, (self._mount.forward_m, self._mount.left_m)
        unseen = classes == OUTSIDE
        if ignored is not None:
            unseen |= views.polar.sampled(ignored.view(np.uint8), pitch_rad) == 1
        space, make_grid = finder.find(
            finder.drivable(classes), road, forward, limit, yaw_rad, camera_xy, unseen
        )
        ahead, is_open = (
            self._ahead(classes, views.polar, road, forward, limit, fit, finder.hidden_to)
            if lanes is not None
            else (None, False)
        )
        left = right = None
        if lanes is not None:
            sides = beside(*lanes, len(views.rows.rows))
            left, right = (self._outline(runs, views.rows, road, pitch_rad, limit) for runs in sides)
            if fit is not None and self._lane_width_m is not None:
                self._follow_roll(sides, float(fit.values[WIDTH]), views, road, pitch_rad)
        return Metres(
            mount=self._filter.estimate(),
            limit_m=limit,
            free_space=space,
            make_grid=make_grid,
            distance_ahead_m=ahead,
            is_ahead_open=is_open,
            lane=self._lane(fit, limit) if fit else None,
            left_alternative=left,
            right_alternative=right,
            intrinsics=views.of_frame,
            crest_per_m=road.crest_per_m,
        )

    def _views_of(self, frame_wh: tuple[int, int], map_wh: tuple[int, int]) -> tuple[_Views, FreeSpaceFinder]:
        views, roll_rad = self._views, self._filter.roll.value
        same = views is not None and (views.frame_wh, views.map_wh) == (frame_wh, map_wh)
        if views is None or not same or abs(roll_rad - views.roll_rad) > REBUILD_ROLL_RAD:
            intrinsics = of_class_map(self._intrinsics, frame_wh, map_wh)
            mount = replace(self._mount, roll_rad=self._mount.roll_rad + roll_rad)
            polar = PolarView.of(intrinsics, mount, *t_limits(intrinsics, mount, FARTHEST_M))
            rows = RowView.of(intrinsics, mount)
            of_frame = self._intrinsics.scaled_to(frame_wh)
            views = _Views(frame_wh, map_wh, roll_rad, of_frame, intrinsics, mount, rows, polar)
            self._views, self._finder = views, None
        if self._finder is None:
            self._finder = FreeSpaceFinder(views.polar, views.mount.height_m)
        return views, self._finder

    def _advance(self, time_ns: int) -> None:
        """To the time of a frame; after a gap nothing fast is carried over, among stills nothing at all."""
        last, self._time_ns = self._time_ns, time_ns
        if not self._follows:
            self._filter = MountFilter(self._mount, self._start, follows=False)
            self._width = self._centre_m = self._last = None
        elif last is not None and not 0 <= time_ns - last <= GAP_S * 1e9:
            self._filter.forget_spring()
            self._travel.reset()
            self._width = self._centre_m = self._last = None
        self._filter.advance(time_ns)

    def _fit(self, borders: Borders, views: _Views) -> LaneFit | None:
        """The lane of this frame; what it says of pitch, yaw and height goes to the filter."""
        pitch = self._filter.pitch
        height_m = self._height_m()
        expected, sigma = FIRST_GUESS.copy(), PRIOR_SIGMA.copy()
        expected[PITCH], sigma[PITCH] = pitch
        expected[INSIDE], sigma[INSIDE] = self._drawn_inside_px
        if self._width:
            expected[WIDTH], sigma[WIDTH] = self._width.value, max(WIDTH_SIGMA_M, self._width.sigma)
        focal_px = views.intrinsics.focal_px[1]
        fit = fit_lane(borders, height_m, focal_px, expected, sigma, self._last)
        if self._last is not None and (fit is None or not self._is_lane(fit)):  # another lane, perhaps
            fit = fit_lane(borders, height_m, focal_px, expected, sigma)
        if fit is None or not self._is_lane(fit):
            self._centre_m = self._last = None
            return None
        self._last = fit.values
        self._follow_width(fit)
        said = 1 - (fit.sigma(PITCH) / pitch.sigma) ** 2
        if said > 0.02:  # what the borders say by themselves, without what was expected
            seen = pitch.value + (fit.values[PITCH] - pitch.value) / said
            self._filter.see_pitch(Measured(float(seen), fit.sigma(PITCH) / math.sqrt(said)))
        self._filter.see_heading(
            Measured(float(fit.values[HEADING]), fit.sigma(HEADING)), float(fit.values[CURVATURE])
        )
        if self._lane_width_m is not None:
            width, ratio = float(fit.values[WIDTH]), self._filter.height_ratio.value
            seen_ratio = ratio * self._lane_width_m / width
            self._filter.see_height_ratio(Measured(seen_ratio, seen_ratio * fit.sigma(WIDTH) / width))
        return fit

    def _is_lane(self, fit: LaneFit) -> bool:
        ten = np.zeros(7)
        ten[[OFFSET, HEADING, CURVATURE]] = 1.0, 10.0, 50.0
        sigma = math.sqrt(ten @ fit.covariance @ ten)
        return LANE_WIDTHS_M[0] <= fit.values[WIDTH] <= LANE_WIDTHS_M[1] and sigma <= WORST_CENTRE_SIGMA_M

    def _follow_width(self, fit: LaneFit) -> None:
        """Remember how wide this lane is; of another lane it begins again."""
        centre, width = float(fit.values[OFFSET]), float(fit.values[WIDTH])
        is_same = self._centre_m is not None and abs(centre - self._centre_m) < SAME_LANE_M
        self._centre_m = centre
        if self._width is None or not is_same:
            self._width = Measured(width, max(0.5, fit.sigma(WIDTH)))
            return
        gain = 0.05
        sigma = max(WIDTH_SIGMA_M, self._width.sigma * (1 - gain))
        self._width = Measured(self._width.value + gain * (width - self._width.value), sigma)

    def _follow_roll(
        self, sides: tuple[Runs, Runs], width_m: float, views: _Views, road: RoadPlane, pitch_rad: float
    ) -> None:
        """Learn roll from the lanes beside ours; what the tables are made with already is in them."""
        for runs, side in zip(sides, (LEFT, RIGHT), strict=True):
            seen = roll_beside(runs, side, width_m, views.rows, road, pitch_rad)
            if seen is not None:
                self._filter.see_roll(Measured(views.roll_rad + seen.value, seen.sigma))

    def _height_m(self) -> float:
        return self._mount.height_m * self._filter.height_ratio.value

    def _road(self, fit: LaneFit | None, views: _Views) -> tuple[RoadPlane, float]:
        """The road of this frame, and its pitch beyond the mount's."""
        pitch = self._filter.pitch
        crest, covariance = 0.0, np.diag([pitch.sigma**2, PRIOR_SIGMA[CREST] ** 2])
        if fit is not None:
            crest = float(fit.values[CREST])
            covariance = fit.covariance[PITCH::CREST, PITCH::CREST][:2, :2].copy()
            ratio = pitch.sigma / fit.sigma(PITCH)  # what is known by other frames too
            covariance *= [[ratio**2, ratio], [ratio, 1.0]]
        height_m = self._height_m()
        sigma_m = height_m * self._filter.height_ratio.sigma
        road = RoadPlane(height_m, crest, covariance, sigma_m, views.intrinsics.focal_px[1])
        return road, pitch.value

    def _ahead(
        self, classes: NDArray[np.uint8], polar: PolarView, road: RoadPlane, forward: Floats, limit: float,
        fit: LaneFit | None, hidden_to: int,
    ) -> tuple[Measured | None, bool]:  # fmt: skip
        """How far the ego lane is free, and whether that is as far as can be measured."""
        lane_m = float(fit.values[WIDTH]) if fit else float(FIRST_GUESS[WIDTH])
        is_direct = (classes == DIRECT).view(np.uint8)
        is_free = direct_width(is_direct, polar.bearing_rad, forward) >= 0.5 * lane_m
        if fit is not None:  # where the lane is known, its middle has to be free
            offset, heading, curvature = fit.values[OFFSET : CURVATURE + 1]
            middle = offset + heading * forward + curvature / 2 * forward**2
            share = share_of_way(is_direct, polar.bearing_rad, forward, middle, lane_m / 4)
            is_known = forward <= fit.forward_m[fit.is_inlier].max() + BEYOND_FIT_M
            is_free = np.where(is_known, share >= LEAST_SHARE, is_free)
        inside = int(np.count_nonzero(forward <= limit))
        end = end_of_lane(is_free, inside, hidden_to)
        if end is None:
            return None, False
        index, is_end = end
        at = float(forward[max(index - 1, 0)] + forward[index]) / 2 if is_end else limit
        at = min(at, limit)
        sigma = float(road.sigma_of(np.array([at]))[0])
        return Measured(at + self._mount.forward_m, sigma), not is_end

    def _lane(self, fit: LaneFit, limit: float) -> EgoLane | None:
        """The lane in the vehicle's frame."""
        mount, yaw, height_sigma = self._mount, self._filter.yaw, self._filter.height_ratio.sigma
        lane = slice(OFFSET, CURVATURE + 1)
        centre, covariance = fit.values[lane].copy(), fit.covariance[lane, lane].copy()
        centre[1] += yaw.value
        covariance[1, 1] += yaw.sigma**2
        covariance[0, 0] += (centre[0] * height_sigma) ** 2
        back = mount.forward_m  # the fit begins below the camera, the vehicle's frame at the reference point
        shift = np.array([[1.0, -back, back * back / 2], [0.0, 1.0, -back], [0.0, 0.0, 1.0]])
        centre = shift @ centre
        centre[0] += mount.left_m
        covariance = shift @ covariance @ shift.T
        seen = fit.forward_m[fit.is_inlier]
        near, far = float(seen.min()) + back, min(float(seen.max()), limit) + back
        if far <= near:
            return None
        x = np.linspace(near, far, 16)
        y = centre[0] + centre[1] * x + centre[2] / 2 * x * x
        slope = centre[1] + centre[2] * x
        half = float(fit.values[WIDTH]) / 2 * np.sqrt(1 + slope**2)
        line = np.column_stack([x, y])
        polygon = np.concatenate([np.column_stack([x, y + half]), np.column_stack([x, y - half])[::-1]])
        width = float(fit.values[WIDTH])
        width_sigma = math.hypot(fit.sigma(WIDTH), width * height_sigma)
        return EgoLane(centre, covariance, near, far, Measured(width, width_sigma), line, polygon)

    def _outline(
        self, runs: Runs, rows: RowView, road: RoadPlane, pitch_rad: float, limit: float
    ) -> Floats | None:
        """(n, 2) of an area in the vehicle's frame; None if it is hardly seen."""
        if len(runs.row) < 4:
            return None
        row = np.tile(runs.row[::3], 2)
        t = rows.t[row, column := np.concatenate([runs.start[::3], runs.end[::3]])]
        forward = road.forward_of(pitched(t, pitch_rad))
        left = rows.left[row, column] * (1 + pitch_rad * t) + self._filter.yaw.value
        is_near = (forward <= limit).reshape(2, -1).all(axis=0)
        if np.count_nonzero(is_near) < 4:
            return None
        points = np.column_stack([forward, left * np.minimum(forward, limit)]).reshape(2, -1, 2)
        start, end = points[0, is_near], points[1, is_near]
        return np.asarray(np.concatenate([start[::-1], end]) + self._mount.position_m[:2], np.float64)
