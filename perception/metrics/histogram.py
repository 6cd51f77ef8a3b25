"""Quantiles of durations over a run of any length, in memory that does not grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

_LOWEST_NS = 1_000
_RATIO = 1.01
_BUCKETS = math.ceil(math.log(1e9) / math.log(_RATIO)) + 1  # 1 microsecond to 1,000 seconds


class Histogram:
    """Counts durations in buckets 1 % wide, so a quantile is right to about half a per cent."""

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros(_BUCKETS, np.int64)
        self._lock = Lock()
        self.max_ns = 0
        self.total_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration."""
        bucket = _bucket(duration_ns)
        with self._lock:
            self._counts[bucket] += 1
            self.max_ns = max(self.max_ns, duration_ns)
            self.total_ns += duration_ns

    @property
    def count(self) -> int:
        """Durations counted so far."""
        return int(self._counts.sum())

    def quantile_ms(self, share: float) -> float | None:
        """The duration in ms that `share` of all stay below; None before the first."""
        with self._lock:
            total = int(self._counts.sum())
            if total == 0:
                return None
            bucket = int(np.searchsorted(np.cumsum(self._counts), max(1, math.ceil(share * total))))
        middle_ns = _LOWEST_NS * _RATIO ** (bucket + 0.5)
        return float(min(middle_ns, self.max_ns)) / 1e6

    def cumulative(self, limits_ns: Sequence[int]) -> tuple[list[int], int, int]:
        """How many durations lie at or below each limit, how many there are, and their sum in ns.

        All of one moment. A duration up to 1 % above a limit may be counted below it, never the other
        way round.
        """
        with self._lock:
            below = np.cumsum(self._counts)
            total_ns = self.total_ns
        return [int(below[_bucket(limit)]) for limit in limits_ns], int(below[-1]), total_ns


def _bucket(duration_ns: int) -> int:
    position = math.log(max(duration_ns, _LOWEST_NS) / _LOWEST_NS) / math.log(_RATIO)
    return min(int(position), _BUCKETS - 1)
