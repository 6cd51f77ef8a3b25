"""The reader of labelled frames refuses what it cannot trust, and names the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from train.data.frames import DataError, IndexedFrames


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
    frames = IndexedFrames(root, "train")

    image_bgr, label = frames[1]

    assert [entry.frame_id for entry in frames.entries] == ["a", "b"]
    assert image_bgr.shape == (36, 64, 3)
    assert label.shape == (36, 64)


def test_unknown_split_names_the_known_ones(root: Path) -> None:
    with pytest.raises(DataError, match=r"no frames in split 'tset'; it has: train, val"):
        IndexedFrames(root, "tset")


def test_missing_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index\.csv: no such file"):
        IndexedFrames(tmp_path, "train")


def test_image_without_a_label_is_named(root: Path) -> None:
    (root / "labels" / "b.png").unlink()

    with pytest.raises(DataError, match=r"b\.png: named in index\.csv but missing"):
        IndexedFrames(root, "train")


def test_label_that_is_no_class_is_named(root: Path) -> None:
    cv2.imwrite(str(root / "labels" / "a.png"), np.full((36, 64), 7, np.uint8))

    with pytest.raises(DataError, match=r"a\.png: label 7 is none of"):
        IndexedFrames(root, "train")[0]


def test_label_of_another_size_is_named(root: Path) -> None:
    cv2.imwrite(str(root / "labels" / "a.png"), np.full((18, 32), 2, np.uint8))

    with pytest.raises(DataError, match=r"a\.png: is \(18, 32\), its image \(36, 64\)"):
        IndexedFrames(root, "train")[0]


def test_image_that_does_not_decode_is_named(root: Path) -> None:
    (root / "images" / "a.jpg").write_bytes(b"not a picture")

    with pytest.raises(DataError, match=r"a\.jpg: does not decode"):
        IndexedFrames(root, "train")[0]
