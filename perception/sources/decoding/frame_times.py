"""Frame times since the first frame: from timestamps for recordings, from capture times for live sources."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from typing import Final

NEW_CLOCK_NS: Final = 10_000_000_000
"""A longer step forward is a new clock, as in ffmpeg (`dts_delta_threshold`)."""
NEW_CLOCK_PERIODS: Final = 10  # the same for recordings with a frame per minute
SLOWEST_NS: Final = 3_600_000_000_000  # at least one frame per hour
_ONE_TIMELINE: Final = ("mov", "matroska", "avi")
"""Containers with one timeline, where a step forward is a pause, as in ffmpeg."""
BACK_NS: Final = 1_000_000_000  # a longer step back is a new clock; no decoder reorders that far
GAP_NS: Final = 1_000_000_000
"""A longer pause is reported at the end of the recording."""
DOUBTFUL_PERIODS: Final = 3
"""After a longer step the next frame decides whether it is a pause or one wrong timestamp."""
_REORDERED: Final = 4  # frames in a row that may be shown after one that was captured later
_LEAST_STEP_NS: Final = 100_000  # timestamps closer than this (10,000 Hz) are repeats, or in another unit
_STEPS_KEPT, _STEPS_NEEDED, _CLOCKS_KEPT, _STRAYS_IN_A_ROW = 9, 3, 4, 8


class FrameTimes:
    """Strictly increasing times for a recording's frames, from their timestamps where these are plausible.

    A frame without a plausible timestamp follows the previous one by one period. So does the first frame of
    a new clock: concatenated recordings, or a clock that wrapped or was set. A single wrong timestamp does
    not affect other frames: earlier clocks are remembered, and a pause needs confirmation by the next frame.

    Args:
        rate_hz: nominal; the period is measured after a few frames.
        form: libav's name of the container.
    """

    def __init__(self, rate_hz: float, form: str = "") -> None:
        self._nominal_ns = self._period_ns = round(1e9 / rate_hz)
        longest_ns = SLOWEST_NS if form in _ONE_TIMELINE else NEW_CLOCK_NS
        self._limit_ns = max(longest_ns, NEW_CLOCK_PERIODS * self._nominal_ns)
        self._last_ns = -self._nominal_ns
        self._steps_ns: deque[int] = deque(maxlen=_STEPS_KEPT)
        self._offsets_ns: deque[int] = deque(maxlen=_CLOCKS_KEPT)  # time minus timestamp; current clock last
        self._newest_pts_ns = self._last_pts_ns = 0
        self._late = self._on_this_clock = 0  # consecutive frames that are no newer; frames of this clock
        self.clock_steps = 0
        """Changes to another clock."""
        self.strays = 0
        """Single frames with a wrong timestamp."""
        self.gaps = 0
        """Pauses of more than a second."""

    def count_on(self, times: FrameTimes) -> None:
        """Continue the counters of an earlier pass over the same recording."""
        self.clock_steps, self.strays, self.gaps = times.clock_steps, times.strays, times.gaps

    def time_ns(self, pts_ns: int | None, next_pts_ns: Callable[[], int | None] = lambda: None) -> int:
        """Time of the next frame in nanoseconds; always later than the previous one.

        Args:
            pts_ns: its timestamp; None if absent.
            next_pts_ns: gives the timestamp of the following frame; called only after a long step.
        """
        self._last_ns += self._period_ns if pts_ns is None else self._step_ns(pts_ns, next_pts_ns)
        return self._last_ns

    def _step_ns(self, pts_ns: int, next_pts_ns: Callable[[], int | None]) -> int:
        """The step from the previous frame."""
        if not self._offsets_ns:
            return self._begin_clock(pts_ns)
        is_repeated = abs(pts_ns - self._last_pts_ns) < _LEAST_STEP_NS
        if is_repeated:
            self._last_pts_ns = pts_ns
            return self._period_ns
        step_ns = pts_ns + self._offsets_ns[-1] - self._last_ns
        is_long = step_ns > max(NEW_CLOCK_NS, NEW_CLOCK_PERIODS * self._period_ns)
        if is_long and self._is_slow(pts_ns, next_pts_ns()):
            self._period_ns = step_ns
            self._limit_ns = max(self._limit_ns, min(NEW_CLOCK_PERIODS * step_ns, SLOWEST_NS))
        if step_ns > self._limit_ns or pts_ns < self._newest_pts_ns - BACK_NS:
            return self._other_clock(pts_ns)
        if pts_ns <= self._newest_pts_ns:
            return self._late_step_ns(pts_ns)
        doubtful_ns = DOUBTFUL_PERIODS * self._period_ns
        if step_ns > doubtful_ns:
            if remembered_ns := self._return_to_clock(pts_ns, doubtful_ns):
                return remembered_ns
            if self._is_stray(pts_ns, next_pts_ns()):
                self.strays += 1
                return self._period_ns
        self._follow(pts_ns)
        if step_ns <= 0:  # previous frames without timestamps are ahead of their clock
            return max(1, self._period_ns // 2)
        if step_ns > max(GAP_NS, doubtful_ns):
            self.gaps += 1
        elif step_ns != self._period_ns or len(self._steps_ns) < _STEPS_KEPT:
            self._steps_ns.append(step_ns)
            if len(self._steps_ns) >= _STEPS_NEEDED:
                self._period_ns = round(statistics.median(self._steps_ns))
        return step_ns

    def _begin_clock(self, pts_ns: int) -> int:
        self._offsets_ns.append(self._last_ns + self._period_ns - pts_ns)
        self._on_this_clock = 0
        self._follow(pts_ns)
        return self._period_ns

    def _follow(self, pts_ns: int) -> None:
        self._newest_pts_ns = self._last_pts_ns = pts_ns
        self._late = 0
        self._on_this_clock += 1

    def _is_stray(self, pts_ns: int, next_pts_ns: int | None) -> bool:
        """Whether the next frame continues from before this one's timestamp."""
        return next_pts_ns is not None and self._newest_pts_ns < next_pts_ns < pts_ns

    def _is_slow(self, pts_ns: int, next_pts_ns: int | None) -> bool:
        """Whether the next step is similar: the true rate is lower than stated."""
        if next_pts_ns is None:
            return False
        step_ns, next_step_ns = pts_ns - self._newest_pts_ns, next_pts_ns - pts_ns
        return step_ns < SLOWEST_NS and step_ns < 2 * next_step_ns < 4 * step_ns

    def _other_clock(self, pts_ns: int) -> int:
        """The step to a frame of another clock, remembered or new."""
        if remembered_ns := self._return_to_clock(pts_ns, self._limit_ns):
            return remembered_ns
        self.clock_steps += 1
        return self._begin_clock(pts_ns)

    def _return_to_clock(self, pts_ns: int, limit_ns: int) -> int:
        """The step by a remembered clock; 0 if none gives one within the limit."""
        for offset_ns in reversed(list(self._offsets_ns)[:-1]):
            step_ns = pts_ns + offset_ns - self._last_ns
            if 0 < step_ns <= limit_ns:
                if self._on_this_clock <= _STRAYS_IN_A_ROW:
                    self.clock_steps -= 1
                    self.strays += self._on_this_clock
                self._offsets_ns.remove(offset_ns)
                self._offsets_ns.append(offset_ns)
                self._on_this_clock = _STRAYS_IN_A_ROW
                self._follow(pts_ns)
                return step_ns
        return 0

    def _late_step_ns(self, pts_ns: int) -> int:
        """The step to a frame that is no newer: reordered, or from a clock that was set back a little."""
        is_rising, self._last_pts_ns = pts_ns > self._last_pts_ns, pts_ns
        self._late += 1
        if is_rising and self._late > _REORDERED:
            self.clock_steps += 1
            return self._begin_clock(pts_ns)
        return self._period_ns


class CaptureTimes:
    """Times of a live source's frames since the first, from capture times.

    Timestamps would jump whenever the sender's clock is set, and `--duration` with them.
    """

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._last_ns = -1

    def time_ns(self, captured_ns: int) -> int:
        """Time of the next frame in nanoseconds; always later than the previous one."""
        if self._first_ns is None:
            self._first_ns = captured_ns
        self._last_ns = max(captured_ns - self._first_ns, self._last_ns + 1)
        return self._last_ns
