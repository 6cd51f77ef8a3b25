"""Chosen frames of a data set: whose, where to, in which split, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.cli_config import shipped_config
from train.cli import main
from train.data.frames import read_index, rows_of_index
from train.data.layouts import open_frames

FRAMES = {"0a000000-00000000": "train", "0a000000-00000001": "train", "0b000000-00000000": "val"}
WIDTH, HEIGHT = 64, 36


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The official release of BDD100K, of three frames: sky above, the lane of the vehicle below."""
    root = tmp_path / "bdd100k"
    for level, (name, split) in enumerate(FRAMES.items()):
        image = root / "images" / "100k" / split / f"{name}.jpg"
        label = root / "labels" / "drivable" / "masks" / split / f"{name}.png"
        for file, pixels in (
            (image, np.full((HEIGHT, WIDTH, 3), 60 * level, np.uint8)),
            (label, np.repeat(np.uint8([2, 0]), HEIGHT // 2)[:, None].repeat(WIDTH, axis=1)),
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(file), pixels)
    return root


def listed(folder: Path, *rows: str) -> str:
    file = folder / "ids.csv"
    file.write_text("\n".join(["id,split,weather", *rows]) + "\n")
    return str(file)


def run(data: Path, ids: str, out: Path, *more: str) -> int:
    return main(["subset", "--data", str(data), "--ids", ids, "--out", str(out), *more])


def test_frames_go_to_the_splits_of_the_list_at_the_size_that_is_asked_for(
    published: Path, tmp_path: Path
) -> None:
    ids = listed(tmp_path, "0b000000-00000000,test,rain", "0a000000-00000001,train,")

    assert run(published, ids, tmp_path / "own", "--size", "32x18") == 0

    assert read_index(tmp_path / "own").splits == ["train", "test"]
    (image_bgr, class_map) = open_frames(tmp_path / "own", "test")[0]
    assert image_bgr.shape == (18, 32, 3)
    assert abs(int(image_bgr.mean()) - 120) <= 2
    assert [class_map[0, 0], class_map[-1, -1]] == [2, 0]
    assert [row["weather"] for row in rows_of_index(tmp_path / "own" / "index.csv")] == ["rain", ""]


def test_frames_keep_their_size_unless_one_is_asked_for(published: Path, tmp_path: Path) -> None:
    assert run(published, listed(tmp_path, "0a000000-00000000,val,"), tmp_path / "own") == 0

    assert open_frames(tmp_path / "own", "val")[0][1].shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0a000000-00000000,train,", "0f000000-00000000,val,"], "1 of 2 frames are not there"),
        (["0a000000-00000000,train,"] * 2, "names 0a000000-00000000 more than once"),
    ],
)
def test_lists_that_do_not_fit_write_nothing(
    published: Path, tmp_path: Path, rows: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(published, listed(tmp_path, *rows), tmp_path / "own") == 1

    assert message in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("is_there", [False, True])
def test_frame_that_cannot_be_read_leaves_the_place_as_it_was(
    published: Path, tmp_path: Path, is_there: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out, ids = tmp_path / "own", listed(tmp_path, *(f"{name},{split}," for name, split in FRAMES.items()))
    image = published / "images" / "100k" / "val" / "0b000000-00000000.jpg"
    whole = image.read_bytes()
    image.write_bytes(b"no picture")
    if is_there:
        out.mkdir()

    assert run(published, ids, out) == 1
    assert image.name in capsys.readouterr().err
    assert (list(out.iterdir()) == []) if is_there else not out.exists()

    image.write_bytes(whole)
    assert run(published, ids, out) == 0


def test_folder_in_use_is_left_as_it_is(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(published, listed(tmp_path, "0a000000-00000000,train,"), published) == 1

    assert "is not empty; name a folder that is empty" in capsys.readouterr().err
    assert sorted(it.name for it in published.iterdir()) == ["images", "labels"]


def test_shipped_list_tears_no_recording_apart() -> None:
    file = shipped_config("data/bdd100k_drivable", ".csv")
    assert file is not None
    rows = rows_of_index(file)

    recordings = {
        split: {row["id"].split("-")[0] for row in rows if row["split"] == split}
        for split in ("train", "val", "test")
    }

    assert {split: sum(row["split"] == split for row in rows) for split in recordings} == {
        "train": 3329,
        "val": 151,
        "test": 147,
    }
    assert not recordings["train"] & (recordings["val"] | recordings["test"])
    assert not recordings["val"] & recordings["test"]
