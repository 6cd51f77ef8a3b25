"""Capture times of frames, from the sender's timestamps and the arrival times."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass
from typing import Final

_DRIFT: Final = 200e-6  # of two clocks against each other: twice the tolerance of cameras' crystals
_STEPS_KEPT: Final = 15
_STEPS_NEEDED: Final = 3
_SETTLE_NS: Final = 400_000_000
_DRAIN: Final = 0.1  # a draining queue shrinks by at least this share of the time
_PLAUSIBLE_NS: Final = 1_000_000_000  # from the end of an exposure to the frame's arrival
_JITTER_NS: Final = 100_000_000
_USUAL: Final = 1.25  # times the second longest recent step: the variation of cameras' intervals
_HELD_STEPS: Final = 2  # steps for which libav holds back a picture of MPEG-TS
_SMALL: Final = 1 / 16  # of a period: a negligible difference


class ArrivalClock:
    """Capture times of frames on this machine's monotonic clock.

    Timestamps give the intervals between frames; the frame with the least delay gives their offset to our
    clock (Cristian, "Probabilistic clock synchronization", 1989). So frames that piled up while the network
    stalled show their true age, however long that lasts.

    A delay can grow only by the time in which nothing arrived. If timestamps go back, or forward by more than
    the delay can have shrunk, the sender's clock was set: the step counts as one period, and the delay stays
    as it was. If nothing arrived in the meantime either, the delay is ambiguous: it counts as the whole
    silence until frames have arrived at their own pace for 0.4 s; queued frames would have come faster. A
    step like other recent ones is the camera's own: it skips pictures in the dark, or has no fixed rate.

    Args:
        offset_ns: of our clock to the sender's; 0 for a driver that uses our clock, None to estimate it.
        waited_ns: how long the first frame may have been queued, for example while the stream was probed.
    """

    def __init__(self, offset_ns: int | None = None, waited_ns: int = 0) -> None:
        self._offset_ns, self._waited_ns = offset_ns, waited_ns
        self._drift = _DRIFT if offset_ns is None else 0.0
        self._age_ns = waited_ns  # of the previous frame
        self._last: tuple[int, int] | None = None
        self._steps_ns: deque[int] = deque(maxlen=_STEPS_KEPT)
        self._latest_ns: deque[int] = deque(maxlen=7)  # latest steps, to find a small clock adjustment
        self._period_ns = 0
        self._rising_ns: deque[int] = deque(maxlen=_STEPS_KEPT)  # all positive steps, adjusted ones included
        self._gaps_ns: deque[int] = deque(maxlen=_STEPS_KEPT)  # between arrivals: some send bursts
        self._usual_ns = 0, 0  # the shortest and the longest usual step
        self._doubt_ns = 0
        self._window = _Window(0)

    def captured_ns(self, pts_ns: int | None, received_ns: int) -> int:
        """Capture time of a frame, at most its arrival; without a timestamp it is as old as the previous."""
        if pts_ns is not None:
            self._age_ns = received_ns - self._captured_ns(pts_ns, received_ns)
        return received_ns - self._age_ns

    def _captured_ns(self, pts_ns: int, received_ns: int) -> int:
        delay_ns = received_ns - pts_ns
        if self._offset_ns is None:
            self._offset_ns, self._doubt_ns = delay_ns - self._waited_ns, self._waited_ns
        elif self._last is None and delay_ns - self._offset_ns > _PLAUSIBLE_NS:
            self._doubt_ns = delay_ns  # supposedly our clock, but further off than a driver keeps a frame
        if self._last is None:
            self._window = _Window(received_ns)
        else:
            last_pts_ns, last_received_ns = self._last
            gap_ns = max(0, received_ns - last_received_ns)
            excess_ns = last_received_ns - last_pts_ns - self._offset_ns
            self._offset_ns += self._set_by(pts_ns - last_pts_ns, gap_ns, excess_ns)
            self._offset_ns += round(self._drift * gap_ns)
        self._offset_ns = min(delay_ns, self._offset_ns)
        if self._doubt_ns and self._last is not None:
            self._offset_ns += self._cleared_ns(delay_ns - self._offset_ns, received_ns)
        self._last = pts_ns, received_ns
        return min(received_ns, pts_ns + self._offset_ns)

    def _set_by(self, step_ns: int, gap_ns: int, excess_ns: int) -> int:
        """By how much the sender's clock was set back (above 0) or forward before this frame.

        Args:
            step_ns: between the timestamps of the previous frame and this one.
            gap_ns: between their arrivals.
            excess_ns: delay of the previous frame beyond the least delay.
        """
        period_ns, (shortest_ns, longest_ns) = self._period_ns, self._usual_ns
        self._get_used_to(step_ns)
        if not period_ns:
            if step_ns <= 0:
                return gap_ns - step_ns
            self._learn(step_ns)
            return 0
        shrinks_ns = step_ns - gap_ns
        if step_ns <= 0:
            self._uncertainty(gap_ns - period_ns)
            return period_ns - step_ns
        if 2 * step_ns < min(period_ns, shortest_ns) and -2 * shrinks_ns > period_ns:
            return min(period_ns, gap_ns) - step_ns
        # a parser holds a picture until the next one or two begin: the previous picture was delayed at least
        # until this one was captured
        least_ns = step_ns - shortest_ns - _JITTER_NS // 2
        most_ns = max(step_ns, _HELD_STEPS * longest_ns) + longest_ns
        was_held = self._varies and least_ns < excess_ns < most_ns
        is_long = step_ns > max(1.5 * period_ns, (1 + self._varies) * longest_ns) and not was_held
        if is_long and abs(shrinks_ns) > max(2 * period_ns, _JITTER_NS):
            # either frames in between were lost and the delay changed, or the clock was set
            is_sure = 2 * (shrinks_ns - excess_ns) > period_ns
            self._uncertainty((gap_ns if is_sure else step_ns) - period_ns)
            return period_ns - step_ns
        self._learn(step_ns)
        return self._set_a_little()

    @property
    def _varies(self) -> bool:
        """Whether the camera has no fixed rate."""
        return self._usual_ns[1] > 2 * self._usual_ns[0]

    def _get_used_to(self, step_ns: int) -> None:
        if 0 < step_ns < _PLAUSIBLE_NS:
            self._rising_ns.append(step_ns)
        if len(self._rising_ns) >= _STEPS_NEEDED:
            in_order = sorted(self._rising_ns)
            self._usual_ns = in_order[1], round(_USUAL * in_order[-2])

    def _learn(self, step_ns: int) -> None:
        self._steps_ns.append(step_ns)
        self._latest_ns.append(step_ns)
        if len(self._steps_ns) >= _STEPS_NEEDED:
            self._period_ns = round(statistics.median(self._steps_ns))

    def _set_a_little(self) -> int:
        """An adjustment of less than half a period: one short step between regular ones."""
        steps_ns, small_ns = list(self._latest_ns), _SMALL * self._period_ns
        if len(steps_ns) < 7 or self._period_ns - steps_ns[3] <= small_ns:
            return 0
        others_ns = steps_ns[:3] + steps_ns[4:]
        if any(abs(step_ns - self._period_ns) > small_ns for step_ns in others_ns):
            return 0
        return self._period_ns - steps_ns[3]

    def _uncertainty(self, amount_ns: int) -> None:
        if 2 * amount_ns > self._period_ns:
            self._doubt_ns += amount_ns
            self._window = _Window(0)

    def _cleared_ns(self, excess_ns: int, received_ns: int) -> int:
        """How much of the delay was not real, after frames have arrived at their own pace for a while."""
        last_received_ns = self._last[1] if self._last else received_ns
        if 2 * excess_ns <= self._period_ns:
            self._doubt_ns = 0  # the delay shrank by itself: frames were indeed queued
            return 0
        usual_gap_ns = round(_USUAL * sorted(self._gaps_ns)[-2]) if len(self._gaps_ns) > 1 else 0
        gap_ns = received_ns - last_received_ns
        is_pause = gap_ns > max(2 * self._period_ns + _SETTLE_NS // 4, usual_gap_ns)
        if gap_ns < _PLAUSIBLE_NS:
            self._gaps_ns.append(gap_ns)
        if is_pause or not self._window.began_ns:
            self._window = _Window(received_ns)
        length_ns = max(_SETTLE_NS, 4 * self._period_ns, 4 * usual_gap_ns)
        self._window.add(excess_ns, received_ns, length_ns)
        if received_ns - self._window.began_ns < length_ns:
            return 0
        window, self._window = self._window, _Window(received_ns)
        held_ns = self._varies * 1.5 * self._usual_ns[0]  # the parser's delay varies with the steps
        if window.drained_ns > _DRAIN * length_ns / 2 + held_ns:
            return 0
        cleared_ns, self._doubt_ns = min(self._doubt_ns, window.least_ns), 0
        return cleared_ns


@dataclass
class _Window:
    """The least delays in the two halves of a time window."""

    began_ns: int
    first_ns: int | None = None
    second_ns: int | None = None

    def add(self, excess_ns: int, received_ns: int, length_ns: int) -> None:
        if 2 * (received_ns - self.began_ns) < length_ns:
            self.first_ns = excess_ns if self.first_ns is None else min(self.first_ns, excess_ns)
        else:
            self.second_ns = excess_ns if self.second_ns is None else min(self.second_ns, excess_ns)

    @property
    def least_ns(self) -> int:
        return min(ns for ns in (self.first_ns, self.second_ns) if ns is not None)

    @property
    def drained_ns(self) -> int:
        return 0 if self.first_ns is None or self.second_ns is None else self.first_ns - self.second_ns
