"""Runs of pixels in rows."""

from __future__ import annotations

import numpy as np
import pytest

from perception.scene.runs import longest_of_rows, runs_of


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_those_of_a_plain_loop(seed: int) -> None:
    classes = np.random.default_rng(seed).choice([0, 1, 2], (20, 30), p=[0.2, 0.6, 0.2]).astype(np.uint8)

    runs_of_both = runs_of(classes, [1, 2])

    for wanted, runs in zip([1, 2], runs_of_both, strict=True):
        expected = []
        for row, pixels in enumerate(classes):
            start = None
            for column, pixel in enumerate([*pixels, 0]):
                if pixel == wanted and start is None:
                    start = column
                if pixel != wanted and start is not None:
                    expected.append((row, start, column))
                    start = None
        assert list(zip(*(it.tolist() for it in runs), strict=True)) == expected


def test_longest_run_of_a_row_is_the_first_of_equals_and_empty_rows_have_none() -> None:
    classes = np.array([[1, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 1, 1, 1]], np.uint8)

    longest = longest_of_rows(*runs_of(classes, [1]))

    assert [it.tolist() for it in longest] == [[0, 2], [0, 2], [2, 5]]


def test_a_class_without_a_pixel_has_no_run() -> None:
    assert longest_of_rows(*runs_of(np.zeros((3, 4), np.uint8), [1])).row.tolist() == []
