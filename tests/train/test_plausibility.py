"""Labels are judged by their sense: another numbering is recognised, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT
from train.cli import main
from train.data.decode import DataError
from train.data.layouts import open_frames, read_data_set
from train.data.plausibility import why_implausible

WIDTH, HEIGHT = 160, 90
IDS_OF_2018 = {BACKGROUND: 0, DIRECT: 1, ALTERNATIVE: 2}
COLOURS_RGB = {BACKGROUND: (0, 0, 0), DIRECT: (219, 94, 86), ALTERNATIVE: (86, 211, 219)}


def road(seed: int) -> NDArray[np.uint8]:
    """(90, 160) class map of a road that runs to the horizon, a lane beside ours to the left or right."""
    drawn = np.random.default_rng(seed)
    class_map = np.full((HEIGHT, WIDTH), BACKGROUND, np.uint8)
    horizon, middle = int(drawn.integers(38, 50)), int(drawn.integers(70, 90))
    beside = middle + int(drawn.choice([-90, 90]))
    for centre, label in ((beside, ALTERNATIVE), (middle, DIRECT)):
        corners = np.array([[middle, horizon], [centre - 50, HEIGHT], [centre + 50, HEIGHT]])
        cv2.fillPoly(class_map, [corners], label)
    return class_map


def write(file: Path, pixels: NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)


def write_image(file: Path, seed: int) -> None:
    write(file, np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))


def numbered(class_map: NDArray[np.uint8], values: dict[int, int]) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[list(values)] = list(values.values())
    return np.asarray(table[class_map], np.uint8)


def coloured(class_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(90, 160, 3) BGR, as `cv2.imwrite` takes it."""
    image_bgr = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for label, rgb in COLOURS_RGB.items():
        image_bgr[class_map == label] = rgb[::-1]
    return image_bgr


def build_bdd100k(root: Path, folder: str, tail: str, kind: str) -> None:
    """Four frames a split, their labels in `folder`, named with `tail`, in one of three forms."""
    for split in ("train", "val"):
        for number in range(4):
            seed = number + 4 * (split == "val")
            stem = f"{seed:08x}-00000000"
            write_image(root / "images" / "100k" / split / f"{stem}.jpg", seed)
            label = {
                "ids of today": road(seed),
                "ids of 2018": numbered(road(seed), IDS_OF_2018),
                "colours": coloured(road(seed)),
            }[kind]
            write(root / folder / split / f"{stem}{tail}.png", label)


def build_indexed(root: Path, values: dict[int, int], frames: int = 16) -> None:
    rows = ["id,split"]
    for seed in range(frames):
        stem, split = f"{seed:08x}-00000000", "train" if seed % 2 else "val"
        write_image(root / "images" / f"{stem}.jpg", seed)
        write(root / "labels" / f"{stem}.png", numbered(road(seed), values))
        rows.append(f"{stem},{split}")
    (root / "index.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("folder", "tail", "kind"),
    [
        ("labels/drivable/masks", "", "ids of today"),
        ("labels/drivable/masks", "", "ids of 2018"),
        ("labels/drivable/masks", "_drivable_id", "ids of 2018"),
        ("labels/drivable/masks", "", "colours"),
        ("labels/drivable/masks", "_drivable_color", "colours"),
        ("drivable_maps/labels", "_drivable_id", "ids of 2018"),
        ("drivable_maps/labels", "_drivable_id", "ids of today"),
        ("drivable_maps/labels", "_drivable_color", "colours"),
        ("drivable_maps/labels", "", "ids of 2018"),
        ("labels/drivable/colormaps", "", "colours"),
    ],
)
def test_labels_of_bdd100k_are_read_right_whatever_was_copied_where(
    folder: str, tail: str, kind: str, tmp_path: Path
) -> None:
    build_bdd100k(tmp_path, folder, tail, kind)

    frames = open_frames(tmp_path, "train")

    assert len(frames) == 4
    for index in range(4):
        np.testing.assert_array_equal(frames[index][1], road(index))


def test_another_numbering_than_the_published_one_is_said(tmp_path: Path) -> None:
    build_bdd100k(tmp_path, "labels/drivable/masks", "", "ids of 2018")

    (note,) = read_data_set(tmp_path).notes

    assert "labels/drivable/masks: read as 0 background, 1 direct, 2 alternative" in note


def test_labels_as_published_need_no_note(tmp_path: Path) -> None:
    build_bdd100k(tmp_path, "labels/drivable/masks", "", "ids of today")

    assert not read_data_set(tmp_path).notes


def test_frame_that_does_not_decode_does_not_keep_the_others_from_being_recognised(tmp_path: Path) -> None:
    build_bdd100k(tmp_path, "labels/drivable/masks", "", "ids of 2018")
    next((tmp_path / "labels/drivable/masks/train").iterdir()).write_bytes(b"no image")

    assert "release of 2018" in read_data_set(tmp_path).notes[0]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (IDS_OF_2018, "direct fills the top quarter .* 0 background, 1 direct, 2 alternative .* would fit"),
        ({BACKGROUND: 1, DIRECT: 0, ALTERNATIVE: 2}, "alternative fills the top quarter"),
        ({BACKGROUND: 1, DIRECT: 2, ALTERNATIVE: 0}, "alternative fills the top quarter"),
        ({BACKGROUND: 2, DIRECT: 1, ALTERNATIVE: 0}, "alternative as direct; the two are swapped"),
        ({BACKGROUND: 0, DIRECT: 255, ALTERNATIVE: 255}, "the sky is; 0 background, 255 drivable would fit"),
        ({BACKGROUND: 0, DIRECT: 1, ALTERNATIVE: 1}, "the sky is; 0 background, 1 drivable would fit"),
        ({BACKGROUND: 255, DIRECT: 255, ALTERNATIVE: 255}, "no pixel has a class"),
        ({BACKGROUND: 2, DIRECT: 2, ALTERNATIVE: 2}, "nothing is drivable in any of 16 frames"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_with_the_reason(
    values: dict[int, int], reason: str, tmp_path: Path
) -> None:
    build_indexed(tmp_path, values, frames=32)

    with pytest.raises(DataError, match=f"the labels of train make no sense: .*{reason}"):
        open_frames(tmp_path, "train")


def test_numpy_arrays_of_another_numbering_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "image_180_320.npy", np.zeros((100, HEIGHT, WIDTH, 3), np.uint8))
    labels = np.stack([numbered(road(seed), IDS_OF_2018) for seed in range(100)])
    np.save(tmp_path / "label_180_320.npy", labels.astype(np.int64))

    with pytest.raises(DataError, match="make no sense: direct fills the top quarter"):
        open_frames(tmp_path, "train")


def test_inspect_counts_it_as_a_fault_and_training_does_not_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_indexed(tmp_path / "data", IDS_OF_2018)

    inspected = main(["inspect", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "sheets")])
    said = capsys.readouterr()
    stages = "[{input_wh: [64, 32], epochs: 1, batch_size: 2, max_learning_rate: 0.001}]"
    run = ["--model", "rt_s", "--stages", stages, "--out", str(tmp_path / "runs")]
    trained = main([*run, "--data", str(tmp_path / "data")])

    assert (inspected, trained) == (1, 1)
    assert "splits whose labels make no sense: 2" in said.out
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "the labels of train make no sense" in error
    assert not list((tmp_path / "runs").rglob("*.pt"))


def test_map_of_the_user_s_own_is_warned_about_and_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / split / "images" / f"{split}_0.png", len(split))
        label = np.zeros((HEIGHT, WIDTH), np.uint8)  # looks straight down onto the road
        write(tmp_path / split / "masks" / f"{split}_0.png", label)
    (tmp_path / "labels.yaml").write_text("{0: direct, 9: background}")

    status = main(["inspect", "--data", str(tmp_path), "--out", str(tmp_path / "sheets")])

    assert status == 0
    assert "warning: train: direct fills the top quarter" in capsys.readouterr().out
    assert len(open_frames(tmp_path, "train")) == 1


def test_numberings_that_are_mixed_and_labels_upside_down_are_seen() -> None:
    roads = [road(seed) for seed in range(16)]
    mixed = [*roads[:8], *(numbered(class_map, IDS_OF_2018) for class_map in roads[8:])]

    assert "in 8 of 16 frames checked, drivable area fills the top" in str(why_implausible(mixed))
    assert "upside down, or shifted" in str(why_implausible(class_map[::-1] for class_map in roads))
    assert "upside down, or shifted" in str(why_implausible(np.roll(each, HEIGHT // 2, 0) for each in roads))


def test_labels_of_nothing_are_refused_whatever_the_map_says(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / split / "images" / f"{split}_0.png", len(split))
        write(tmp_path / split / "masks" / f"{split}_0.png", np.full((HEIGHT, WIDTH), 9, np.uint8))
    (tmp_path / "labels.yaml").write_text("{0: direct, 9: ignore}")

    with pytest.raises(DataError, match=r"no pixel has a class, .* is the label map right"):
        open_frames(tmp_path, "train")
    assert main(["inspect", "--data", str(tmp_path), "--out", str(tmp_path / "sheets")]) == 1


@pytest.mark.parametrize("kind", ["ids of today", "colours"])
def test_labels_in_a_jpeg_are_refused_for_what_it_does_to_them(kind: str, tmp_path: Path) -> None:
    build_bdd100k(tmp_path, "labels/drivable/masks", "", kind)
    for file in (tmp_path / "labels").rglob("*.png"):
        pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        file.unlink()
        write(file.with_suffix(".jpg"), np.asarray(pixels, np.uint8))

    with pytest.raises(DataError, match="is a JPEG, which blurs the borders of classes"):
        open_frames(tmp_path, "train")[0]


def test_colours_instead_of_indices_are_refused_before_black_counts_as_an_index(
    tmp_path: Path,
) -> None:
    build_indexed(tmp_path, IDS_OF_2018, frames=4)
    for place, file in enumerate(sorted((tmp_path / "labels").iterdir())):
        write(file, coloured(road(place) if place % 4 < 2 else np.full((HEIGHT, WIDTH), BACKGROUND)))

    with pytest.raises(DataError, match="is in colour"):
        list(open_frames(tmp_path, "train"))


def test_grey_with_alpha_is_grey(tmp_path: Path) -> None:
    build_bdd100k(tmp_path, "labels/drivable/masks", "", "ids of today")
    for file in (tmp_path / "labels").rglob("*.png"):
        write(file, cv2.cvtColor(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), cv2.COLOR_GRAY2BGRA))

    np.testing.assert_array_equal(open_frames(tmp_path, "train")[2][1], road(2))


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (".", r"but .*bdd100k does \(bdd100k\)"),
        ("bdd100k/images/100k/train", r"but .*bdd100k does \(bdd100k\)"),
        ("jpegs", "has no masks beside it"),
        ("empty", "looks like no known data set; it is empty"),
        ("bdd100k.zip", "is a file; the folder of a data set is expected"),
    ],
)
def test_folder_next_to_the_right_one_is_refused_with_the_right_one(
    asked: str, hint: str, tmp_path: Path
) -> None:
    build_bdd100k(tmp_path / "bdd100k", "labels/drivable/masks", "", "ids of today")
    write_image(tmp_path / "jpegs" / "images" / "100k" / "train" / "a.jpg", 0)
    (tmp_path / "bdd100k.zip").touch()
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match=hint):
        read_data_set(tmp_path / asked)


def test_road_makes_sense_and_so_does_a_city_without_lanes_beside() -> None:
    roads = [road(seed) for seed in range(16)]
    alone = [np.where(class_map == ALTERNATIVE, BACKGROUND, class_map) for class_map in roads]

    assert why_implausible(roads) is None
    assert why_implausible(alone) is None
    assert why_implausible([]) is None
