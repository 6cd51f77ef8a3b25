"""Paces the pictures of a live stream that arrives in segments of several seconds."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Final

LATE_NS: Final = 100_000_000
"""A picture that is later than this shifts all that follow: the buffer had run empty."""
_LONGEST_NS: Final = 1_000_000_000
_LONGEST_STEPS: Final = 5
_STEPS_KEPT: Final = 15


class PlayClock:
    """Paces pictures by their timestamps, from the moment when the first was decoded.

    A step back, or over a gap, counts as one period.

    Args:
        rate_hz: nominal frames per second.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = round(1e9 / rate_hz)
        self._steps_ns: deque[int] = deque(maxlen=_STEPS_KEPT)
        self._last_pts_ns: int | None = None
        self._due_ns: int | None = None

    def due_ns(self, pts_ns: int | None, ready_ns: int) -> int:
        """When a picture with timestamp `pts_ns`, decoded at `ready_ns`, is due (monotonic clock)."""
        step_ns = self._step_ns(pts_ns)
        due_ns = ready_ns if self._due_ns is None else self._due_ns + step_ns
        if ready_ns - due_ns > LATE_NS:
            due_ns = ready_ns
        self._due_ns = due_ns
        return due_ns

    def _step_ns(self, pts_ns: int | None) -> int:
        last_ns, self._last_pts_ns = self._last_pts_ns, pts_ns
        if last_ns is None or pts_ns is None:
            return self._period_ns
        step_ns = pts_ns - last_ns
        if not 0 < step_ns <= max(_LONGEST_NS, _LONGEST_STEPS * self._period_ns):
            return self._period_ns
        self._steps_ns.append(step_ns)
        self._period_ns = round(statistics.median(self._steps_ns))
        return step_ns
