from __future__ import annotations

import pytest

from perception.sources.v4l2.newest import SequenceGaps


@pytest.mark.parametrize(
    ("numbers", "missed"),
    [
        ([0, 1, 2], [0, 0, 0]),
        ([7, 8, 11], [0, 0, 2]),
        ([0xFFFF_FFFE, 0xFFFF_FFFF, 0, 3], [0, 0, 0, 2]),
        ([0, 0, 0], [0, 0, 0]),
        ([500, 3, 4, 6], [0, 0, 0, 1]),
    ],
    ids=["rising", "gaps", "wrapping", "standing still", "starting over"],
)
def test_gaps_in_the_numbers_are_frames_missed(numbers: list[int], missed: list[int]) -> None:
    gaps = SequenceGaps()

    assert [gaps.missed_before(number) for number in numbers] == missed


def test_frames_passed_over_are_within_the_gap_and_count_once() -> None:
    gaps = SequenceGaps()
    gaps.missed_before(10)

    gaps.skip(2)

    assert [gaps.missed_before(number) for number in (15, 16)] == [4, 0]


def test_frames_passed_over_count_where_the_driver_does_not_number_them() -> None:
    gaps = SequenceGaps()
    gaps.skip()
    first = gaps.missed_before(0)

    gaps.skip(3)

    assert (first, gaps.missed_before(0)) == (1, 3)


def test_numbers_before_and_after_a_restart_do_not_compare() -> None:
    gaps = SequenceGaps()
    gaps.missed_before(2)

    gaps.restart()

    assert [gaps.missed_before(number) for number in (9, 11)] == [0, 1]
