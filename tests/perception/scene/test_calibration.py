"""A camera's rays, pixels and ground, against OpenCV and against geometry by hand."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from perception.scene.calibration import (
    PITCH_LIMIT_RAD,
    Calibration,
    CalibrationError,
    Intrinsics,
    Mount,
)

WH = (1280, 720)
K = np.array([[1156.0, 0, 665.0], [0, 1152.0, 389.0], [0, 0, 1]])
LENSES = {
    "plumb_bob": np.array([-0.25, -0.02, -0.001, 0.0005, 0.01]),
    "rational_polynomial": np.array([0.3, -0.05, 0.001, -0.0004, 0.002, 0.55, -0.03, 0.001]),
    "equidistant": np.array([0.03, -0.012, 0.004, -0.001]),
}


def grid(wh: tuple[int, int] = WH) -> np.ndarray:
    u, v = np.meshgrid(np.linspace(0, wh[0] - 1, 17), np.linspace(0, wh[1] - 1, 9))
    return np.column_stack([u.ravel(), v.ravel()])


@pytest.mark.parametrize("model", LENSES)
def test_rays_of_pixels_are_projected_back(model: str) -> None:
    intrinsics = Intrinsics(WH, K, model, LENSES[model])  # type: ignore[arg-type]

    rays = intrinsics.rays_of(grid())
    back = intrinsics.project(np.column_stack([7 * rays, np.full(len(rays), 7.0)]))

    assert np.abs(back - grid()).max() < 0.01


@pytest.mark.parametrize("model", LENSES)
def test_pixels_are_opencvs(model: str) -> None:
    intrinsics = Intrinsics(WH, K, model, LENSES[model])  # type: ignore[arg-type]
    points = np.array([[0.4, 0.2, 2.0], [-1.0, 0.3, 5.0], [0.0, 0.0, 1.0]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints

    expected = project(points[:, None], np.zeros(3), np.zeros(3), K, LENSES[model])[0].reshape(-1, 2)

    assert np.allclose(intrinsics.project(points), expected)


def test_what_lies_behind_or_where_the_model_folds_back_has_no_pixel() -> None:
    intrinsics = Intrinsics(WH, K, "plumb_bob", LENSES["plumb_bob"])

    pixels = intrinsics.project(np.array([[0.1, 0.1, -1.0], [0, 0, 0], [5.0, 0, 1.0], [0.1, 0, 1.0]]))

    assert np.isnan(pixels).all(axis=1).tolist() == [True, True, True, False]
    assert 0.9 < intrinsics.reach < 1.4  # 1 - 0.75 r² - 0.1 r⁴ + 0.07 r⁶ is 0 there
    assert Intrinsics(WH, K).reach == math.inf


def test_pixel_that_no_direction_gives_has_no_ray() -> None:
    intrinsics = Intrinsics(WH, K, "plumb_bob", np.array([-0.4, 0, 0, 0, 0]))

    rays = intrinsics.rays_of(np.array([[4000.0, 389.0], [665.0, 389.0], [np.nan, 3.0]]))

    assert np.isnan(rays).all(axis=1).tolist() == [True, False, True]
    assert np.allclose(rays[1], 0)


def test_no_points_give_none() -> None:
    intrinsics = Intrinsics(WH, K)

    assert intrinsics.rays_of(np.zeros((0, 2))).shape == (0, 2)
    assert intrinsics.project(np.zeros((0, 3))).shape == (0, 2)


@pytest.mark.parametrize("to_wh", [(640, 360), (1920, 1080), (854, 480)])
def test_scaled_camera_sees_the_same_at_the_same_place(to_wh: tuple[int, int]) -> None:
    intrinsics = Intrinsics(WH, K, "plumb_bob", LENSES["plumb_bob"])
    points = np.array([[0.3, 0.2, 1.0], [-0.4, -0.1, 1.0]])

    before, after = (it.project(points) for it in (intrinsics, intrinsics.scaled_to(to_wh)))

    shares = [(pixels + 0.5) / wh for pixels, wh in ((before, WH), (after, to_wh))]
    assert np.allclose(*shares)


def test_picture_of_another_shape_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"1280x720, and these are 640x480, of another shape"):
        Intrinsics(WH, K).scaled_to((640, 480))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.diag([1156.0, 0, 1]), "singular"),
        (np.zeros((3, 3)), "singular"),
        (K * np.array([[-1], [1], [1]]), "both have to be above 0"),
        (np.where(K == 665, np.nan, K), "not finite"),
        (np.eye(2), "2x2; three rows of three"),
        (K + np.array([[0, 5, 0], [0, 0, 0], [0, 0, 0]]), r"no \[fx 0 cx"),
    ],
)
def test_matrix_that_is_of_no_camera_is_refused(matrix: np.ndarray, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        Intrinsics(WH, matrix)


def test_distortion_that_is_none_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"fisheye2 is none of plumb_bob, rational_polynomial, equi"):
        Intrinsics(WH, K, "fisheye2", np.zeros(4))  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="has 4 coefficients, and there are 5"):
        Intrinsics(WH, K, "equidistant", np.zeros(5))
    with pytest.raises(CalibrationError, match="not finite"):
        Intrinsics(WH, K, "plumb_bob", np.array([0, np.inf, 0, 0, 0]))
    with pytest.raises(CalibrationError, match="0x720"):
        Intrinsics((0, 720), K)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"height_m": 0.0}, "height_m is 0"),
        ({"height_m": math.nan}, "height_m is nan"),
        ({"height_m": 1.5, "pitch_rad": 0.6}, r"pitch_rad is 0.6 \(34.4°\), out of range"),
        ({"height_m": 1.5, "pitch_rad": math.nan}, "out of range"),
        ({"height_m": 1.5, "yaw_rad": -1.2}, "yaw_rad"),
        ({"height_m": 1.5, "left_m": 300}, "left_m is 300"),
    ],
)
def test_mount_that_no_camera_has_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        Mount(**values)


def ground_at(mount: Mount, pixel: tuple[float, float]) -> list[float]:
    return Calibration(Intrinsics(WH, K), mount).ground_of(np.array([pixel]))[0].tolist()


def test_ground_by_hand() -> None:
    """Level: a row so far below the axis as the height goes into the distance; to the left is positive."""
    forward, left = ground_at(Mount(1.5), (665 - 115.6, 389 + 172.8))

    assert forward == pytest.approx(10.0)
    assert left == pytest.approx(1.0)


def test_signs_are_those_of_rep_103() -> None:
    level = ground_at(Mount(1.5), (665, 561.8))

    assert ground_at(Mount(1.5, pitch_rad=0.02), (665, 561.8))[0] < level[0]  # nose down: nearer
    assert ground_at(Mount(1.5, yaw_rad=0.02), (665, 561.8))[1] > 0.1  # turned to the left
    right_lower = Mount(1.5, roll_rad=0.05)
    assert ground_at(right_lower, (665 + 200, 561.8))[0] < ground_at(right_lower, (665 - 200, 561.8))[0]
    assert ground_at(Mount(1.5, forward_m=1.7, left_m=-0.4), (665, 561.8)) == pytest.approx(
        [level[0] + 1.7, -0.4]
    )


def test_right_side_that_is_lower_sees_the_left_horizon_lower() -> None:
    """Roll about the axis that points forward, by the right hand: the left side goes up."""
    calibration = Calibration(Intrinsics(WH, K), Mount(1.5, roll_rad=0.05))

    far = calibration.image_of(np.array([[1e5, 2e4], [1e5, -2e4]]))

    assert far[0, 1] > far[1, 1]


def test_horizon_and_sky_are_no_ground() -> None:
    calibration = Calibration(Intrinsics(WH, K), Mount(1.5, pitch_rad=0.03))

    ground = calibration.ground_of(np.array([[665, 0], [665, 389 - 1152 * math.tan(0.03)], [665, 700]]))

    assert np.isnan(ground).all(axis=1).tolist() == [True, True, False]


@pytest.mark.parametrize("model", LENSES)
def test_ground_is_seen_where_it_was(model: str) -> None:
    mount = Mount(1.4, 0.03, -0.05, 0.02, 1.7, 0.2)
    calibration = Calibration(Intrinsics(WH, K, model, LENSES[model]), mount)  # type: ignore[arg-type]
    ground = np.array([[8.0, 0.0], [12.0, 2.5], [40.0, -3.0]])

    assert np.allclose(calibration.ground_of(calibration.image_of(ground)), ground, atol=2e-3)


def test_mount_of_the_moment_has_the_last_word() -> None:
    calibration = Calibration(Intrinsics(WH, K), Mount(1.5))
    pixel = np.array([[665, 561.8]])

    assert calibration.ground_of(pixel, Mount(3.0))[0, 0] == pytest.approx(20.0)
    with pytest.raises(CalibrationError, match="mount is not known"):
        Calibration(Intrinsics(WH, K)).ground_of(pixel)


def test_mount_is_found_again_from_its_pose() -> None:
    mount = Mount(1.4, 0.1, -0.2, 0.05, 1.7, 0.2)

    again = Mount.of_pose(mount.vehicle_from_camera, mount.position_m)

    assert np.allclose(list(vars(again).values()), list(vars(mount).values()))
    assert abs(mount.pitch_rad) < PITCH_LIMIT_RAD
