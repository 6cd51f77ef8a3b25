"""The road in metres as messages of ROS 2: where things lie, by the conventions of REP 103, 105 and 117."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from roads import CELL_M, FRAME_WH, MOUNT, calibrated, calibrated_source, metres, predicted_road

from perception.frame import CameraState, Prediction
from perception.labels import BACKGROUND, DIRECT
from perception.provenance.identity import RunIdentity
from perception.provenance.trace import Tracer
from perception.provenance.utc import UtcClock
from perception.ros.messages import RosEncoder
from perception.ros.metres_messages import ground_points
from perception.ros.types import TOPICS_IN_METRES, typestore
from perception.scene.calibration import Calibration, Mount
from perception.scene.estimator import SceneEstimator
from perception.scene.metres import Grid, Metres
from perception.sources.source import SourceInfo
from perception.synthetic.truth import DriveTruth
from perception.synthetic.view import View

PLAIN = SourceInfo("cam", True, FRAME_WH, 25.0)
INFO = calibrated_source(PLAIN)
CLOCK = UtcClock(lambda: 50_000_000, lambda: 50_000_000 + 1_700_000_000_000_000_000)
RUN = RunIdentity(model_sha256="0" * 64, settings_sha256="1" * 64)


def traced(known: Metres | None = None, **values: Any) -> Prediction:
    made = predicted_road(known, **values)
    confidence = np.full((45, 80), 200, np.uint8)
    trace = Tracer(RUN, True, CLOCK).trace(5_000_000, 39_000_000)
    return replace(made, trace=trace, confidence=confidence)


def decoded(of: Prediction, info: SourceInfo = INFO, **settings: str) -> dict[str, Any]:
    """The messages of an output by the end of their topic, decoded."""
    return {
        message.topic.removeprefix("/drivable/"): typestore().deserialize_cdr(message.data, message.type_name)
        for message in RosEncoder(info, **settings).encode(of)
    }


def xyz(cloud: Any) -> np.ndarray:
    """(h, w, 3), as a reader takes it by the cloud's own fields."""
    assert [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields] == [
        ("x", 0, 7, 1),
        ("y", 4, 7, 1),
        ("z", 8, 7, 1),
    ]
    assert (cloud.is_bigendian, cloud.row_step) == (False, cloud.width * cloud.point_step)
    rows = cloud.data.reshape(cloud.height, cloud.width, cloud.point_step)
    return np.ascontiguousarray(rows).view(np.float32)


def test_topics_in_metres_are_those_of_a_calibrated_camera_alone() -> None:
    uncalibrated = RosEncoder(PLAIN)
    offered = {topic.removeprefix("/drivable/"): name for topic, name in RosEncoder(INFO).topics.items()}

    assert not any(topic.endswith(f"/{name}") for name in TOPICS_IN_METRES for topic in uncalibrated.topics)
    assert {name: offered[name] for name in TOPICS_IN_METRES} == TOPICS_IN_METRES


@pytest.mark.parametrize("values", [{"metres": None}, {"camera_state": CameraState.BLOCKED}])
def test_where_no_metres_are_known_there_is_no_message(values: dict[str, Any]) -> None:
    assert TOPICS_IN_METRES.keys().isdisjoint(decoded(traced(**values)))


def test_mask_confidence_and_cloud_have_one_size_and_one_stamp() -> None:
    class_map = np.full((90, 160), BACKGROUND, np.uint8)
    class_map[60:] = DIRECT
    messages = decoded(traced(class_map=class_map))

    three = [messages[name] for name in ("class_map", "confidence", "points")]
    assert {(one.width, one.height) for one in three} == {(160, 90)}
    assert len({(one.header.stamp.sec, one.header.stamp.nanosec) for one in three}) == 1
    assert {messages[name].header.frame_id for name in ("class_map", "camera_info")} == {"camera"}


def test_what_is_in_metres_lies_in_the_vehicles_frame() -> None:
    messages = decoded(traced(), frame_id="front", base_frame_id="base_footprint")

    assert messages["camera_info"].header.frame_id == "front"
    assert {messages[name].header.frame_id for name in TOPICS_IN_METRES} == {"base_footprint"}


def test_points_of_the_cloud_are_the_ground_that_pixels_see() -> None:
    known = metres()
    points = xyz(decoded(traced(known))["points"])
    truth = calibrated()

    rows, columns = np.nonzero(np.isfinite(points[..., 0]))
    expected = truth.ground_of(np.stack([columns, rows], 1).astype(np.float64))
    assert len(rows) > 0.1 * points[..., 0].size
    np.testing.assert_allclose(points[rows, columns, :2], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(points[rows, columns, 2], 0, atol=1e-4)


def test_mask_coarser_than_the_frame_has_a_point_in_the_middle_of_each_of_its_pixels() -> None:
    known = metres()
    fine, coarse = ground_points(known, FRAME_WH, FRAME_WH), ground_points(known, (160, 90), FRAME_WH)

    # the middle of a pixel of the mask is where four of the frame's meet
    middle = calibrated().ground_of(np.array([[4 * 80 + 1.5, 4 * 70 + 1.5]]))[0]
    np.testing.assert_allclose(coarse[70, 80, :2], middle, rtol=1e-4)
    assert fine[280, 320, 0] > coarse[70, 80, 0] > fine[284, 320, 0]


def test_cloud_has_nothing_above_the_horizon_nor_behind_what_is_not_drivable() -> None:
    points = ground_points(metres(ahead_m=20.0), FRAME_WH, FRAME_WH)

    horizon = 179.5 - 0.8 * 640 * math.tan(MOUNT.pitch_rad)
    assert np.isnan(points[: math.ceil(horizon)]).all()
    assert np.nanmax(points[..., 0]) < 20.0 + 3 * CELL_M
    assert np.isnan(points).any(axis=2).sum() == np.isnan(points).all(axis=2).sum()


def test_cloud_of_a_road_that_rises_lies_on_it() -> None:
    known = replace(metres(), crest_per_m=2e-3)
    points = ground_points(known, FRAME_WH, FRAME_WH)

    is_seen = np.isfinite(points[..., 0])
    x, z = points[is_seen][:, 0], points[is_seen][:, 2]
    np.testing.assert_allclose(z, 1e-3 * x * x, atol=1e-3)
    pixels = known.image_of(points[is_seen][:, :2].astype(np.float64))
    rows, columns = np.nonzero(is_seen)
    np.testing.assert_allclose(pixels, np.stack([columns, rows], 1), atol=0.05)


def value_at(grid: Any, x: float, y: float) -> int:
    """As a reader of `nav_msgs/OccupancyGrid` looks it up."""
    origin = grid.info.origin.position
    column = int((x - origin.x) // grid.info.resolution)
    row = int((y - origin.y) // grid.info.resolution)
    return int(grid.data[row * grid.info.width + column])


def test_obstacle_at_the_left_is_occupied_at_positive_y_and_unknown_behind() -> None:
    grid = decoded(traced(metres(obstacle_left=True)))["occupancy_grid"]

    assert grid.info.origin.orientation.w == 1
    assert len(grid.data) == grid.info.width * grid.info.height
    assert value_at(grid, 12.1, 1.0) == 100
    assert value_at(grid, 12.1, -1.0) == 0
    assert value_at(grid, 8.0, 0.6) == 0
    assert value_at(grid, 20.0, 1.2) == -1
    occupied = np.argwhere(grid.data.reshape(grid.info.height, grid.info.width) == 100)
    near = occupied[(occupied[:, 1] * CELL_M > 11.5) & (occupied[:, 1] * CELL_M < 13.0)]
    y = grid.info.origin.position.y + (near[:, 0] + 0.5) * CELL_M
    assert ((y > 0) & (y < 1.8)).any()
    assert not ((y < 0) & (y > -1.8)).any()


def frame_with_a_car_at_the_left() -> tuple[DriveTruth, int, float, float]:
    """A rendered drive, a frame of it, and where the near end of a car at the left is: x and y."""
    for seed in range(8):
        truth = DriveTruth("highway", FRAME_WH, 25.0, seed)
        for frame_id in range(0, 3000, 25):
            view = View(truth.world, frame_id / 25, FRAME_WH)
            for car in truth.world.vehicles(frame_id / 25, 20.0):
                left_m = view.d_m - car.d_m - float(np.interp(car.ahead_m, view.grid_z, view.grid_x))
                if car.lane is not None and car.ahead_m > 9.0 and 2.8 < left_m < 4.5:
                    return truth, frame_id, car.ahead_m, left_m
    raise LookupError("no such frame")


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_rendered_car_at_the_left_occupies_cells_at_positive_y(is_mirrored: bool) -> None:
    truth, frame_id, x, y = frame_with_a_car_at_the_left()
    image_bgr, class_map = truth.renderer.render(frame_id)
    calibration = truth.calibration()
    if is_mirrored:
        image_bgr, class_map, y = image_bgr[:, ::-1].copy(), class_map[:, ::-1].copy(), -y
        matrix = calibration.intrinsics.camera_matrix.copy()
        matrix[0, 2] = FRAME_WH[0] - 1 - matrix[0, 2]
        assert calibration.mount is not None
        mount = replace(calibration.mount, roll_rad=-calibration.mount.roll_rad)
        calibration = Calibration(replace(calibration.intrinsics, camera_matrix=matrix), mount)
    known = SceneEstimator(calibration)(class_map, FRAME_WH, 0)

    grid = decoded(traced(known, image_bgr=image_bgr, class_map=class_map))["occupancy_grid"]

    around = [(x + dx, y + dy) for dx in np.arange(-1.0, 1.6, 0.2) for dy in np.arange(-0.8, 0.9, 0.2)]
    assert max(value_at(grid, *place) for place in around) == 100
    assert value_at(grid, x + 4.0, y) == -1
    assert value_at(grid, x - 3.0, 0.0) == 0
    scan = decoded(traced(known, image_bgr=image_bgr, class_map=class_map))["scan"]
    there = round((math.atan2(y, x) - scan.angle_min) / scan.angle_increment)
    assert scan.ranges[there] == pytest.approx(math.hypot(x, y), abs=1.0)


def test_scan_ends_at_the_obstacle_and_is_inf_where_all_is_free_and_nan_where_nothing_is_seen() -> None:
    known = metres(obstacle_left=True, ahead_m=80.0)
    scan = decoded(traced(known))["scan"]

    bearings = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    assert bearings[-1] == pytest.approx(scan.angle_max, abs=1e-5)
    assert scan.angle_min < 0 < scan.angle_max

    def range_at(angle_rad: float) -> float:
        return float(scan.ranges[np.abs(bearings - angle_rad).argmin()])

    assert range_at(math.atan2(1, 12)) == pytest.approx(12.0, abs=0.1)
    assert range_at(-0.2) == pytest.approx(5.7 / math.sin(0.2), abs=0.1)
    assert math.isinf(range_at(0.0))
    assert math.isnan(range_at(-0.6))
    measured = scan.ranges[np.isfinite(scan.ranges)]
    assert measured.max() <= scan.range_max
    assert measured.min() >= scan.range_min


@pytest.mark.parametrize("mount", [MOUNT, Mount(1.4, 0.05, forward_m=1.7), Mount(1.4, 0.05, left_m=-0.4)])
def test_scan_is_seen_from_the_reference_point_wherever_the_camera_is(mount: Mount) -> None:
    known = metres(calibrated(mount=mount), ahead_m=32.0)
    scan = decoded(traced(known))["scan"]

    bearings = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    is_ahead = np.abs(bearings) < math.atan2(1.4, 32)
    np.testing.assert_allclose(scan.ranges[is_ahead] * np.cos(bearings[is_ahead]), 32.0, atol=0.4)
    left = (bearings > 0.15) & (bearings < 0.35)
    np.testing.assert_allclose(scan.ranges[left] * np.sin(bearings[left]), 1.5, atol=0.15)


def test_what_nobody_wants_is_not_computed() -> None:
    def never() -> Grid:
        raise AssertionError("a grid that nobody wants")

    broken = replace(traced(), metres=replace(metres(), make_grid=never))

    messages = RosEncoder(INFO).encode(broken, {"/drivable/scan"})

    assert [message.topic for message in messages] == ["/drivable/scan"]


def test_pixels_of_the_cloud_project_back_to_the_mask_through_any_lens() -> None:
    matrix = calibrated().intrinsics
    lens = replace(matrix, distortion_model="equidistant", distortion=np.array([0.02, -0.01, 0.002, 0.0]))
    known = metres(Calibration(lens, MOUNT))
    points = ground_points(known, FRAME_WH, FRAME_WH)

    rows, columns = np.nonzero(np.isfinite(points[..., 0]))
    pixels = known.image_of(points[rows, columns, :2].astype(np.float64))
    np.testing.assert_allclose(pixels, np.stack([columns, rows], 1), atol=0.05)
