"""`drivable-calibrate` on rendered boards whose lens is known, and on public pictures of a chessboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rendered_boards import CORNERS_WH, FISHEYE, PINHOLE, TrueCamera, charuco, chessboard, pictures, write

from perception.calibrate.cli import main
from perception.scene.calibration import Mount
from perception.scene.calibration_file import load_calibration

PUBLIC = Path(__file__).parents[4] / "shared" / "data" / "chessboards_1280x720"
CHARUCO = ["--board", "charuco", "--square", "40mm", "--marker", "30mm"]
CORNERS = ["--corners", "{}x{}".format(*CORNERS_WH)]
VIEWS = 14

ErrorLine = Callable[[str], str]


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of pictures: `pinhole` and `fisheye` of a charuco board, `chess` of a chessboard."""
    folder = tmp_path_factory.mktemp("boards")
    write(folder / "pinhole", pictures(charuco(), PINHOLE, VIEWS))
    write(folder / "fisheye", pictures(charuco(), FISHEYE, VIEWS))
    write(folder / "chess", pictures(chessboard(), PINHOLE, VIEWS))
    return folder


@pytest.fixture
def place(boards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with links to the folders."""
    monkeypatch.chdir(tmp_path)
    for folder in boards.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    return tmp_path


def off(found: NDArray[np.float64], camera: TrueCamera) -> float:
    """Largest error of fx, fy, cx and cy, each as a share of its own."""
    places = ([0, 1, 0, 1], [0, 1, 2, 2])
    return float(np.abs(found[places] / camera.matrix[places] - 1).max())


@pytest.mark.parametrize(
    ("folder", "options", "camera", "model"),
    [
        ("pinhole", CHARUCO, PINHOLE, "plumb_bob"),
        ("fisheye", [*CHARUCO, "--lens", "fisheye"], FISHEYE, "equidistant"),
        ("chess", [], PINHOLE, "plumb_bob"),
    ],
)
def test_lens_is_found_again(
    folder: str,
    options: list[str],
    camera: TrueCamera,
    model: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([folder, *CORNERS, *options]) == 0

    intrinsics = load_calibration("camera.yaml").intrinsics
    assert intrinsics.distortion_model == model
    assert intrinsics.frame_wh == camera.frame_wh
    assert off(intrinsics.camera_matrix, camera) < 0.005
    said = capsys.readouterr().out
    size = "{}x{}".format(*camera.frame_wh)
    assert f"of {VIEWS} pictures of {size} show the board" in said
    assert cv2.imread("camera.png") is not None


@pytest.mark.skipif(not PUBLIC.exists(), reason="needs ../shared/data beside the checkout")
def test_public_chessboards_give_their_published_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main([f"{PUBLIC}/calibration*.jpg", "--corners", "9x6"]) == 0

    found = load_calibration("camera.yaml").intrinsics
    published = np.array([1155.9, 1150.6, 672.2, 388.6])
    assert np.abs(np.array([*found.focal_px, *found.centre_px]) / published - 1).max() < 0.005
    said = capsys.readouterr().out
    assert "17 of 20 pictures of 1280x720 show the board" in said
    assert "without: calibration1.jpg (9x5 of its 9x6 corners are seen), calibration4.jpg" in said


def test_sigmas_hold_the_truth(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pinhole", *CORNERS, *CHARUCO]) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    truth = {"fx": 520.0, "fy": 516.0, "cx": 327.0, "cy": 236.0}
    figures = {words[0]: (float(words[1]), float(words[4])) for words in lines if words and words[0] in truth}
    assert set(figures) == set(truth)
    for name, (value, sigma) in figures.items():
        assert 0 < sigma < 2
        assert abs(value - truth[name]) < 5 * sigma + 0.3  # rendering is not without error


def test_too_few_views_are_one_line_that_names_every_picture(place: Path, only_error_line: ErrorLine) -> None:
    folder = Path("few")
    views = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in sorted(Path("chess").glob("*.png"))[:9]]
    write(folder, [np.asarray(view, np.uint8) for view in views])
    cv2.imwrite("few/road.png", np.full((480, 640), 120, np.uint8))
    cv2.imwrite("few/night.png", np.full((480, 640), 5, np.uint8))

    assert main(["few", *CORNERS]) == 1

    line = only_error_line("drivable-calibrate")
    assert (
        "few: 9 good views in 11 pictures, and at least 10 are needed, of a chessboard of 7x5 inner" in line
    )
    assert "night.png (too dark)" in line
    assert "road.png (none found)" in line
    assert not Path("camera.yaml").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--corners", "6x4"], "a board of 7x5 inner corners"),
        (["--corners", "9x6"], "7x5 of its 9x6 corners are seen"),
        ([*CORNERS, *CHARUCO], "no marker of 5x5_100 found"),
    ],
)
def test_chessboard_that_is_another_is_one_line(
    options: list[str], reason: str, place: Path, only_error_line: ErrorLine
) -> None:
    assert main(["chess/board0[0-3].png", *options]) == 1

    assert reason in only_error_line("drivable-calibrate")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([*CORNERS, *CHARUCO, "--dictionary", "4x4_50"], "no marker of 4x4_50 found"),
        (["--corners", "9x4", *CHARUCO], "corners that fit the board"),
    ],
)
def test_charuco_board_that_is_another_is_one_line(
    options: list[str], reason: str, place: Path, only_error_line: ErrorLine
) -> None:
    assert main(["pinhole", *options]) == 1

    assert reason in only_error_line("drivable-calibrate")


def test_picture_of_another_shape_is_no_view_and_a_smaller_one_is(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views = [cv2.imread(str(file)) for file in sorted(Path("chess").glob("*.png"))]
    write(Path("mixed"), [np.asarray(view, np.uint8) for view in views[:12]])
    cv2.imwrite("mixed/half.png", cv2.resize(views[12], (320, 240), interpolation=cv2.INTER_AREA))
    cv2.imwrite("mixed/cut.png", views[13][:470])

    assert main(["mixed", *CORNERS]) == 0

    said = capsys.readouterr().out
    assert "of another size, scaled: half.png (320x240)" in said
    assert "cut.png (640x470 and not 640x480)" in said
    assert off(load_calibration("camera.yaml").intrinsics.camera_matrix, PINHOLE) < 0.006


def test_view_that_does_not_fit_is_left_out_and_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    views = [cv2.imread(str(file)) for file in sorted(Path("chess").glob("*.png"))]
    bent = np.asarray(views[4], np.uint8)
    v, u = np.indices(bent.shape[:2]).astype(np.float32)
    bent = np.asarray(cv2.remap(bent, u + 5 * np.sin(v / 30), v, cv2.INTER_LINEAR), np.uint8)
    write(Path("bent"), [bent if at == 4 else np.asarray(view, np.uint8) for at, view in enumerate(views)])

    assert main(["bent", *CORNERS]) == 0

    assert "left out, as it fits 4 times worse than the median: board04.png (rms" in capsys.readouterr().out
    assert off(load_calibration("camera.yaml").intrinsics.camera_matrix, PINHOLE) < 0.005


def test_views_that_are_all_alike_are_refused(place: Path, only_error_line: ErrorLine) -> None:
    one = pictures(chessboard(), PINHOLE, 1)[0]
    rng = np.random.default_rng(1)
    noisy = [np.clip(one + rng.normal(0, 3, one.shape), 0, 255).astype(np.uint8) for _ in range(12)]
    flat = [
        cv2.warpAffine(it, np.array([[1.0, 0, at], [0, 1, 0]]), (640, 480)) for at, it in enumerate(noisy)
    ]
    write(Path("alike"), [np.asarray(view, np.uint8) for view in flat])

    status = main(["alike", *CORNERS])

    assert status == 1
    assert "corners were seen in 20% of the picture, and at least 25% are needed" in only_error_line(
        "drivable-calibrate"
    )


def test_video_gives_views_that_differ(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each view is held still for a second, as somebody with a board would."""
    with av.open("board.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for file in sorted(Path("chess").glob("*.png")):
            for _ in range(6):
                frame = av.VideoFrame.from_ndarray(np.asarray(cv2.imread(str(file)), np.uint8), "bgr24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    assert main(["board.mp4", *CORNERS]) == 0

    said = capsys.readouterr()
    assert int(said.out.split()[0]) >= 10
    assert "views taken from" in said.out
    assert "of the picture covered" in said.err
    assert off(load_calibration("camera.yaml").intrinsics.camera_matrix, PINHOLE) < 0.006


def test_mount_is_written_and_existing_files_are_kept(place: Path) -> None:
    Path("camera.yaml").write_text("mine")
    Path("camera.png").write_text("mine too")
    mount = ["--height", "145cm", "--pitch", "2", "--yaw", "-1", "--forward", "1.7", "--left", "-0.1"]

    assert main(["chess", *CORNERS, *mount, "--name", "front"]) == 0

    calibration = load_calibration("camera.yaml")
    assert calibration.mount is not None
    wanted = Mount(1.45, np.radians(2), np.radians(-1), 0.0, 1.7, -0.1)
    assert np.allclose(list(vars(calibration.mount).values()), list(vars(wanted).values()))
    assert Path("camera.1.yaml").read_text() == "mine"
    assert Path("camera.1.png").read_text() == "mine too"
    assert "camera_name: front" in Path("camera.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("chess", "corners_wh is missing"),
        ("chess --corners 1x6", "corners_wh is 1x6"),
        ("chess --corners 7x5 --board charuco", "needs the sides of its squares and markers"),
        ("chess --corners 7x5 --board charuco --square 3cm --marker 4cm", "markers are the smaller ones"),
        ("chess --corners 7x5 --marker 4cm", "add --board charuco"),
        (
            "chess --corners 7x5 --board charuco --square 3cm --marker 2cm --dictionary 9x9",
            "known are 4x4_50",
        ),
        ("chess --corners 7x5 --height 1.5 --pitch 40", "pitch_rad is 0.698132 (40°), out of range"),
        ("chess --corners 7x5 --out camera.txt", "must end in .yaml"),
        ("chess --corners 7x5 --coverage chess/board03.png", "is a picture of the source"),
        ("nowhere --corners 7x5", "nowhere"),
        ("mout camera.yaml road.jpg", "the nearest command is mount"),
        ("chess --fisheye", "here it is --lens fisheye"),
        ("--corners 7x5", "no source is named"),
    ],
)
def test_command_that_cannot_be_run_is_one_line(
    arguments: str, message: str, place: Path, only_error_line: ErrorLine
) -> None:
    assert main(arguments.split()) == (1 if message == "nowhere" else 2)

    assert message in only_error_line("drivable-calibrate")
    assert not Path("camera.yaml").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["mount", "--help"]])
def test_help_explains_every_setting_with_its_unit(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)

    said = capsys.readouterr().out
    assert "--height METRES" in said
    assert "--roll" in said


def test_without_arguments_it_shows_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2

    assert "drivable-calibrate boards/ --corners 9x6" in capsys.readouterr().err
