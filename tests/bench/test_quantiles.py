"""Quantiles by nearest rank, their intervals, and samples that are too small to have them."""

from __future__ import annotations

import random

import pytest

from bench.quantiles import INTERVAL, Quantile, least_count, quantile, quantile_or_max


@pytest.mark.parametrize(
    ("share", "least"), [(0.5, 7), (0.9, 44), (0.95, 90), (0.99, 459), (0.999, 4603), (0.01, 459), (0.1, 44)]
)
def test_least_sample_reaches_beyond_the_quantile_in_99_of_100_cases(share: float, least: int) -> None:
    outer = max(share, 1 - share)

    assert least_count(share) == least
    assert outer**least <= 0.01 < outer ** (least - 1)


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [
        (range(1, 501), 0.99, Quantile(0.99, 495, 490, 500, 0)),
        (range(1, 460), 0.99, Quantile(0.99, 455, 450, 459, 0)),
        # Conover's normal approximation gives 40.2 and 59.8, the tables of the sign test 40 and 61.
        (range(1, 101), 0.5, Quantile(0.5, 50, 40, 61, 0)),
        (range(100, 0, -1), 0.5, Quantile(0.5, 50, 40, 61, 0)),
        ([5.0] * 459, 0.99, Quantile(0.99, 5.0, 5.0, 5.0, 0)),
        # 0.07 * 100 is 7.000000000000001 in binary, and the rank is 7.
        (range(1, 101), 0.07, Quantile(0.07, 7, 2, 13, 0)),
    ],
)
def test_quantile_is_one_of_the_values_between_two_others(
    values: list[float], share: float, wanted: Quantile
) -> None:
    assert quantile(values, share) == wanted


@pytest.mark.parametrize(("count", "share", "missing"), [(458, 0.99, 1), (0, 0.5, 7), (300, 0.999, 4303)])
def test_small_sample_says_how_much_is_missing_and_no_value(count: int, share: float, missing: int) -> None:
    assert quantile(range(count), share) == Quantile(share, None, None, None, missing)


def test_interval_holds_the_true_quantile_as_often_as_it_says() -> None:
    drawn = random.Random(1)
    intervals = [quantile([drawn.random() for _ in range(100)], 0.9) for _ in range(1000)]

    held = sum(it.low <= 0.9 <= it.high for it in intervals if it.low is not None and it.high is not None)
    assert INTERVAL - 0.01 <= held / 1000 < 0.99  # a little more than it says: ranks are whole numbers


def test_maximum_stands_in_for_a_quantile_that_is_not_held() -> None:
    assert quantile_or_max(range(458), 0.99) == 457
    assert quantile_or_max(range(1, 460), 0.99) == 455


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 99.0])
def test_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile([1.0] * 1000, share)
