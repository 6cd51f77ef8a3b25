"""The reader of our own layout refuses what it cannot trust, and names the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from train.data.frames import DataError, read_index
from train.data.synthetic import SyntheticDrives


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two frames of split train, one of val."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    rows = ["id,split", "a,train", "b,train", "c,val"]
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n")
    for name in "abc":
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.full((36, 64, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / "labels" / f"{name}.png"), np.full((36, 64), 2, np.uint8))
    return tmp_path


def test_frames_of_a_split_come_in_the_order_of_the_index(root: Path) -> None:
    frames = read_index(root).open("train")

    image_bgr, label = frames[1]

    assert [frames.name(index) for index in range(len(frames))] == ["a", "b"]
    assert image_bgr.shape == (36, 64, 3)
    assert label.shape == (36, 64)


def test_unknown_split_names_the_known_ones(root: Path) -> None:
    with pytest.raises(DataError, match=r"no frames in split 'tset'; it has: train, val$"):
        read_index(root).open("tset")


def test_index_without_frames_to_train_on_names_the_splits_that_it_has(root: Path) -> None:
    (root / "index.csv").write_text("id,split\na,training\nb,foo\nc,val\n")

    with pytest.raises(DataError, match=r"no frames in split 'train'; it has: val, training, foo$"):
        read_index(root).open("train")


def test_recording_in_two_splits_is_refused_where_both_are_used_and_nowhere_else(root: Path) -> None:
    (root / "index.csv").write_text("id,split,recording\na,train,monday\nb,test,monday\nc,val,friday\n")

    torn = read_index(root)

    torn.check_disjoint("train", "val")
    with pytest.raises(DataError, match=r"recording monday is in train and test; .* in one split$"):
        torn.check_disjoint("train", "test")


def test_recordings_in_two_splits_are_counted_and_the_first_is_named(root: Path) -> None:
    rows = ["id,split,recording", "a,train,x", "b,val,x", "c,val,y", "d,train,y"]
    (root / "index.csv").write_text("\n".join(rows))

    with pytest.raises(DataError, match=r"recording x is in train and val \(and 1 more; "):
        read_index(root).check_disjoint("train", "val")


def test_missing_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index\.csv: no such file"):
        read_index(tmp_path).open("train")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("id,split\n", r"index\.csv: needs a header"),
        ("name,split\na,train\n", r"index\.csv: needs a header"),
        ("id,split\na\n", r"index\.csv: line 2 lacks an id or a split"),
        ("id,split\na,train\nb,train\na,val\n", r"index\.csv: line 4 names a a second time"),
    ],
)
def test_index_that_makes_no_sense_is_refused(root: Path, index: str, message: str) -> None:
    (root / "index.csv").write_text(index)

    with pytest.raises(DataError, match=message):
        read_index(root).open("train")


def test_files_that_are_missing_are_counted_and_the_first_is_named(root: Path) -> None:
    (root / "labels" / "b.png").unlink()
    (root / "images" / "a.jpg").unlink()

    with pytest.raises(DataError, match=r"a\.jpg: named in index\.csv but missing \(and 1 more; "):
        read_index(root).open("train")


def test_missing_file_of_another_split_does_not_matter(root: Path) -> None:
    (root / "labels" / "b.png").unlink()

    assert len(read_index(root).open("val")) == 1


@pytest.mark.parametrize(
    ("header", "row", "recording"),
    [
        ("id,split", "000f8d37-d4c09a0f,val", "000f8d37"),
        ("id,split", "monday-d4c09a0f,val", "monday-d4c09a0f"),
        ("id,split,recording", "000f8d37-d4c09a0f,val,monday", "monday"),
        ("id,split,recording", "000f8d37-d4c09a0f,val,", "000f8d37"),
    ],
)
def test_recording_is_the_column_or_the_first_half_of_a_bdd_id(
    root: Path, header: str, row: str, recording: str
) -> None:
    frame_id = row.split(",")[0]
    (root / "images" / "c.jpg").rename(root / "images" / f"{frame_id}.jpg")
    (root / "labels" / "c.png").rename(root / "labels" / f"{frame_id}.png")
    (root / "index.csv").write_text(f"{header}\n{row}\n")

    frames = read_index(root).open("val")

    assert (frames.name(0), frames.recording(0)) == (frame_id, recording)


def test_rendered_frames_of_one_drive_are_one_recording_and_no_two_have_one_name() -> None:
    drives = SyntheticDrives(2, 3, (64, 36), first_seed=7)

    assert [drives.recording(index) for index in range(6)] == ["drive 7"] * 3 + ["drive 8"] * 3
    assert len({drives.name(index) for index in range(6)}) == 6
