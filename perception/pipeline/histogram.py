"""Quantiles of durations over a run of any length, in memory that does not grow."""

from __future__ import annotations

import math
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

    def add(self, duration_ns: int) -> None:
        """Count one duration."""
        position = math.log(max(duration_ns, _LOWEST_NS) / _LOWEST_NS) / math.log(_RATIO)
        with self._lock:
            self._counts[min(int(position), _BUCKETS - 1)] += 1
            self.max_ns = max(self.max_ns, duration_ns)

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
