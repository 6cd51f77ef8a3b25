"""Metres of a flat road of which every number is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flat_road import WH, camera, class_map

from perception.labels import BACKGROUND, DRIVABLE, LABELS_OF_TWO
from perception.scene.calibration import Calibration, CalibrationError, Mount
from perception.scene.estimator import SceneEstimator
from perception.scene.metres import FREE, OCCUPIED, UNKNOWN, Measured, Metres

FRAME_NS = 33_333_333
EXACTLY = Measured(0.0, 0.3)


def metres_of(calibration: Calibration, frames: int = 1, **road: object) -> Metres:
    """Of the last of some frames of the same road."""
    estimator = SceneEstimator(calibration, drawn_inside_px=EXACTLY)
    classes = class_map(calibration, **road)  # type: ignore[arg-type]
    wh = calibration.intrinsics.frame_wh
    for frame in range(frames):
        metres = estimator(classes, wh, frame * FRAME_NS)
    return metres


@pytest.mark.parametrize(
    "mount",
    [
        Mount(1.4),
        Mount(1.2, pitch_rad=0.05, yaw_rad=0.02, roll_rad=0.01),
        Mount(2.4, pitch_rad=0.12, yaw_rad=-0.05, forward_m=1.8, left_m=-0.3),
    ],
)
@pytest.mark.parametrize("distortion", [(0, 0, 0, 0, 0), (-0.248, -0.02, -0.001, 0.0, 0.009)])
def test_lane_is_where_it_is_with_any_mount_and_lens(mount: Mount, distortion: tuple[float, ...]) -> None:
    calibration = camera(mount, distortion=distortion)
    road = {"offset_m": 0.4, "heading_rad": 0.01, "curvature_per_m": 1 / 300, "width_m": 3.4}

    lane = metres_of(calibration, **road).lane

    assert lane is not None
    true_at_10 = 0.4 + 0.1 + 100 / 600
    assert lane.centre_at(10).value == pytest.approx(true_at_10, abs=0.03)
    assert lane.width_m.value == pytest.approx(3.4, abs=0.06)
    assert lane.coefficients[2] == pytest.approx(1 / 300, abs=6e-4)
    assert lane.valid_to_m > 25


def test_signs_are_those_of_rep_103() -> None:
    metres = metres_of(camera(), offset_m=-0.5, heading_rad=-0.02, curvature_per_m=-1 / 400)

    assert metres.lateral_offset_m is not None
    assert metres.lateral_offset_m.value == pytest.approx(0.5, abs=0.05)  # we are left of the middle
    assert metres.heading_error_rad is not None
    assert metres.heading_error_rad.value == pytest.approx(0.02, abs=0.005)  # and turned to the left
    assert metres.curvature_per_m is not None
    assert metres.curvature_per_m.value == pytest.approx(-1 / 400, abs=5e-4)  # the lane bends to the right


@pytest.mark.parametrize("pitch_deg", [-0.5, -0.2, 0.3, 0.6])
def test_pitch_of_a_frame_is_seen_from_the_lane_alone(pitch_deg: float) -> None:
    calibration = camera()
    now = Mount(1.4, pitch_rad=math.radians(pitch_deg))

    metres = metres_of(calibration, frames=90, mount=now, curvature_per_m=1 / 500)

    assert math.degrees(metres.mount.mount.pitch_rad) == pytest.approx(pitch_deg, abs=0.12)
    assert metres.mount.is_followed


@pytest.mark.parametrize("end_m", [8.0, 14.0, 20.0, 30.0])
def test_distance_ahead_ends_at_what_is_on_the_lane(end_m: float) -> None:
    metres = metres_of(camera(), boxes=[(end_m, -1.2, end_m + 6, 1.2)])

    ahead = metres.distance_ahead_m
    assert ahead is not None
    assert not metres.is_ahead_open
    assert ahead.value == pytest.approx(end_m, rel=0.03)
    assert abs(ahead.value - end_m) < 2 * ahead.sigma


def test_distance_ahead_is_counted_from_the_reference_point() -> None:
    mount = Mount(1.4, forward_m=2.0)

    metres = metres_of(camera(mount), boxes=[(17.0, -1.2, 22.0, 1.2)])

    assert metres.distance_ahead_m is not None
    assert metres.distance_ahead_m.value == pytest.approx(17.0, rel=0.03)
    assert metres.free_space.origin_m == (2.0, 0.0)


def test_free_lane_is_open_as_far_as_can_be_measured_and_nothing_is_given_beyond() -> None:
    metres = metres_of(camera(), to_m=300.0)

    assert metres.is_ahead_open
    assert metres.distance_ahead_m is not None
    assert metres.distance_ahead_m.value == pytest.approx(metres.limit_m)
    assert metres.distance_ahead_m.sigma <= 0.21 * metres.limit_m
    assert np.nanmax(metres.free_space.distance_m * np.cos(metres.free_space.bearing_rad)) <= metres.limit_m


def test_free_space_ends_at_a_box_and_all_behind_it_is_unknown() -> None:
    metres = metres_of(camera(), left_lane=True, right_lane=True, boxes=[(12.0, 1.0, 13.0, 3.0)])

    space, grid = metres.free_space, metres.grid
    to_box = int(np.argmin(np.abs(space.bearing_rad - math.atan2(2.0, 12.0))))
    assert space.distance_m[to_box] == pytest.approx(math.hypot(12.0, 2.0), rel=0.03)
    assert space.is_end_seen[to_box]
    places = {"before": (10.0, 1.6), "in": (12.1, 2.0), "behind": (18.0, 3.0), "beside": (12.1, -2.0)}
    cell = {name: grid_value(metres, *place) for name, place in places.items()}
    assert cell == {"before": FREE, "in": OCCUPIED, "behind": UNKNOWN, "beside": FREE}
    assert grid.cells.shape == (100, 200)


def grid_value(metres: Metres, x: float, y: float) -> int:
    grid = metres.grid
    column = int((x - grid.origin_m[0]) / grid.resolution_m)
    row = int((y - grid.origin_m[1]) / grid.resolution_m)
    return int(grid.cells[row, column])


def test_a_box_to_the_left_is_in_the_rows_of_positive_y() -> None:
    metres = metres_of(camera(), left_lane=True, right_lane=True, boxes=[(10.0, 2.0, 12.0, 4.5)])

    rows = np.flatnonzero((metres.grid.cells[:, 50:52] == OCCUPIED).any(axis=1))
    y = metres.grid.origin_m[1] + (rows + 0.5) * metres.grid.resolution_m
    inside_lanes = y[np.abs(y) < 5]
    assert inside_lanes.min() > 1.5


def test_paint_between_two_lanes_does_not_end_the_free_space() -> None:
    marks = [(0.0, 1.74, 70.0, 1.86)]

    metres = metres_of(camera(), left_lane=True, boxes=marks)

    over_the_mark = math.atan2(3.0, 10.0)
    at = int(np.argmin(np.abs(metres.free_space.bearing_rad - over_the_mark)))
    assert metres.free_space.distance_m[at] > 14.0


def test_lanes_beside_are_outlined_on_their_side() -> None:
    metres = metres_of(camera(), left_lane=True)

    assert metres.right_alternative is None
    assert metres.left_alternative is not None
    near = metres.left_alternative[metres.left_alternative[:, 0] < 25]
    assert near[:, 1].min() > 1.6
    assert near[:, 1].max() < 5.7


def test_bonnet_is_no_obstacle() -> None:
    calibration = camera()
    classes = class_map(calibration)
    classes[320:] = BACKGROUND

    metres = SceneEstimator(calibration, drawn_inside_px=EXACTLY)(classes, WH, 0)

    ahead = int(np.argmin(np.abs(metres.free_space.bearing_rad)))
    assert metres.free_space.distance_m[ahead] > 30
    assert metres.distance_ahead_m is not None
    assert metres.distance_ahead_m.value > 30
    assert grid_value(metres, 4.0, 0.0) == UNKNOWN


def test_bonnet_whose_edge_wavers_is_no_obstacle() -> None:
    calibration = camera()
    estimator = SceneEstimator(calibration, drawn_inside_px=EXACTLY)
    for frame in range(9):
        classes = class_map(calibration)
        classes[(320, 323, 317)[frame % 3] :] = BACKGROUND

        metres = estimator(classes, WH, frame * FRAME_NS)

        ahead = np.abs(metres.free_space.bearing_rad) < 0.1
        assert metres.free_space.distance_m[ahead].min() > 15
        assert grid_value(metres, 10.0, 0.0) == FREE


def test_what_stands_where_the_road_was_seen_before_is_an_obstacle() -> None:
    calibration = camera()
    estimator = SceneEstimator(calibration, drawn_inside_px=EXACTLY)
    estimator(class_map(calibration), WH, 0)

    metres = estimator(class_map(calibration, boxes=[(0.0, -5.0, 7.0, 5.0)]), WH, FRAME_NS)

    ahead = int(np.argmin(np.abs(metres.free_space.bearing_rad)))
    assert metres.free_space.distance_m[ahead] < 6
    assert metres.free_space.is_end_seen[ahead]


def test_ignored_pixels_are_unknown_and_end_nothing() -> None:
    calibration = camera()
    classes = class_map(calibration)
    classes[300:] = BACKGROUND
    ignored = np.zeros(classes.shape, np.bool_)
    ignored[300:] = True

    metres = SceneEstimator(calibration, drawn_inside_px=EXACTLY)(classes, WH, 0, ignored=ignored)

    ahead = int(np.argmin(np.abs(metres.free_space.bearing_rad)))
    assert metres.free_space.distance_m[ahead] > 30
    assert grid_value(metres, 5.0, 0.0) == UNKNOWN


def test_a_frame_without_road_gives_no_lane_and_no_distance() -> None:
    metres = SceneEstimator(camera(), drawn_inside_px=EXACTLY)(
        np.full((360, 640), BACKGROUND, np.uint8), WH, 0
    )

    assert metres.lane is None
    assert metres.lane_width_m is None
    assert metres.distance_ahead_m is None
    assert not (metres.grid.cells == FREE).any()
    assert not metres.mount.is_followed


def test_network_without_lanes_gives_free_space_alone() -> None:
    calibration = camera()
    classes = np.where(class_map(calibration) == BACKGROUND, BACKGROUND, DRIVABLE).astype(np.uint8)

    metres = SceneEstimator(calibration, drawn_inside_px=EXACTLY)(classes, WH, 0, labels=LABELS_OF_TWO)

    assert metres.lane is None
    assert metres.distance_ahead_m is None
    assert (metres.grid.cells == FREE).any()


def test_class_map_of_another_size_than_the_frame_gives_the_same_metres() -> None:
    small, large = camera(wh=(640, 360)), camera(wh=(1280, 720))
    road = {"offset_m": 0.3, "heading_rad": 0.01}

    lane = SceneEstimator(large, drawn_inside_px=EXACTLY)(class_map(small, **road), (1280, 720), 0).lane  # type: ignore[arg-type]

    assert lane is not None
    assert lane.centre_at(10).value == pytest.approx(0.4, abs=0.03)


def test_after_a_gap_only_what_was_learnt_slowly_is_kept() -> None:
    calibration = camera()
    dip = replace(calibration.mount or Mount(1.4), pitch_rad=0.01)
    estimator = SceneEstimator(calibration, drawn_inside_px=EXACTLY)
    estimator(class_map(calibration, mount=dip), WH, 0)
    nothing = np.full((360, 640), BACKGROUND, np.uint8)

    metres = estimator(nothing, WH, 10_000_000_000)

    assert metres.mount.mount.pitch_rad == pytest.approx(estimator.learnt.pitch_rad)


def test_stills_teach_nothing() -> None:
    calibration = camera()
    estimator = SceneEstimator(calibration, drawn_inside_px=EXACTLY, follows=False)
    dip = Mount(1.4, pitch_rad=0.01)

    for frame in range(20):
        estimator(class_map(calibration, mount=dip), WH, frame * FRAME_NS)
    level = estimator(class_map(calibration), WH, 0)

    assert abs(level.mount.mount.pitch_rad) < math.radians(0.05)


def test_height_is_learnt_from_lanes_whose_width_is_known() -> None:
    calibration = camera(Mount(1.4))
    truly = Mount(1.47)
    estimator = SceneEstimator(calibration, drawn_inside_px=EXACTLY, lane_width_m=3.6)
    classes = class_map(calibration, mount=truly, width_m=3.6)

    for frame in range(900):
        metres = estimator(classes, WH, frame * FRAME_NS)

    assert metres.mount.mount.height_m == pytest.approx(1.47, rel=0.012)


def test_roll_is_learnt_from_the_lanes_beside_ours() -> None:
    calibration = camera(Mount(1.4))
    truly = Mount(1.4, roll_rad=math.radians(0.6))
    estimator = SceneEstimator(calibration, drawn_inside_px=EXACTLY, lane_width_m=3.6)
    classes = class_map(calibration, mount=truly, left_lane=True, right_lane=True)

    for frame in range(900):
        metres = estimator(classes, WH, frame * FRAME_NS)

    assert math.degrees(metres.mount.mount.roll_rad) == pytest.approx(0.6, abs=0.2)


def test_without_a_known_lane_width_the_height_stays() -> None:
    calibration = camera(Mount(1.4))

    metres = metres_of(calibration, frames=90, width_m=4.2)

    assert metres.mount.mount.height_m == 1.4


def test_calibration_without_a_mount_is_refused() -> None:
    with pytest.raises(CalibrationError, match="mount is not known"):
        SceneEstimator(Calibration(camera().intrinsics))


def test_camera_that_sees_no_road_is_refused_in_one_line() -> None:
    estimator = SceneEstimator(camera(Mount(1.4, pitch_rad=-0.5)))

    with pytest.raises(CalibrationError, match="sees no road"):
        estimator(np.full((360, 640), BACKGROUND, np.uint8), WH, 0)


def test_frames_of_another_shape_are_refused() -> None:
    estimator = SceneEstimator(camera(), drawn_inside_px=EXACTLY)

    with pytest.raises(CalibrationError, match="640x480"):
        estimator(np.full((480, 640), BACKGROUND, np.uint8), (640, 480), 0)
