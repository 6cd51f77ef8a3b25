"""Times of frames since the first one: a recording's by timestamps, a live one's by when they were taken."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from typing import Final

NEW_CLOCK_NS: Final = 10_000_000_000
"""A step forward by more is another clock, as libav's own tools take it (`dts_delta_threshold`)."""
NEW_CLOCK_PERIODS: Final = 10  # the same of a recording of one picture a minute
SLOWEST_NS: Final = 3_600_000_000_000  # a recording gives a picture an hour at least
_ONE_TIMELINE: Final = ("mov", "matroska", "avi")
"""What one recorder wrote: a step forward is a pause there, up to the slowest. libav does the same."""
BACK_NS: Final = 1_000_000_000  # a step back by more is another clock at once: no decoder is so late
GAP_NS: Final = 1_000_000_000
"""A longer pause in a recording is told of at its end."""
DOUBTFUL_PERIODS: Final = 3
"""After so many the next frame is looked at too: a pause, or one wrong stamp."""
_REORDERED: Final = 4  # pictures in a row that may be shown later than one that was taken after them
_LEAST_STEP_NS: Final = 100_000  # closer than at 10,000 Hz, stamps are equal, or in another unit than told
_STEPS_KEPT, _STEPS_NEEDED, _CLOCKS_KEPT, _STRAYS_IN_A_ROW = 9, 3, 4, 8


class FrameTimes:
    """Times of a recording's frames, which always rise: by their timestamps where these can be believed.

    A frame without a usable timestamp comes one period after the one before. So does the first frame of
    another clock: recordings that were joined, a clock that wrapped or was set. A frame that alone was
    stamped wrong costs the others nothing, for clocks are remembered, and a pause is believed only if the
    next frame bears it out.

    Args:
        rate_hz: nominal; the period is measured as soon as some steps were seen.
        form: libav's name of the container.
    """

    def __init__(self, rate_hz: float, form: str = "") -> None:
        self._nominal_ns = self._period_ns = round(1e9 / rate_hz)
        self._form, longest_ns = form, SLOWEST_NS if form in _ONE_TIMELINE else NEW_CLOCK_NS
        self._limit_ns = max(longest_ns, NEW_CLOCK_PERIODS * self._nominal_ns)
        self._last_ns = -self._nominal_ns
        self._steps_ns: deque[int] = deque(maxlen=_STEPS_KEPT)
        self._offsets_ns: deque[int] = deque(maxlen=_CLOCKS_KEPT)  # time minus timestamp; the one in use last
        self._newest_pts_ns = self._last_pts_ns = 0
        self._late = self._on_this_clock = 0  # frames in a row that are no newer; frames of the clock in use
        self.clock_steps = 0
        """Times that another clock began."""
        self.strays = 0
        """Frames that were stamped wrong between others that were not."""
        self.gaps = 0
        """Pauses of more than a second, as the timestamps tell them."""

    def again(self) -> FrameTimes:
        """The times of the same recording from its beginning; what was counted is counted on."""
        times = FrameTimes(1e9 / self._nominal_ns, self._form)
        times.clock_steps, times.strays, times.gaps = self.clock_steps, self.strays, self.gaps
        return times

    def time_ns(self, pts_ns: int | None, next_pts_ns: Callable[[], int | None] = lambda: None) -> int:
        """Time of the next frame in nanoseconds; always later than the one before.

        Args:
            pts_ns: its timestamp; None where it has none.
            next_pts_ns: gives that of the frame after it; asked only after a pause.
        """
        self._last_ns += self._period_ns if pts_ns is None else self._step_ns(pts_ns, next_pts_ns)
        return self._last_ns

    def _step_ns(self, pts_ns: int, next_pts_ns: Callable[[], int | None]) -> int:
        """From the frame before to one of this timestamp."""
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
        if step_ns <= 0:  # frames before it were counted, and are ahead of their clock
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
        """Whether the next frame goes on from before this one's timestamp."""
        return next_pts_ns is not None and self._newest_pts_ns < next_pts_ns < pts_ns

    def _is_slow(self, pts_ns: int, next_pts_ns: int | None) -> bool:
        """Whether the next step is much the same: a picture a minute, whatever rate is told."""
        if next_pts_ns is None:
            return False
        step_ns, next_step_ns = pts_ns - self._newest_pts_ns, next_pts_ns - pts_ns
        return step_ns < SLOWEST_NS and step_ns < 2 * next_step_ns < 4 * step_ns

    def _other_clock(self, pts_ns: int) -> int:
        """The step where the clock in use cannot be meant: by one that was in use before, or a new one."""
        if remembered_ns := self._return_to_clock(pts_ns, self._limit_ns):
            return remembered_ns
        self.clock_steps += 1
        return self._begin_clock(pts_ns)

    def _return_to_clock(self, pts_ns: int, limit_ns: int) -> int:
        """The step by a clock that was in use before; 0 where none of them gives one within the limit."""
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
        """The step to a frame that is no newer: out of order, or of a clock that was set back a little."""
        is_rising, self._last_pts_ns = pts_ns > self._last_pts_ns, pts_ns
        self._late += 1
        if is_rising and self._late > _REORDERED:
            self.clock_steps += 1
            return self._begin_clock(pts_ns)
        return self._period_ns


class Stamped:
    """What a recording tells of its timestamps, once it was read."""

    def __init__(self) -> None:
        self._times = FrameTimes(1.0)

    @property
    def times(self) -> FrameTimes:
        """Of its frames."""
        return self._times

    @property
    def clock_steps(self) -> int:
        """As of `FrameTimes`."""
        return self._times.clock_steps

    @property
    def strays(self) -> int:
        """As of `FrameTimes`."""
        return self._times.strays

    @property
    def gaps(self) -> int:
        """As of `FrameTimes`."""
        return self._times.gaps


class CaptureTimes:
    """Times of a live source's frames since the first one: by when they were captured.

    Its timestamps jump whenever the sender's clock is set; a run of three seconds would last hours, or none.
    """

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._last_ns = -1

    def time_ns(self, captured_ns: int) -> int:
        """Time of the next frame in nanoseconds; always later than the one before."""
        if self._first_ns is None:
            self._first_ns = captured_ns
        self._last_ns = max(captured_ns - self._first_ns, self._last_ns + 1)
        return self._last_ns
