"""Splits by recording: stable, of the shares that were promised, and never torn."""

from __future__ import annotations

from collections import Counter

import pytest

from train.data.folder import recording_of_stem
from train.data.splits import block_at, split_by_name, split_by_place


def test_names_are_shared_out_eight_to_one_to_one() -> None:
    counts = Counter(split_by_name(f"drive{number}") for number in range(5000))

    assert counts["train"] == pytest.approx(4000, abs=100)
    assert counts["val"] == pytest.approx(500, abs=70)
    assert counts["test"] == pytest.approx(500, abs=70)


@pytest.mark.parametrize(("name", "split"), [("drive0", "train"), ("drive8", "val"), ("drive5", "test")])
def test_name_stays_in_its_split_for_good(name: str, split: str) -> None:
    assert split_by_name(name) == split


@pytest.mark.parametrize(
    ("frames", "splits"),
    [
        (3000, {"train": range(2400), "val": range(2400, 2700), "test": range(2700, 3000)}),
        (95, {"train": range(80), "val": range(80, 90), "test": range(90, 95)}),
        (12, {"train": range(12)}),
        (0, {}),
    ],
)
def test_places_are_split_where_a_block_ends(frames: int, splits: dict[str, range]) -> None:
    assert split_by_place(frames) == splits


def test_block_is_the_ten_frames_around() -> None:
    assert [block_at(index) for index in (0, 9, 10)] == ["frames 0 to 9", "frames 0 to 9", "frames 10 to 19"]


@pytest.mark.parametrize(
    ("stem", "recording"),
    [
        ("monday_000120", "monday"),
        ("monday-2_000120", "monday-2"),
        ("monday_2-000120", "monday_2"),
        ("0000f77c-6257be58", "0000f77c"),
        ("000120", "000120"),
        ("_000120", "_000120"),
    ],
)
def test_recording_is_what_a_stem_has_before_its_last_part(stem: str, recording: str) -> None:
    assert recording_of_stem(stem) == recording
