"""When a live source is fresh, stale or lost, when to try it again, and when its frames were really taken."""

from __future__ import annotations

import random
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from perception.frame import CameraState
from perception.sources.arrival import ArrivalClock
from perception.sources.rate import Rate

__all__ = [
    "ArrivalClock",
    "Backoff",
    "Freshness",
    "FreshnessSettings",
    "ReconnectSettings",
    "allowed_silence_ns",
]

PERIODS_UNTIL_STALE: Final = 3
_INTERVALS_KEPT: Final = 9
_INTERVALS_RECENT: Final = 3
_SLOWEST_PERIODS: Final = 16  # a tenth of the nominal rate, and its jitter
_SLOWEST_NS: Final = 1_000_000_000  # for streams that tell a rate of their own making
_SLOWEST_UNTOLD_NS: Final = 5_000_000_000  # for sources that tell none: a picture in a few seconds
_FAST_FOR_NS: Final = 1_000_000_000
_UNEVEN_KEPT: Final = 32
_UNEVEN: Final = 1.5
"""A source is allowed so many times the second longest of its latest intervals."""
_UNEVEN_MAX_NS: Final = 1_500_000_000
_MEASURED_INTERVALS, _MEASURED_NS = 3, 1_000_000_000
_READY: Final = 4  # so many times as fast as the rate that is assumed, frames had been waiting
UNTOLD_SILENCE_NS: Final = 3_000_000_000
"""That a source may be silent whose rate nobody told, and which was not measured yet."""


@dataclass(frozen=True)
class FreshnessSettings:
    """How long a live source may be silent."""

    stale_after_s: float = 0.0
    """Without a frame for so long the source is stale and there is no mask; 0 for three periods of it."""
    lost_after_s: float = 2.0
    """After so much more it is lost."""
    max_age_s: float = 0.5
    """A mask older than this when it would be published is withheld as stale."""

    def __post_init__(self) -> None:
        """Refuse limits that are none; raises ValueError."""
        if self.stale_after_s < 0 or self.lost_after_s <= 0 or self.max_age_s <= 0:
            raise ValueError("freshness: stale_after_s must be 0 or more, lost_after_s and max_age_s above 0")


def allowed_silence_ns(period_ns: float, settings: FreshnessSettings) -> int:
    """How long a source of this period may give nothing before it is stale."""
    return round(settings.stale_after_s * 1e9) or round(PERIODS_UNTIL_STALE * period_ns)


class Freshness:
    """Tells by the clock alone whether a source is silent, and when that is to be told again.

    The period is learnt: cameras take fewer pictures in the dark or over a slow bus, and some streams tell
    a rate that is made up. Two slow intervals of three are enough to wait longer; to wait as short as before
    takes 31 frames. Faster than nominal counts once frames have come so for a second, without a gap that
    a burst would leave. An interval beyond 16 nominal periods, or a second where that is more, is an outage
    and no period.

    Intervals that vary (of a phone, of a busy camera, of frames in bursts) are no silence: the second longest
    of the latest 32 may come again, and half as long again, up to 1.5 s. A rate that nobody told is
    measured first, over three intervals and a second: until then a silence is one after 3 s.
    """

    def __init__(self, rate: Rate, settings: FreshnessSettings, now_ns: int) -> None:
        self._settings = settings
        self._intervals_ns: deque[int] = deque(maxlen=_INTERVALS_KEPT)
        self._uneven_ns: deque[int] = deque(maxlen=_UNEVEN_KEPT)
        self._fast_since_ns, self._fast_frames = now_ns, 0
        self._fast_ns: int | None = None
        self._last_ns = now_ns
        self._has_frame = False
        self._told_ns: int | None = None
        self._nominal_ns = self._measured = self._measured_ns = self._allowed_ns = 0
        self._rate: Rate | None = None
        self.set_rate(rate)

    def set_rate(self, rate: Rate) -> None:
        """Take another nominal rate, of a source that was opened again and tells it; the silence goes on."""
        if rate == self._rate:
            return
        self._rate, self._is_told = rate, rate.kind != "assumed"
        self._nominal_ns = nominal_ns = round(1e9 / rate.hz)
        slowest_ns = _SLOWEST_NS if self._is_told else _SLOWEST_UNTOLD_NS
        self._slowest_ns = max(_SLOWEST_PERIODS * nominal_ns, slowest_ns)
        self._intervals_ns.clear()
        self._uneven_ns.clear()
        self._measured = self._measured_ns = self._allowed_ns = 0
        self._fast_ns = None
        self.period_ns = nominal_ns
        """Between two frames, as learnt; may be read by any thread."""

    @property
    def stale_after_ns(self) -> int:
        """How long a source may be silent."""
        if self._settings.stale_after_s:
            return round(self._settings.stale_after_s * 1e9)
        least_ns = self._allowed_ns if self._is_measured else UNTOLD_SILENCE_NS
        return max(PERIODS_UNTIL_STALE * self.period_ns, least_ns)

    @property
    def _is_measured(self) -> bool:
        is_long = self._measured >= _MEASURED_INTERVALS and self._measured_ns >= _MEASURED_NS
        return self._is_told or is_long

    def frame(self, now_ns: int) -> None:
        """A frame came."""
        if self._has_frame:
            self._learn(now_ns - self._last_ns, now_ns)
        else:
            self._fast_since_ns = now_ns
        self._last_ns, self._has_frame, self._told_ns = now_ns, True, None

    def _learn(self, interval_ns: int, now_ns: int) -> None:
        if interval_ns > self._nominal_ns:
            self._fast_since_ns, self._fast_frames, self._fast_ns = now_ns, 0, None
        else:
            self._fast_frames += 1
            fast_for_ns = now_ns - self._fast_since_ns
            if fast_for_ns >= _FAST_FOR_NS:
                self._fast_ns = fast_for_ns // self._fast_frames
                self._fast_since_ns, self._fast_frames = now_ns, 0
        lay_ready = not self._is_measured and interval_ns < self._nominal_ns // _READY
        if interval_ns <= self._slowest_ns and not lay_ready:
            self._measured, self._measured_ns = self._measured + 1, self._measured_ns + interval_ns
            self._intervals_ns.append(interval_ns)
            self._uneven_ns.append(interval_ns)
            if len(self._uneven_ns) > 1:
                second_ns = sorted(self._uneven_ns)[-2]
                self._allowed_ns = min(round(_UNEVEN * second_ns), _UNEVEN_MAX_NS)
        self.period_ns = self._fast_ns or max(self._nominal_ns, self._slow_ns())

    def _slow_ns(self) -> int:
        intervals_ns = list(self._intervals_ns)
        if not intervals_ns:
            return 0
        recent_ns = statistics.median_low(intervals_ns[-_INTERVALS_RECENT:])
        return max(recent_ns, statistics.median_low(intervals_ns))

    def silent_ns(self, now_ns: int) -> int:
        """Since the last frame."""
        return now_ns - self._last_ns

    def due_ns(self, is_open: bool = True) -> int:
        """When the silence is to be told next, if no frame comes before: at once of a source that is gone."""
        if self._told_ns is None:
            gone_ns = allowed_silence_ns(self._nominal_ns, self._settings)
            return self._last_ns + (self.stale_after_ns if is_open else min(gone_ns, self.stale_after_ns))
        return self._told_ns + max(self.period_ns, self._nominal_ns)

    def tell(self, now_ns: int) -> CameraState:
        """`STALE` or `LOST`, for the record that is published now."""
        self._told_ns = now_ns
        limit_ns = self.stale_after_ns + round(self._settings.lost_after_s * 1e9)
        return CameraState.LOST if self.silent_ns(now_ns) >= limit_ns else CameraState.STALE


@dataclass(frozen=True)
class ReconnectSettings:
    """When a live source that failed is tried again: each time twice as late, up to a cap."""

    first_s: float = 0.25
    cap_s: float = 5.0
    """Half a second at most for cameras of the machine itself, which are cheap to look for."""
    jitter: float = 0.2
    """Each step is up to this share longer or shorter, so that many nodes do not come all at once."""

    def __post_init__(self) -> None:
        """Refuse steps that are none; raises ValueError."""
        if not 0 < self.first_s <= self.cap_s or not 0 <= self.jitter < 1:
            raise ValueError("reconnect: first_s must be above 0 and at most cap_s, jitter from 0 to below 1")


@dataclass
class Backoff:
    """The steps of one outage, counted from the start of an attempt: one that hangs has waited already."""

    settings: ReconnectSettings
    random: random.Random = field(default_factory=random.Random)
    attempts: int = 0

    def next_step_ns(self) -> int:
        """From the attempt that begins now to the next one."""
        step_s = min(self.settings.first_s * 2.0 ** min(self.attempts, 32), self.settings.cap_s)
        self.attempts += 1
        return round(step_s * (1 + self.settings.jitter * self.random.uniform(-1, 1)) * 1e9)
