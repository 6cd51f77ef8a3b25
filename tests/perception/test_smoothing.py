"""Smoothing of margins in time: what it evens out, and what it must not delay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perception.scene.smoothing import (
    Margins,
    Pace,
    Smoother,
    classes_of,
    logits_of,
    margins_of,
    without_specks,
)

PACE = Pace(rise_s=0.1, fall_s=0.04, longest_s=0.0805, sure=2.0)
B, D, A = 0, 1, 2
LEAST_CELLS, UNSURE = 4, 1.5


def cell(drivable: float, lead: float = 5.0) -> Margins:
    """(2, 1, 1) margins of one cell."""
    return np.array([[[drivable]], [[lead]]], np.float32)


def shown(values: Sequence[Margins], rate_hz: float = 30.0) -> list[int]:
    """Class of one cell in each frame."""
    smooth = Smoother(PACE)
    return [int(classes_of(smooth(it, 1 / rate_hz))[0, 0]) for it in values]


def picture(rows: Sequence[str], strength: float = 5.0) -> Margins:
    """Margins by letters: b for a background that is not sure."""
    margins = np.zeros((2, len(rows), len(rows[0])), np.float32)
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            margins[0, y, x] = {"B": -strength, "b": -1.0}.get(letter, strength)
            margins[1, y, x] = -strength if letter == "A" else strength
    return margins


def letters(margins: Margins) -> list[str]:
    return ["".join("BDA"[it] for it in row) for row in classes_of(margins)]


@pytest.mark.parametrize("labels", [2, 3])
def test_logits_of_margins_decide_as_those_that_the_margins_are_of(labels: int) -> None:
    logits = np.random.default_rng(0).normal(size=(labels, 6, 8)).astype(np.float32)

    again = logits_of(margins_of(logits))

    np.testing.assert_allclose(again - again[-1], logits - logits[-1], atol=1e-5)
    expected = np.where(logits.argmax(0) == labels - 1, 0, logits.argmax(0) + 1)
    np.testing.assert_array_equal(classes_of(margins_of(logits)), expected)


def test_first_frame_is_shown_as_it_is() -> None:
    margins = picture(["BDA"])

    np.testing.assert_array_equal(Smoother(PACE)(margins, 0.0), margins)


def test_a_frame_of_weak_background_is_evened_out() -> None:
    assert shown([cell(4), cell(4), cell(-0.5), cell(4), cell(4)]) == [D] * 5


def test_drivable_area_of_a_frame_alone_never_appears() -> None:
    assert shown([cell(-3), cell(-3), cell(1), cell(-3), cell(-3)]) == [B] * 5


def test_background_that_the_network_is_sure_of_is_shown_at_once() -> None:
    assert shown([cell(9), cell(9), cell(-2.5)]) == [D, D, B]


def test_any_background_is_shown_by_the_second_frame() -> None:
    assert shown([cell(9), cell(9), cell(-0.1), cell(-0.1)]) == [D, D, D, B]


@pytest.mark.parametrize(("rate_hz", "frames"), [(10, 0), (12.5, 1), (25, 2), (30, 2), (60, 4)])
def test_area_that_appears_is_shown_within_80_ms_however_weak(rate_hz: float, frames: int) -> None:
    before, after = [cell(-9)] * 3, [cell(0.1)] * 8

    classes = shown([*before, *after], rate_hz)

    assert classes == [B] * (3 + frames) + [D] * (8 - frames)
    assert frames / rate_hz <= 0.08


def test_class_of_drivable_area_changes_within_80_ms() -> None:
    assert shown([cell(9, 9)] * 3 + [cell(9, -0.1)] * 3) == [D] * 5 + [A]


def test_change_from_one_lane_class_to_the_other_is_never_background() -> None:
    for strength in (0.3, 3, 9):
        classes = shown([cell(strength, 9)] * 3 + [cell(strength, -9)] * 5)

        assert B not in classes


def test_the_same_time_has_the_same_effect_at_any_rate() -> None:
    once, often = Smoother(PACE), Smoother(PACE)
    for smooth in (once, often):
        smooth(cell(5), 0.0)

    at_once = once(cell(3), 0.06).copy()
    for _ in range(6):
        by_and_by = often(cell(3), 0.01)

    np.testing.assert_allclose(by_and_by, at_once, rtol=1e-5)


def test_reset_and_another_size_start_over() -> None:
    smooth = Smoother(PACE)
    smooth(picture(["DD"]), 0.0)
    smooth.reset()
    np.testing.assert_array_equal(smooth(picture(["Bb"]), 0.03), picture(["Bb"]))
    np.testing.assert_array_equal(smooth(picture(["Db", "bD"]), 0.03), picture(["Db", "bD"]))


def test_network_of_two_classes_is_smoothed_too() -> None:
    smooth = Smoother(PACE)
    one = np.full((1, 2, 2), 4, np.float32)

    assert classes_of(smooth(one, 0.0)).all()
    assert classes_of(smooth(-0.1 * one, 1 / 30)).all()
    assert not classes_of(smooth(-0.1 * one, 1 / 30)).any()


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(0.001, 0.12)), min_size=2, max_size=30)
)
def test_no_sequence_delays_a_loss_by_more_than_a_frame_or_a_gain_by_more_than_80_ms(
    frames: list[tuple[float, float, float]],
) -> None:
    smooth = Smoother(PACE)
    lasted_s, found_before = 0.0, None
    for drivable, lead, elapsed_s in frames:
        margins = cell(drivable, lead)
        found = int(classes_of(margins)[0, 0])
        given_class = int(classes_of(smooth(margins, elapsed_s))[0, 0])

        lasted_s = lasted_s + elapsed_s if found == found_before else 0.0
        if found == B and found_before in (None, B):
            assert given_class == B
        if lasted_s >= 0.0805:
            assert given_class == found
        found_before = found


def test_small_islands_go_and_large_ones_stay() -> None:
    rows = ["BBBBBBBB", "BDDBBBBB", "BBBBBAAB", "BBBBBDDB", "BBBBBBBB"]

    assert letters(without_specks(picture(rows), LEAST_CELLS, UNSURE)) == [rows[0], rows[0], *rows[2:]]


def test_pin_holes_are_filled_where_the_network_is_unsure() -> None:
    rows = ["DDDDDDD", "DbDDBDD", "DbDDDDA", "DDDDDDA"]

    cleaned = letters(without_specks(picture(rows), LEAST_CELLS, UNSURE))

    assert cleaned[1] == "DDDDBDD"
    assert cleaned[2] == "DDDDDDA"


def test_background_at_the_border_of_the_picture_is_no_hole() -> None:
    rows = ["bDDDDDDb", "bDDDDDDD", "DDDDDDDD", "DDDbDDDD"]

    assert letters(without_specks(picture(rows), LEAST_CELLS, UNSURE)) == [
        row.replace("b", "B") for row in rows
    ]


def test_a_few_cells_of_one_lane_class_amid_the_other_take_the_others() -> None:
    rows = ["DDDDDDBAAA", "DADDDDBADA", "DDDDDDBAAA", "BBBBBBBAAA"]

    cleaned = letters(without_specks(picture(rows), LEAST_CELLS, UNSURE))

    assert cleaned[1] == "DDDDDDBAAA"


def test_a_sliver_of_a_lane_beside_background_keeps_its_class() -> None:
    rows = ["DDDDDD", "DDDDAB", "DDDDAB", "DDDDDD"]

    assert letters(without_specks(picture(rows), LEAST_CELLS, UNSURE)) == rows


def test_nothing_is_copied_where_there_are_no_specks() -> None:
    margins: NDArray[np.float32] = picture(["DDDDAAAA"] * 3)

    assert without_specks(margins, LEAST_CELLS, UNSURE) is margins
