"""Files of calibration of every kind: what is in them is read, and what is wrong is one line."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from bags import FIRST_NS, header, image, write_bag
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from perception.node import main
from perception.scene.calibration import (
    Calibration,
    CalibrationError,
    Intrinsics,
    Mount,
    NoPictureSizeError,
)
from perception.scene.calibration_file import load_calibration, save_calibration
from perception.scene.settings import CalibrationSettings, RunCalibration

K = np.array([[1155.9, 0, 672.2], [0, 1150.6, 388.6], [0, 0, 1]])
DISTORTION = np.array([-0.248, -0.02, -0.001, 1.5e-05, 0.009])
MOUNT = Mount(1.45, 0.03, -0.02, 0.01, 1.7, -0.1)

ROS = """\
image_width: 1280
image_height: 720
camera_name: front
camera_matrix:
  rows: 3
  cols: 3
  data: [1155.9, 0, 672.2, 0, 1150.6, 388.6, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.248, -0.02, -0.001, 1e-05, 0.009]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [1155.9, 0, 672.2, 0, 0, 1150.6, 388.6, 0, 0, 0, 1, 0]
"""
"""As camera_calibration_parsers writes it."""


def written(tmp_path: Path, text: str, name: str = "camera.yaml") -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def test_camera_info_of_ros_is_read(tmp_path: Path) -> None:
    calibration = load_calibration(written(tmp_path, ROS))

    assert calibration.intrinsics.frame_wh == (1280, 720)
    assert np.array_equal(calibration.intrinsics.camera_matrix, K)
    assert calibration.intrinsics.distortion.tolist() == [-0.248, -0.02, -0.001, 1e-05, 0.009]
    assert calibration.mount is None


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("plumb_bob", DISTORTION),
        ("rational_polynomial", np.array([0.3, -0.05, 1e-07, 0, 0.002, 0.55, -0.03, 0.001])),
        ("equidistant", np.array([0.03, -0.012, 0.004, -0.001])),
    ],
)
def test_what_is_saved_is_read_again_exactly(tmp_path: Path, model: str, distortion: np.ndarray) -> None:
    file = tmp_path / "camera.yaml"
    calibration = Calibration(Intrinsics((1280, 720), K, model, distortion), MOUNT)  # type: ignore[arg-type]

    save_calibration(file, calibration, "front", ["made by a test"])
    again = load_calibration(file)

    assert again.mount == MOUNT
    assert again.intrinsics.distortion_model == model
    assert np.array_equal(again.intrinsics.camera_matrix, K)
    assert np.array_equal(again.intrinsics.distortion, distortion)


def test_what_is_saved_is_plain_yaml_with_rosnames(tmp_path: Path) -> None:
    file = tmp_path / "camera.yaml"
    save_calibration(file, Calibration(Intrinsics((1280, 720), K, "plumb_bob", DISTORTION), MOUNT), "front")

    values = yaml.safe_load(file.read_text())

    assert list(values) == [
        *("image_width", "image_height", "camera_name", "camera_matrix", "distortion_model"),
        *("distortion_coefficients", "rectification_matrix", "projection_matrix", "mount"),
    ]
    assert values["distortion_coefficients"] == {"rows": 1, "cols": 5, "data": DISTORTION.tolist()}
    assert values["projection_matrix"]["data"][3::4] == [0, 0, 0]
    assert values["mount"]["height_m"] == 1.45


def test_existing_file_is_kept(tmp_path: Path) -> None:
    file = written(tmp_path, "mine")
    calibration = Calibration(Intrinsics((1280, 720), K))

    save_calibration(file, calibration)
    save_calibration(file, calibration, overwrite=True)

    assert (tmp_path / "camera.1.yaml").read_text() == "mine"
    assert sorted(it.name for it in tmp_path.iterdir()) == ["camera.1.yaml", "camera.yaml"]


def test_mount_may_be_in_degrees(tmp_path: Path) -> None:
    mount = load_calibration(written(tmp_path, ROS + "mount: {height_m: 1.5, pitch_deg: 2}\n")).mount

    assert mount == Mount(1.5, math.radians(2))


def test_opencvs_own_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "opencv.yml"
    storage = cv2.FileStorage(str(file), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 1280)
    storage.write("image_height", 720)
    storage.write("camera_matrix", K)
    storage.write("distortion_coefficients", DISTORTION[:, None])
    storage.release()

    intrinsics = load_calibration(file).intrinsics

    assert np.allclose(intrinsics.camera_matrix, K)
    assert np.allclose(intrinsics.distortion, DISTORTION)


def test_no_distortion_is_one_of_zeros_and_zeros_may_follow(tmp_path: Path) -> None:
    def distortion(data: str, count: int) -> list[float]:
        old = "cols: 5\n  data: [-0.248, -0.02, -0.001, 1e-05, 0.009]"
        text = ROS.replace(old, f"cols: {count}\n  data: [{data}]")
        return load_calibration(written(tmp_path, text)).intrinsics.distortion.tolist()  # type: ignore[no-any-return]

    assert distortion("", 0) == [0] * 5
    assert distortion("1, 2, 3, 4, 5, 0, 0, 0", 8) == [1, 2, 3, 4, 5]
    with pytest.raises(CalibrationError, match="has 4 or 5 coefficients, and there are 8"):
        distortion("1, 2, 3, 4, 5, 6, 0, 0", 8)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1155.9, 0, 672.2, 0, 1150.6", "0, 0, 672.2, 0, 1150.6", "the camera matrix is singular"),
        ("[1155.9, 0, 672.2, 0, 1150.6", "[-1155.9, 0, 672.2, 0, 1150.6", "have to be above 0"),
        ("[1155.9, 0, 672.2", "[.nan, 0, 672.2", "the camera matrix is not finite"),
        ("-0.248", "nan", "the distortion is not finite"),
        ("model: plumb_bob", "model: fisheye2", "fisheye2 is none of plumb_bob, rational_polynomial, equidi"),
        ("model: plumb_bob", "model: equidistant", "equidistant has 4 coefficients, and there are 5"),
        ("image_width: 1280\n", "", "image_width is missing"),
        (
            "image_width: 1280",
            "image_width: 1280.5",
            "line 1: image_width is 1280.5; a whole number is expected",
        ),
        ("image_width: 1280", "image_width: 0", "its pictures are 0x720 px; both have to be above 0"),
        ("672.2, 0, 1150.6, 388.6, 0, 0, 1]\ndist", "672.2]\ndist", "camera_matrix is 3x3 and has 3 values"),
        (
            "1150.6, 388.6, 0, 0, 1]\ndist",
            "wide, 388.6, 0, 0, 1]\ndist",
            "line 7: camera_matrix holds what is",
        ),
        (
            "rows: 3\n  cols: 3\n  data: [1155",
            "rows: 1\n  cols: 9\n  data: [1155",
            "is 1x9; 3 rows and 3 col",
        ),
        ("camera_matrix:", "camera_matrices:", "it has neither camera_matrix, as ROS's camera_info, nor P2"),
        ("camera_name: front", "camera_name: [", "is no file of calibration: in line"),
        ("camera_name: front", "image_width: 3", "a setting occurs twice, in lines 1 and 3"),
    ],
)
def test_camera_info_that_cannot_be_used_is_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert ROS.count(old) >= 1
    file = written(tmp_path, ROS.replace(old, new, 1))

    with pytest.raises(CalibrationError) as caught:
        load_calibration(file)

    line = str(caught.value)
    assert line.startswith(f"{file}: ")
    assert message in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("{height_m: 1.5, pitch_rad: 2}", "pitch_rad is 2 (115°), out of range"),
        ("{height_m: -1}", "height_m is -1; a camera's height is 0.1 to 10 m"),
        ("{pitch_rad: 0.1}", "mount has no height_m"),
        ("{height_m: 1.5, hight: 2}", "unknown value hight in mount; the nearest known one is height_m"),
        ("{height_m: 1.5, pitch_rad: 0, pitch_deg: 1}", "in radians and in degrees; leave one out"),
        ("{height_m: high}", "height_m holds what is no number"),
        ("1.5", "mount needs values of its own"),
    ],
)
def test_mount_that_cannot_be_used_is_one_line(tmp_path: Path, mount: str, message: str) -> None:
    with pytest.raises(CalibrationError) as caught:
        load_calibration(written(tmp_path, f"{ROS}mount: {mount}\n"))

    assert message in str(caught.value)


def test_what_is_no_calibration_is_one_line(tmp_path: Path) -> None:
    for content, message in (
        (b"\x89PNG\r\n\x1a\n\0\0", "cannot be read: it is not UTF-8 text"),
        (b"", "it holds no `name: value`"),
        (b"- 1\n- 2\n", "it holds no `name: value`"),
        (b"model: rt_s\n", "it has neither camera_matrix"),
    ):
        file = tmp_path / "other.yaml"
        file.write_bytes(content)
        with pytest.raises(CalibrationError, match=message):
            load_calibration(file)
    with pytest.raises(CalibrationError, match=r"missing\.yaml: cannot be read: No such file"):
        load_calibration(tmp_path / "missing.yaml")
    with pytest.raises(CalibrationError, match="no file of calibration, but a device or a pipe"):
        load_calibration("/dev/null")


def test_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")

    with pytest.raises(CalibrationError, match="no file of calibration, but a device or a pipe"):
        load_calibration(tmp_path / "pipe.yaml")


# --- VisionPilot's H.yaml ------------------------------------------------------------------------------


def homography(calibration: Calibration) -> np.ndarray:
    """(3, 3) from pixels to forward and left of a camera without distortion."""
    mount = calibration.mount
    assert mount is not None
    camera_from_vehicle = mount.vehicle_from_camera.T
    shift = -camera_from_vehicle @ mount.position_m
    image_from_ground = calibration.intrinsics.camera_matrix @ np.column_stack(
        [camera_from_vehicle[:, :2], shift]
    )
    ground_from_image = np.linalg.inv(image_from_ground)
    return np.asarray(ground_from_image / ground_from_image[2, 2])


def h_yaml(matrix: np.ndarray) -> str:
    """As VisionPilot has it: OpenCV's FileStorage."""
    data = ", ".join(f"{value:.15e}" for value in matrix.ravel())
    return (
        f"%YAML:1.0\n---\n# to BEV\nH: !!opencv-matrix\n  rows: 3\n  cols: 3\n  dt: d\n  data: [ {data} ]\n"
    )


@pytest.mark.parametrize("mount", [Mount(1.5), MOUNT, Mount(2.1, -0.05, 0.03, -0.02)])
def test_homography_gives_the_camera_and_its_mount(tmp_path: Path, mount: Mount) -> None:
    matrix = np.array([[1108.5, 0, 639.5], [0, 1108.5, 359.5], [0, 0, 1]])
    truth = Calibration(Intrinsics((1280, 720), matrix), mount)
    file = written(tmp_path, h_yaml(homography(truth)), "H.yaml")

    found = load_calibration(file, (1280, 720))

    assert found.mount is not None
    assert found.intrinsics.focal_px[0] == pytest.approx(1108.5, rel=1e-3)
    assert np.allclose(list(vars(found.mount).values()), list(vars(mount).values()), atol=2e-3)
    ground = np.array([[8.0, 1.0], [20.0, -2.0], [40.0, 0.0]])
    assert np.allclose(found.ground_of(truth.image_of(ground)), ground, rtol=2e-3, atol=5e-3)


def test_homography_that_no_centred_camera_has_still_maps_the_ground(tmp_path: Path) -> None:
    """As VisionPilot's own, which was fitted to data: its directions disagree by some degrees."""
    matrix = np.array([[1080.0, 0, 820.0], [0, 1080.0, 340.0], [0, 0, 1]])
    truth = Calibration(Intrinsics((1280, 720), matrix), Mount(2.1, -0.05, -0.17, -0.01, 1.5))

    found = load_calibration(written(tmp_path, h_yaml(homography(truth)), "H.yaml"), (1280, 720))

    ground = np.array([[8.0, 1.0], [20.0, -2.0], [40.0, 0.0]])
    assert np.allclose(found.ground_of(truth.image_of(ground)), ground, rtol=2e-3, atol=5e-3)
    assert found.mount is not None
    assert found.mount.height_m == pytest.approx(2.1, rel=0.02)


def test_homography_with_y_to_the_right_is_the_same_camera(tmp_path: Path) -> None:
    matrix = np.array([[1108.5, 0, 639.5], [0, 1108.5, 359.5], [0, 0, 1]])
    mirrored = np.diag([1.0, -1, 1]) @ homography(Calibration(Intrinsics((1280, 720), matrix), MOUNT))
    text = f"H: [{', '.join(map(str, (-3 * mirrored).ravel().tolist()))}]\n"

    found = load_calibration(written(tmp_path, text, "H.yaml"), (1280, 720))

    assert found.mount is not None
    assert found.mount.left_m == pytest.approx(-0.1, abs=2e-3)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((3, 3)), "H is singular"),
        (np.diag([1.0, 1.0, 0.0]), "H is singular"),
        (np.full((3, 3), np.nan), "H is not finite"),
        (np.eye(3), "H gives no ground ahead|H is not that of a camera"),
        (
            np.array(
                [
                    [6.416e-04, -2.4957e-03, -6.05301470],
                    [3.3656e-03, 6.81e-05, -3.0798935],
                    [1.66e-05, -5.48269967e02, 9.728021e-01],
                ]
            ),
            "H is not that of a camera",  # OpenCV raises an error of its own here
        ),
    ],
)
def test_homography_that_is_of_no_camera_is_one_line(
    tmp_path: Path, matrix: np.ndarray, message: str
) -> None:
    with pytest.raises(CalibrationError, match=message):
        load_calibration(written(tmp_path, h_yaml(matrix), "H.yaml"), (1280, 720))


def test_file_without_a_picture_size_says_so(tmp_path: Path) -> None:
    matrix = np.array([[1108.5, 0, 639.5], [0, 1108.5, 359.5], [0, 0, 1]])
    file = written(
        tmp_path, h_yaml(homography(Calibration(Intrinsics((1280, 720), matrix), MOUNT))), "H.yaml"
    )

    with pytest.raises(
        NoPictureSizeError, match=r"H\.yaml: does not say of which pictures .*--calibration_size"
    ):
        load_calibration(file)


# --- KITTI ---------------------------------------------------------------------------------------------

KITTI = """\
P0: 7.215377e+02 0 6.095593e+02 0 0 7.215377e+02 1.72854e+02 0 0 0 1 0
P2: 7.215377e+02 0 6.095593e+02 4.485728e+01 0 7.215377e+02 1.72854e+02 2.163791e-01 0 0 1 2.745884e-03
R0_rect: 9.999239e-01 9.83776e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 -4.278459e-03 7.402527e-03 \
4.351614e-03 9.999631e-01
Tr_velo_to_cam: 7.533745e-03 -9.999714e-01 -6.166020e-04 -4.069766e-03 1.480249e-02 7.280733e-04 \
-9.998902e-01 -7.631618e-02 9.998621e-01 7.523790e-03 1.480755e-02 -2.717806e-01
"""
KITTI_ROAD = """\
Tr_cam_to_road: 9.999044710077e-01 -1.170165577363e-02 -7.360826724365e-03 1.911984983337e-02 \
1.160251828357e-02 9.998432738993e-01 -1.336987011872e-02 -1.562198078590e+00 7.516122576373e-03 \
1.328318612284e-02 9.998834806284e-01 2.752775890648e-01
"""


def test_kitti_sees_the_road_where_its_own_formula_does(tmp_path: Path) -> None:
    calibration = load_calibration(written(tmp_path, KITTI + KITTI_ROAD, "um_000010.txt"), (1242, 375))
    values = {
        line.split(":")[0]: np.array(line.split(":")[1].split(), float)
        for line in (KITTI + KITTI_ROAD).splitlines()
    }
    p2 = values["P2"].reshape(3, 4)
    rectify, road = np.eye(4), np.eye(4)
    rectify[:3, :3] = values["R0_rect"].reshape(3, 3)
    road[:3] = values["Tr_cam_to_road"].reshape(3, 4)

    ground = np.array([[8.0, 1.5], [20.0, -3.0], [40.0, 0.0]])
    points = np.column_stack([-ground[:, 1], np.zeros(3), ground[:, 0], np.ones(3)])  # x right, y down
    pixels = points @ (p2 @ rectify @ np.linalg.inv(road)).T

    assert np.allclose(calibration.image_of(ground), pixels[:, :2] / pixels[:, 2:], atol=0.05)
    assert calibration.mount is not None
    assert 1.5 < calibration.mount.height_m < 1.7


def test_kitti_without_the_road_knows_no_mount(tmp_path: Path) -> None:
    calibration = load_calibration(written(tmp_path, KITTI, "calib.txt"), (1242, 375))

    assert calibration.mount is None
    assert calibration.intrinsics.focal_px == (721.5377, 721.5377)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("P2: 7.215377e+02", "P2: nan", "not finite"),
        ("P2: 7.215377e+02", "P2: -7.215377e+02", "have to be above 0"),
        ("P2: 7.215377e+02 0", "P2: 7.215377e+02", "P2 has 11 values; 12 are expected"),
        ("R0_rect: 9.999239e-01", "R0_rect: 5", "R0_rect is no rotation"),
        ("R0_rect", "R1_rect", "R0_rect is missing"),
        (
            "Tr_cam_to_road: 9.999044710077e-01",
            "Tr_cam_to_road: one",
            "Tr_cam_to_road holds what is no number",
        ),
    ],
)
def test_kitti_that_cannot_be_used_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (KITTI + KITTI_ROAD).replace(old, new)

    with pytest.raises(CalibrationError, match=message):
        load_calibration(written(tmp_path, text, "calib.txt"))  # before its pictures' size is asked for


def test_size_that_is_not_kittis_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CalibrationError, match="is not of pictures of 2484x750: its axis goes through 610, 173"
    ):
        load_calibration(written(tmp_path, KITTI, "calib.txt"), (2484, 750))


# --- CameraInfo in a bag -------------------------------------------------------------------------------

INFO = "sensor_msgs/msg/CameraInfo"


def bag_with(path: Path, topics: dict[str, np.ndarray], binning: int = 0) -> Path:
    """A bag with CameraInfo of these camera matrices."""
    store = get_typestore(Stores.ROS2_JAZZY)
    roi = store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, matrix in topics.items():
            connection = writer.add_connection(topic, INFO, typestore=store)
            message = store.types[INFO](
                *(header(store, FIRST_NS), 720, 1280, "plumb_bob", DISTORTION, matrix.ravel()),
                *(np.eye(3).ravel(), np.zeros(12), binning, 0, roi),
            )
            writer.write(connection, FIRST_NS, store.serialize_cdr(message, INFO))
    return path


def test_camera_info_in_a_bag_is_read(tmp_path: Path) -> None:
    one = load_calibration(bag_with(tmp_path / "one", {"/front/camera_info": K}))
    two = bag_with(tmp_path / "two", {"/front/camera_info": K, "/rear/camera_info": 2 * K})

    assert np.array_equal(one.intrinsics.camera_matrix, K)
    assert np.array_equal(one.intrinsics.distortion, DISTORTION)
    assert one.mount is None
    assert np.array_equal(load_calibration(f"{two}#/front/camera_info").intrinsics.camera_matrix, K)
    with pytest.raises(
        CalibrationError, match=r"there are 2: /front/camera_info, /rear/camera_info; name one"
    ):
        load_calibration(two)
    with pytest.raises(
        CalibrationError, match=r"two#/side: has no sensor_msgs/msg/CameraInfo at /side; it has /front"
    ):
        load_calibration(f"{two}#/side")


def test_camera_info_that_cannot_be_used_is_one_line_too(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"/c: the camera is not calibrated: its matrix is all zeros"):
        load_calibration(bag_with(tmp_path / "zeros", {"/c": np.zeros((3, 3))}))
    with pytest.raises(CalibrationError, match="binning are not supported"):
        load_calibration(bag_with(tmp_path / "binned", {"/c": K}, binning=2))
    with pytest.raises(CalibrationError, match="of topics with sensor_msgs/msg/CameraInfo there are none"):
        load_calibration(write_bag(tmp_path / "pictures", image("bgr8")))


# --- The node's setting --------------------------------------------------------------------------------


def test_calibration_of_a_run_is_scaled_to_its_frames(tmp_path: Path) -> None:
    run = RunCalibration.of(CalibrationSettings(calibration=str(written(tmp_path, ROS))))

    assert run is not None
    assert run.at((640, 360)).intrinsics.focal_px[0] == pytest.approx(1155.9 / 2)
    with pytest.raises(
        CalibrationError, match=r"camera\.yaml: it is of pictures of 1280x720, and these are 640x"
    ):
        run.at((640, 480))
    assert RunCalibration.of(CalibrationSettings()) is None


def test_size_that_no_file_names_is_the_sources_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path, KITTI, "calib.txt")

    run = RunCalibration(CalibrationSettings(calibration=str(file)))
    assert run.at((1242, 375)).intrinsics.focal_px[0] == pytest.approx(721.5377)

    assert "calib.txt: does not say of which pictures it is" in caplog.text
    named = RunCalibration(CalibrationSettings(calibration=str(file), calibration_size_wh=(1242, 375)))
    assert named.at((621, 188)).intrinsics.focal_px[0] == pytest.approx(721.5377 / 2)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ("missing.yaml", "missing.yaml: cannot be read: No such file or directory"),
        (
            "camera.yaml",
            "camera.yaml: it is of pictures of 1280x720, and these are 320x240, of another shape",
        ),
        ("pitch.yaml", "pitch.yaml: pitch_rad is 2 (115°), out of range"),
    ],
)
def test_node_refuses_a_calibration_in_one_line_before_anything_is_written(
    calibration: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, ROS)
    written(tmp_path, ROS + "mount: {height_m: 1.5, pitch_rad: 2}\n", "pitch.yaml")
    line = f"synthetic --synthetic.wh 320x240 --max-frames 1 --model rt_s-int8 --calibration {calibration}"

    assert main([*line.split(), "--jsonl", "records.jsonl"]) == 1

    assert message in only_error_line("drivable-node")
    assert not (tmp_path / "records.jsonl").exists()


def test_node_does_not_write_over_its_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_error_line: Callable[[str], str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, ROS)

    assert (
        main(["synthetic", "--max-frames", "1", "--calibration", "camera.yaml", "--jsonl", "camera.yaml"])
        == 2
    )

    assert "camera.yaml is the calibration; name another file with --jsonl" in only_error_line(
        "drivable-node"
    )
    assert (tmp_path / "camera.yaml").read_text() == ROS
