"""Quantiles of durations beside numpy's, in memory that does not grow."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from perception.metrics.histogram import Histogram


def histogram_of(durations_ns: np.ndarray) -> Histogram:
    histogram = Histogram()
    for duration_ns in durations_ns:
        histogram.add(int(duration_ns))
    return histogram


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize(("middle_ms", "spread"), [(0.02, 1.0), (5.0, 0.3), (40.0, 1.5), (2000.0, 0.8)])
def test_quantile_is_within_one_per_cent_of_numpy(middle_ms: float, spread: float, share: float) -> None:
    durations_ns = np.random.default_rng(7).lognormal(np.log(middle_ms * 1e6), spread, 3000)

    quantile_ms = histogram_of(durations_ns).quantile_ms(share)

    expected_ms = np.quantile(durations_ns.astype(np.int64), share, method="inverted_cdf") / 1e6
    assert quantile_ms == pytest.approx(expected_ms, rel=0.01)


def test_nothing_counted_has_no_quantile() -> None:
    histogram = Histogram()

    assert histogram.quantile_ms(0.5) is None
    assert histogram.count == 0


def test_quantile_zero_is_the_shortest() -> None:
    assert histogram_of(np.array([5e6, 9e6])).quantile_ms(0.0) == pytest.approx(5.0, rel=0.01)


def test_quantile_one_is_the_longest() -> None:
    assert histogram_of(np.array([5e6, 9e6])).quantile_ms(1.0) == pytest.approx(9.0, rel=0.01)


def test_longest_is_kept_exactly() -> None:
    assert histogram_of(np.array([1, 123_456_789, 5])).max_ns == 123_456_789


@pytest.mark.parametrize("duration_ns", [0, 1, 999, 10**12, 10**15])
def test_durations_beyond_the_buckets_are_counted(duration_ns: int) -> None:
    histogram = histogram_of(np.array([duration_ns]))

    assert histogram.count == 1
    assert histogram.max_ns == duration_ns


def test_cumulative_counts_are_of_what_lies_at_or_below_each_limit() -> None:
    histogram = histogram_of(np.array([1e6, 5e6, 5e6, 20e6, 3e9]))

    below, count, total_ns = histogram.cumulative([500_000, 1_000_000, 5_000_000, 10_000_000, 10**12])

    assert below == [0, 1, 3, 3, 5]
    assert (count, total_ns) == (5, 3_031_000_000)


def test_cumulative_counts_are_off_by_no_more_than_one_per_cent_of_the_limit() -> None:
    limits_ns = [1_000_000 * limit for limit in (1, 5, 15, 33, 100, 250)]
    histogram = histogram_of(np.array([side for limit in limits_ns for side in (limit, 1.011 * limit)]))

    below, _, _ = histogram.cumulative(limits_ns)

    assert below == [1, 3, 5, 7, 9, 11]


def test_memory_does_not_grow_with_the_run() -> None:
    histogram = histogram_of(np.arange(1, 1000) * 10_000)
    durations_ns = [int(value) for value in np.random.default_rng(1).integers(1, 10**10, 20_000)]

    tracemalloc.start()
    try:
        for duration_ns in durations_ns:
            histogram.add(duration_ns)
        grown_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert grown_bytes < 4096
