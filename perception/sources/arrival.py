"""When frames were taken: from the sender's timestamps, and from when they arrived here."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass
from typing import Final

_DRIFT: Final = 200e-6  # of two clocks against each other: twice what the crystals of cameras may
_STEPS_KEPT: Final = 15
_STEPS_NEEDED: Final = 3
_SETTLE_NS: Final = 400_000_000
_DRAIN: Final = 0.1  # a queue that gets shorter does so by this share of the time at least
_PLAUSIBLE_NS: Final = 1_000_000_000  # between the end of an exposure and its frame in our hands
_JITTER_NS: Final = 100_000_000
_USUAL: Final = 1.25  # times the second longest of the latest steps: no more than cameras' intervals vary
_HELD_STEPS: Final = 2  # that libav holds a picture of MPEG-TS for
_SMALL: Final = 1 / 16  # of a period: a difference that tells nothing


class ArrivalClock:
    """When frames were sent, on this machine's monotonic clock.

    The sender's timestamps tell when frames were taken against each other; the frame that came with the
    least delay tells where they lie on our clock (Cristian, "Probabilistic clock synchronization", 1989).
    Frames that piled up while the network stood still so show their age, and are not taken for fresh,
    however long that lasts.

    A delay can only grow by as much as nothing arrived. Where the timestamps go back, or forward by more
    than the delay can have shrunk, it is the sender's clock that was set: one period is counted instead,
    and the delay goes on as it was. Where nothing arrived meanwhile too, nobody can tell how much of the
    silence the frame spent on its way: it counts as all of it, until frames have come at their own pace
    for 0.4 s. What waited somewhere would have come faster. A step such as there were others of late is the
    camera's own: it leaves out pictures in the dark, or takes them as they come.

    Args:
        offset_ns: between the sender's clock and ours, where that is known: 0 for a driver that reads our
            own clock. None finds it.
        waited_ns: that the first frame may have waited before it was taken, as while a stream was looked at.
    """

    def __init__(self, offset_ns: int | None = None, waited_ns: int = 0) -> None:
        self._offset_ns, self._waited_ns = offset_ns, waited_ns
        self._drift = _DRIFT if offset_ns is None else 0.0
        self._age_ns = waited_ns  # of the frame before
        self._last: tuple[int, int] | None = None
        self._steps_ns: deque[int] = deque(maxlen=_STEPS_KEPT)
        self._latest_ns: deque[int] = deque(maxlen=7)  # steps as they came, to find a small one that was set
        self._period_ns = 0
        self._rising_ns: deque[int] = deque(maxlen=_STEPS_KEPT)  # all that rise, those that were set too
        self._gaps_ns: deque[int] = deque(maxlen=_STEPS_KEPT)  # between arrivals: some send several at a time
        self._usual_ns = 0, 0  # the shortest and the longest step that are no surprise
        self._doubt_ns = 0
        self._window = _Window(0)

    def captured_ns(self, pts_ns: int | None, received_ns: int) -> int:
        """The time of a frame, never after its arrival; without a timestamp it is as old as the last."""
        if pts_ns is not None:
            self._age_ns = received_ns - self._captured_ns(pts_ns, received_ns)
        return received_ns - self._age_ns

    def _captured_ns(self, pts_ns: int, received_ns: int) -> int:
        delay_ns = received_ns - pts_ns
        if self._offset_ns is None:
            self._offset_ns, self._doubt_ns = delay_ns - self._waited_ns, self._waited_ns
        elif self._last is None and delay_ns - self._offset_ns > _PLAUSIBLE_NS:
            self._doubt_ns = (
                delay_ns  # a clock that is said to be ours, off by more than a driver keeps a frame
            )
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
            step_ns: from the timestamp before to this one.
            gap_ns: between their arrivals.
            excess_ns: of the delay of the frame before over the least.
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
        # a parser holds a picture until the next begins, or the one after that: the last one was at least as
        # late as this one was taken after it
        least_ns = step_ns - shortest_ns - _JITTER_NS // 2
        most_ns = max(step_ns, _HELD_STEPS * longest_ns) + longest_ns
        was_held = self._varies and least_ns < excess_ns < most_ns
        is_long = step_ns > max(1.5 * period_ns, (1 + self._varies) * longest_ns) and not was_held
        if is_long and abs(shrinks_ns) > max(2 * period_ns, _JITTER_NS):
            # the frames between may be lost, and others have waited or come faster; or the clock was set
            is_sure = 2 * (shrinks_ns - excess_ns) > period_ns
            self._uncertainty((gap_ns if is_sure else step_ns) - period_ns)
            return period_ns - step_ns
        self._learn(step_ns)
        return self._set_a_little()

    @property
    def _varies(self) -> bool:
        """Whether the camera keeps no rate."""
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
        """The same for less than half a period: one short step between others of a whole period."""
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
        """How much of the delay was none, now that frames have come at their own pace for a while."""
        last_received_ns = self._last[1] if self._last else received_ns
        if 2 * excess_ns <= self._period_ns:
            self._doubt_ns = 0  # it came down by itself: frames did wait somewhere
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
        held_ns = self._varies * 1.5 * self._usual_ns[0]  # pictures may be held for longer or shorter
        if window.drained_ns > _DRAIN * length_ns / 2 + held_ns:
            return 0
        cleared_ns, self._doubt_ns = min(self._doubt_ns, window.least_ns), 0
        return cleared_ns


@dataclass
class _Window:
    """The least delays over the two halves of a stretch of time."""

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
