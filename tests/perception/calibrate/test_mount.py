"""The mount from one picture of a road: rendered ones, whose camera is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.calibrate.cli import main
from perception.calibrate.config import MountConfig
from perception.calibrate.road_mount import RoadMount, angles_of, mount_from_road
from perception.scene.calibration import Calibration, CalibrationError, Intrinsics, Mount
from perception.scene.calibration_file import load_calibration, save_calibration
from perception.synthetic import SCENES, DriveRenderer
from perception.synthetic.view import View
from perception.synthetic.world import World

WH = (1280, 720)
K = np.array([[1150.0, 0, 639.5], [0, 1150.0, 359.5], [0, 0, 1]])
LANE_M = 3.6

ErrorLine = Callable[[str], str]


def road(
    mount: Mount, intrinsics: Intrinsics, offset_m: float = 0.3, bend_per_m: float = 0.0
) -> NDArray[np.uint8]:
    """(H, W, 3) of a grey road of three lanes with white lines and dashes, by the camera's own rays.

    Args:
        offset_m: of the camera from the middle of its lane, to the left.
    """
    width, height = intrinsics.frame_wh
    u, v = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    ground = Calibration(intrinsics, mount).ground_of(np.column_stack([u.ravel(), v.ravel()]))
    ahead, left = ground.reshape(height, width, 2).transpose(2, 0, 1)
    with np.errstate(invalid="ignore"):
        across = left - mount.left_m + offset_m - bend_per_m * ahead**2 / 2
        image = np.where(np.isfinite(ahead), 95.0, 190.0)
        for line, is_dashed in ((-1.5, False), (-0.5, True), (0.5, True), (1.5, False)):
            marks = np.abs(across - line * LANE_M) < 0.075
            if is_dashed:
                marks &= np.mod(ahead, 12.0) < 4.0
            image[marks & (ahead < 90)] = 215.0
    soft = cv2.GaussianBlur(image, (0, 0), 0.7)
    noisy = soft + np.random.default_rng(1).normal(0, 2.5, soft.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def found(image: NDArray[np.uint8], intrinsics: Intrinsics, **settings: float) -> RoadMount:
    return mount_from_road(image, intrinsics, MountConfig(camera="c.yaml", picture="r.jpg", **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("truth", "distortion"),
    [
        (Mount(1.45, math.radians(3.0), math.radians(-2.0)), np.zeros(5)),
        (Mount(2.2, math.radians(-2.0), math.radians(4.0)), np.zeros(5)),
        (Mount(1.3, 0.02, 0.01, math.radians(2.0), 1.7, 0.25), np.array([-0.25, 0.05, 0.001, -0.001, 0.0])),
    ],
)
def test_mount_is_found_from_a_straight_road(truth: Mount, distortion: NDArray[np.float64]) -> None:
    intrinsics = Intrinsics(WH, K, "plumb_bob", distortion)
    own = {"roll_deg": math.degrees(truth.roll_rad), "forward_m": truth.forward_m, "left_m": truth.left_m}

    image = road(truth, intrinsics)

    by_lane = found(image, intrinsics, lane_width_m=LANE_M, **own)

    assert math.degrees(abs(by_lane.mount.pitch_rad - truth.pitch_rad)) < 0.1
    assert math.degrees(abs(by_lane.mount.yaw_rad - truth.yaw_rad)) < 0.1
    assert by_lane.mount.height_m == pytest.approx(truth.height_m, rel=0.02)
    assert by_lane.offset_left_m == pytest.approx(0.3, abs=0.05)
    by_height = found(image, intrinsics, height_m=truth.height_m, **own)
    assert by_height.lane_width_m == pytest.approx(LANE_M, rel=0.02)
    assert by_height.mount.height_m == truth.height_m


def straightest(world: World) -> int:
    """The frame in which the built-in road is straightest, and the camera in the middle of a lane."""

    def bend(frame: int) -> float:
        view = View(world, frame / 30, WH)
        ahead = (view.grid_z > 5) & (view.grid_z < 60)
        z = view.grid_z[ahead]
        curves = [abs(float(np.polyfit(z, off[ahead], 2)[0])) for off in (view.grid_x, view.grid_y)]
        return sum(curves) + (abs(view.d_m / world.road.lane_width_m % 1 - 0.5) > 0.25)

    return min(range(0, 3300, 15), key=bend)


@pytest.mark.parametrize("seed", [2, 3, 5])
def test_mount_is_found_from_a_frame_of_the_built_in_road(seed: int) -> None:
    renderer = DriveRenderer("highway", WH, 30.0, seed)
    world = World(SCENES["highway"], renderer.road_seed("highway"))
    frame = straightest(world)
    view = View(world, frame / 30, WH)
    image, _ = renderer.render(frame)
    middle = (np.array(WH) - 1) / 2
    intrinsics = Intrinsics(WH, np.array([[view.f, 0, middle[0]], [0, view.f, middle[1]], [0, 0, 1]]))
    side, up = (np.interp([8.0, 40.0], view.grid_z, off) for off in (view.grid_x, view.grid_y))
    ahead = np.array([view.cx + view.f * np.diff(side)[0] / 32, view.cy - view.f * np.diff(up)[0] / 32])
    turn = cv2.getRotationMatrix2D((middle[0], middle[1]), math.degrees(view.roll_rad), 1.0)
    pitch_rad, yaw_rad = angles_of((turn @ [*ahead, 1] - middle) / view.f, view.roll_rad)

    by_lane = found(
        image, intrinsics, lane_width_m=world.road.lane_width_m, roll_deg=math.degrees(view.roll_rad)
    )

    assert math.degrees(abs(by_lane.mount.pitch_rad - pitch_rad)) < 0.15
    assert math.degrees(abs(by_lane.mount.yaw_rad - yaw_rad)) < 0.15
    assert by_lane.mount.height_m == pytest.approx(world.camera_height_m, rel=0.03)


def test_angles_are_those_that_the_mount_has() -> None:
    truth = Mount(1.0, 0.1, -0.07, 0.04)
    ahead = truth.vehicle_from_camera.T @ (1, 0, 0)

    assert angles_of(ahead[:2] / ahead[2], 0.04) == pytest.approx((0.1, -0.07))


def test_lines_by_hand_do_where_none_are_seen() -> None:
    intrinsics = Intrinsics(WH, K)
    truth = Calibration(intrinsics, Mount(1.5, 0.03, 0.01))
    left, right = (truth.image_of(np.array([[6.0, at], [40.0, at]])).ravel().tolist() for at in (1.5, -2.1))
    grey = np.full((720, 1280, 3), 90, np.uint8)

    by_hand = found(grey, intrinsics, height_m=1.5, left_line=tuple(left), right_line=tuple(right))  # type: ignore[arg-type]

    assert by_hand.mount.pitch_rad == pytest.approx(0.03, abs=1e-6)
    assert by_hand.mount.yaw_rad == pytest.approx(0.01, abs=1e-6)
    assert by_hand.lane_width_m == pytest.approx(3.6, abs=1e-6)
    with pytest.raises(CalibrationError, match=r"of markings that meet ahead there is none.*--left_line"):
        found(grey, intrinsics, height_m=1.5)


def test_road_that_bends_is_refused() -> None:
    intrinsics = Intrinsics(WH, K)
    image = road(Mount(1.45, 0.02), intrinsics, bend_per_m=1 / 250)

    with pytest.raises(CalibrationError, match=r"not straight and level|direction of the road is not known"):
        found(image, intrinsics, height_m=1.45)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a camera and a road."""
    monkeypatch.chdir(tmp_path)
    intrinsics = Intrinsics(WH, K)
    save_calibration("camera.yaml", Calibration(intrinsics))
    cv2.imwrite("road.png", road(Mount(1.45, 0.03), intrinsics))
    return tmp_path


def test_command_writes_the_camera_with_its_mount(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mount", "camera.yaml", "road.png", "--lane_width", "3.6"]) == 0

    mounted = load_calibration("mounted.yaml")
    assert mounted.mount is not None
    assert mounted.mount.height_m == pytest.approx(1.45, rel=0.02)
    assert np.array_equal(mounted.intrinsics.camera_matrix, K)
    said = capsys.readouterr().out
    assert "mount: height 1.4" in said
    assert "the camera 0.3" in said
    picture = cv2.imread("mounted.png")
    assert picture is not None
    assert picture.shape == (720, 1280, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("camera.yaml", "picture is missing"),
        ("camera.yaml road.png", "--height or --lane_width is expected"),
        ("camera.yaml road.png --height 20", "height_m is 20"),
        ("camera.yaml road.png --height 1.5 --out camera.yaml", "camera.yaml is the camera"),
        ("camera.yaml road.png --height 1.5 --check road.png", "road.png is the picture"),
        ("camera.yaml road.png --height 1.5 --left_line 1,2,3,4", "belong together"),
        ("camera.yaml camera.yaml --height 1.5", "camera.yaml"),
        ("grey.png road.png --height 1.5", "grey.png: cannot be read: it is not UTF-8 text"),
        (
            "camera.yaml square.png --height 1.5",
            "camera.yaml: it is of pictures of 1280x720, and these are 300x300",
        ),
        ("camera.yaml grey.png --height 1.5", "grey.png: the direction of the road is not known"),
    ],
)
def test_mount_that_cannot_be_found_is_one_line(
    arguments: str, message: str, place: Path, only_error_line: ErrorLine
) -> None:
    cv2.imwrite("square.png", np.full((300, 300, 3), 90, np.uint8))
    cv2.imwrite("grey.png", np.full((720, 1280, 3), 90, np.uint8))

    is_content = "png: " in message or message == "camera.yaml" or "pictures of" in message
    assert main(["mount", *arguments.split()]) == (1 if is_content else 2)

    assert message in only_error_line("drivable-calibrate")
    assert not Path("mounted.yaml").exists()
