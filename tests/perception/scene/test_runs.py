"""Runs of pixels in rows."""

from __future__ import annotations

import numpy as np
import pytest

from perception.scene.runs import longest_of_rows, runs_of


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_those_of_a_plain_loop(seed: int) -> None:
    mask = np.random.default_rng(seed).random((20, 30)) < 0.6

    runs = runs_of(mask)

    expected = []
    for row, pixels in enumerate(mask):
        start = None
        for column, pixel in enumerate([*pixels, False]):
            if pixel and start is None:
                start = column
            if not pixel and start is not None:
                expected.append((row, start, column))
                start = None
    assert list(zip(*(it.tolist() for it in runs), strict=True)) == expected


def test_longest_run_of_a_row_is_the_first_of_equals_and_empty_rows_have_none() -> None:
    mask = np.array([[1, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 1, 1, 1]], np.bool_)

    longest = longest_of_rows(runs_of(mask))

    assert [it.tolist() for it in longest] == [[0, 2], [0, 2], [2, 5]]


def test_a_mask_without_a_pixel_has_no_run() -> None:
    assert longest_of_rows(runs_of(np.zeros((3, 4), np.bool_))).row.tolist() == []
