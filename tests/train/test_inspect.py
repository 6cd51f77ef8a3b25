"""`drivable-train inspect` finds what was planted, and nothing where nothing was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.labels import COLOURS_RGB, DIRECT
from train.cli import main
from train.data.contact_sheet import contact_sheet
from train.data.duplicates import alike, digest_of, fingerprint_of, same
from train.data.layouts import open_frames

REPOSITORY = Path(__file__).parents[2]
WIDTH, HEIGHT = 160, 90
TITLE = 14  # width of the table's first column


def view(seed: int, level: int = 120) -> NDArray[np.uint8]:
    """(90, 160, 3) BGR of large blotches, at a mean level."""
    blotches = np.random.default_rng(seed).normal(level, 25, (18, 32)).clip(0, 255).astype(np.uint8)
    return np.asarray(
        cv2.cvtColor(cv2.resize(blotches, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    )


def write(file: Path, pixels: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two frames of each recording, three of these in train, one of them at night, and one in val."""
    label = np.full((HEIGHT, WIDTH), 2, np.uint8)
    label[HEIGHT // 2 :] = 0
    label[: HEIGHT // 4] = 255
    folder = tmp_path / "data"
    for recording in range(4):
        split = "val" if recording == 3 else "train"
        for number in range(2):
            name = f"drive{recording}_{number}"
            image_bgr = view(2 * recording + number, level=30 if recording == 0 else 120)
            write(folder / split / "images" / f"{name}.png", image_bgr)
            write(folder / split / "masks" / f"{name}.png", label)
    (folder / "labels.yaml").write_text("{0: direct, 1: alternative, 2: background, 255: ignore}")
    return folder


@pytest.fixture
def inspect(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[], tuple[int, str, str]]:
    """A function that runs the command: its status, and what it said and complained about."""

    def run() -> tuple[int, str, str]:
        status = main(["inspect", "--data", str(root), "--out", str(tmp_path / "sheets"), "--overwrite"])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


Inspect = Callable[[], tuple[int, str, str]]


def row(said: str, title: str) -> list[str]:
    """The cells of one row of the table."""
    (line,) = [line for line in said.splitlines() if line[:TITLE].strip() == title]
    return line[TITLE:].replace(" %", "%").split()


def test_whole_data_set_is_described_split_by_split(inspect: Inspect, tmp_path: Path) -> None:
    status, said, complaint = inspect()

    assert (status, complaint) == (0, "")
    assert "layout folder" in said
    assert row(said, "frames") == ["6", "2"]
    assert row(said, "recordings") == ["3", "1"]
    assert row(said, "160x90") == ["6", "2"]
    assert row(said, "direct") == ["50.00%", "50.00%"]
    assert row(said, "background") == ["25.56%", "25.56%"]
    assert row(said, "ignore") == ["24.44%", "24.44%"]
    assert row(said, "night") == ["33.3%", "0.0%"]
    assert sorted(file.name for file in (tmp_path / "sheets").iterdir()) == ["train.png", "val.png"]


def test_every_broken_pair_is_counted_and_the_first_ten_are_named(inspect: Inspect, root: Path) -> None:
    for number in range(12):
        write(root / "train" / "images" / f"extra_{number:02}.png", view(100 + number))
    (root / "val" / "images" / "drive3_0.png").write_bytes(b"not a picture")

    status, said, complaint = inspect()

    assert status == 1
    assert complaint.splitlines() == [f"drivable-train: {root}: not to be trusted: broken pairs: 13"]
    assert row(said, "broken") == ["12", "1"]
    assert row(said, "frames") == ["6", "1"]
    assert sum("has no label" in line for line in said.splitlines()) == 10
    assert "extra_09.png: has no label" in said
    assert "  and 3 more" in said


def test_same_frame_in_two_splits_is_named_whatever_file_it_is_in(inspect: Inspect, root: Path) -> None:
    write(root / "val" / "images" / "drive3_0.bmp", view(2))
    (root / "val" / "images" / "drive3_0.png").unlink()

    status, said, complaint = inspect()

    assert status == 1
    assert complaint.endswith("not to be trusted: frames in two splits: 1\n")
    assert "  drive1_0 of train is drive3_0 of val" in said


def test_frame_like_one_of_another_split_is_named(inspect: Inspect, root: Path) -> None:
    smaller = cv2.convertScaleAbs(cv2.resize(view(2), (120, 68), interpolation=cv2.INTER_AREA), alpha=1.2)
    write(root / "val" / "images" / "drive3_0.png", np.asarray(smaller, np.uint8))
    write(root / "val" / "masks" / "drive3_0.png", np.zeros((68, 120), np.uint8))

    status, said, complaint = inspect()

    assert status == 1
    assert complaint.endswith("not to be trusted: pairs of frames alike across splits: 1\n")
    assert "  drive1_0 of train is like drive3_0 of val" in said


def test_recording_in_two_splits_is_named(inspect: Inspect, root: Path) -> None:
    for folder in ("images", "masks"):
        (root / "val" / folder / "drive3_1.png").rename(root / "val" / folder / "drive2_7.png")

    status, said, complaint = inspect()

    assert status == 1
    assert complaint.endswith("not to be trusted: recordings in two splits: 1\n")
    assert "  drive2 is in train and val" in said


def test_split_of_broken_pairs_alone_has_no_sheet(inspect: Inspect, root: Path, tmp_path: Path) -> None:
    for file in (root / "val" / "masks").iterdir():
        file.unlink()

    status, said, _ = inspect()

    assert status == 1
    assert row(said, "broken") == ["0", "2"]
    assert not (tmp_path / "sheets" / "val.png").exists()


def test_split_of_an_unknown_name_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"{number:08x}-00000000" for number in range(4)]
    for seed, name in enumerate(names):
        write(tmp_path / "images" / f"{name}.jpg", view(seed))
        write(tmp_path / "labels" / f"{name}.png", np.full((HEIGHT, WIDTH), 2, np.uint8))
    splits = zip(names, ("train", "val", "training", "training"), strict=True)
    (tmp_path / "index.csv").write_text("id,split\n" + "".join(f"{name},{split}\n" for name, split in splits))

    status = main(["inspect", "--data", str(tmp_path), "--out", str(tmp_path / "sheets")])

    said = capsys.readouterr()
    assert status == 1
    assert said.err.endswith("not to be trusted: splits of unknown names: 1\n")
    assert "  training: its 2 frames are not used in training; known names: train, val, test" in said.out


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_png_that_is_cut_off_is_message_by_us_alone(
    kind: str, root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = root / "val" / kind / "drive3_0.png"
    content = file.read_bytes()
    for cut in (len(content) // 2, len(content) - 60):
        file.write_bytes(content[:cut])

        status = main(["inspect", "--data", str(root), "--out", str(tmp_path / "sheets"), "--overwrite"])

        said = capfd.readouterr()
        assert status == 1
        assert f"val: {file}: is corrupt: this PNG is cut off or damaged" in said.out
        assert said.err.splitlines() == [f"drivable-train: {root}: not to be trusted: broken pairs: 1"]


def test_image_of_another_kind_that_is_cut_off_is_message_by_us_alone(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".tif", ".bmp", ".jpg"):
        file = (root / "val" / "images" / "drive3_0.png").with_suffix(suffix)
        content = cv2.imencode(suffix, view(6))[1].tobytes()
        file.with_suffix(".png").unlink(missing_ok=True)
        file.write_bytes(content[: len(content) // 2])

        assert main(["inspect", "--data", str(root), "--out", str(tmp_path / "sheets"), "--overwrite"]) == 1

        assert len(capfd.readouterr().err.splitlines()) == 1
        file.unlink()


@pytest.mark.parametrize(("typed", "known"), [("inspct", "inspect"), ("tabel", "table")])
def test_command_that_is_not_there_names_the_nearest(
    typed: str, known: str, only_error_line: Callable[[str], str]
) -> None:
    assert main([typed, "--data", "nowhere"]) == 2
    assert only_error_line("drivable-train").endswith(
        f"{typed}: no such command; the nearest known one is {known}"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--data", "nowhere"], 1, "drivable-train: nowhere: no such folder"),
        (["--dta", "nowhere"], 2, "unknown setting --dta; the nearest known one is --data"),
        ([], 2, "data"),
    ],
)
def test_what_cannot_be_inspected_is_said_in_one_line(
    arguments: list[str], status: int, message: str, only_error_line: Callable[[str], str]
) -> None:
    assert main(["inspect", *arguments]) == status
    assert message in only_error_line("drivable-train")


def test_it_runs_without_torch(root: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from train.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["inspect", "--data", str(root), "--out", str(tmp_path / "sheets")]

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_sheet_that_cannot_be_written_is_said_in_one_line(
    root: Path, tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    (tmp_path / "file").write_text("")

    assert main(["inspect", "--data", str(root), "--out", str(tmp_path / "file")]) == 1
    assert only_error_line("drivable-train").endswith(
        f"{tmp_path}/file: the contact sheets cannot be written: File exists"
    )


def test_sheet_shows_labels_in_the_node_s_colours_and_darkens_what_is_ignored(root: Path) -> None:
    frames = open_frames(root, "val")

    sheet_bgr = contact_sheet(frames, [0, 1])

    assert sheet_bgr.shape == (180, 2 * 320, 3)
    blue, _, red = sheet_bgr[100:150, 10:310].reshape(-1, 3).mean(0)
    assert COLOURS_RGB[DIRECT][2] > COLOURS_RGB[DIRECT][0]
    assert blue > red + 50
    assert sheet_bgr[2:40, :200].mean() < 40


@pytest.mark.parametrize(
    ("wh", "tiles", "sheet_wh"),
    [
        ((160, 90), 1, (320, 180)),
        ((160, 90), 7, (4 * 320, 2 * 180)),
        ((120, 90), 3, (3 * 240, 180)),
        ((320, 90), 6, (6 * 320, 90)),
    ],
)
def test_sheet_is_no_larger_than_what_it_shows(
    wh: tuple[int, int], tiles: int, sheet_wh: tuple[int, int], root: Path
) -> None:
    for kind, pixels in (("images", view(0)), ("masks", np.zeros((HEIGHT, WIDTH), np.uint8))):
        write(root / "val" / kind / "drive3_0.png", np.asarray(cv2.resize(pixels, wh), np.uint8))

    sheet_bgr = contact_sheet(open_frames(root, "val"), [0] * tiles)

    assert (sheet_bgr.shape[1], sheet_bgr.shape[0]) == sheet_wh


def test_sheet_holds_24_frames_spread_over_the_split(root: Path) -> None:
    frames = open_frames(root, "val")

    assert contact_sheet(frames, [0, 1] * 100).shape == (4 * 180, 6 * 320, 3)


def test_digest_tells_pixels_and_shape() -> None:
    image_bgr = view(0)
    turned = image_bgr.reshape(WIDTH, HEIGHT, 3)

    assert digest_of(image_bgr) == digest_of(image_bgr.copy())
    assert digest_of(image_bgr) != digest_of(turned)
    assert same([b"a", b"b"], [b"b", b"c", b"b"]) == [(1, 0), (1, 2)]


def test_fingerprint_outlives_size_light_and_compression_and_tells_views_apart() -> None:
    views = [fingerprint_of(view(seed)) for seed in range(40)]
    _, packed = cv2.imencode(".jpg", cv2.resize(view(7), (80, 45)), [cv2.IMWRITE_JPEG_QUALITY, 30])
    copy_bgr = cv2.convertScaleAbs(cv2.imdecode(packed, cv2.IMREAD_COLOR), alpha=0.6, beta=20)

    assert alike([fingerprint_of(np.asarray(copy_bgr, np.uint8))], views) == [(0, 7)]
    assert alike(views[:20], views[20:]) == []


def test_images_without_contrast_are_like_nothing() -> None:
    grey = fingerprint_of(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))

    assert alike([grey], [grey, fingerprint_of(view(0))]) == []
    assert alike([], [grey]) == []


def test_folders_without_a_frame_are_no_data_set(
    tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    for folder in ("images/100k/train", "labels/drivable/masks/train"):
        (tmp_path / folder).mkdir(parents=True)

    assert main(["inspect", "--data", str(tmp_path), "--out", str(tmp_path / "sheets")]) == 1
    assert "holds no frames in the folders of layout bdd100k" in only_error_line("drivable-train")


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        (b"0: direct\n 1: background\n", "labels.yaml: not readable as YAML: in line 2: an extra colon"),
        (
            b"0: direct\n\xff: background\n",
            "as YAML: it is not UTF-8 text: a byte 0xff in line 2",
        ),
        (b"direct: 0\n", "labels.yaml: direct: 0 is the wrong way round: `0: direct` is expected"),
    ],
)
def test_label_map_that_cannot_be_used_is_message_in_our_words(
    label_map: bytes, message: str, root: Path, only_error_line: Callable[[str], str]
) -> None:
    (root / "labels.yaml").write_bytes(label_map)

    assert main(["inspect", "--data", str(root)]) == 1
    assert message in only_error_line("drivable-train")
