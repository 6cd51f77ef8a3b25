"""Quantiles of a sample: how certain they are, and when a sample is too small to have them.

No shape of the distribution is assumed; only the order of the values counts. Intervals of order statistics:
W. J. Conover, Practical Nonparametric Statistics, "Confidence interval for a quantile" (scipy's
`quantile_test`). Smallest samples: S. S. Wilks, Determination of sample sizes for setting tolerance limits,
1941. Both take the values for independent; after a stall a few latencies in a row are not, and the truth is
then less certain than the interval says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from scipy.stats import quantile_test

HOLDS_WITH: Final = 0.99
"""How certain it must be that a sample reaches beyond the quantile."""
INTERVAL: Final = 0.95


@dataclass(frozen=True)
class Quantile:
    """Of a sample, and of what the sample was taken from."""

    share: float
    """Of the values that are not above it."""
    value: float | None
    """By nearest rank: one of the values. None where the sample is too small to hold it."""
    low: float | None
    """Lower end of the interval; None where even the smallest value may be above the true quantile."""
    high: float | None
    missing: int
    """How many more values it takes; 0 where there is a value."""


def quantile(values: Sequence[float], share: float) -> Quantile:
    """The quantile, and the interval that holds the true one in `INTERVAL` of all samples.

    Raises:
        ValueError: if `share` is not between 0 and 1.

    Example:
        >>> quantile(range(1, 501), 0.99)
        Quantile(share=0.99, value=495, low=490.0, high=500.0, missing=0)
    """
    missing = max(0, least_count(share) - len(values))
    if missing:
        return Quantile(share, None, None, None, missing)
    ends = cast(tuple[float, float], quantile_test(values, p=share).confidence_interval(INTERVAL))
    low, high = (None if math.isnan(end) else float(end) for end in ends)
    # The smallest rank, from 1, with at least `share` of the values up to it; 0.07 * 100 is a little above 7.
    rank = max(1, math.ceil(round(share * len(values), 9)))
    return Quantile(share, sorted(values)[rank - 1], low, high, 0)


def quantile_or_max(values: Sequence[float], share: float) -> float:
    """The quantile; of a sample too small to hold it the maximum, which is at least as strict.

    Raises:
        ValueError: if there are no values, or `share` is not between 0 and 1.
    """
    value = quantile(values, share).value
    return max(values) if value is None else value


def least_count(share: float) -> int:
    """The smallest sample whose largest value is above the true quantile, with a certainty of `HOLDS_WITH`.

    459 for 0.99, 4,603 for 0.999: below that, the sample has most likely not seen what it should show.
    This is the least; MLPerf Inference asks for 270,336 queries for its 0.99.

    Raises:
        ValueError: if `share` is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"a quantile's share is between 0 and 1, not {share:g}")
    outer = max(share, 1 - share)  # a low quantile is held by the smallest value
    # Rounded, for the logarithm of 0.01 over that of 0.1 is a little more than 2.
    return math.ceil(round(math.log(1 - HOLDS_WITH) / math.log(outer), 9))
