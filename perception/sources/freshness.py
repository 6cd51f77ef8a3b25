"""When a live source is fresh, stale or lost, when to try it again, and when its frames were really taken."""

from __future__ import annotations

import random
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from perception.frame import CameraState
from perception.sources.arrival import ArrivalClock

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
_SLOWEST_NS: Final = 1_000_000_000  # for streams whose rate is made up
_FAST_FOR_NS: Final = 1_000_000_000


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
    takes five of nine. Faster than nominal counts once frames have come so for a second, without a gap that
    a burst would leave. An interval beyond 16 nominal periods, or a second where that is more, is an outage
    and no period.
    """

    def __init__(self, rate_hz: float, settings: FreshnessSettings, now_ns: int) -> None:
        self._settings = settings
        self._intervals_ns: deque[int] = deque(maxlen=_INTERVALS_KEPT)
        self._fast_since_ns, self._fast_frames = now_ns, 0
        self._fast_ns: int | None = None
        self._last_ns = now_ns
        self._has_frame = False
        self._told_ns: int | None = None
        self._nominal_ns = 0
        self.set_rate(rate_hz)

    def set_rate(self, rate_hz: float) -> None:
        """Take another nominal rate, of a source that was opened again and tells it; the silence goes on."""
        nominal_ns = round(1e9 / rate_hz)
        if nominal_ns == self._nominal_ns:
            return
        self._nominal_ns = nominal_ns
        self._slowest_ns = max(_SLOWEST_PERIODS * nominal_ns, _SLOWEST_NS)
        self._intervals_ns.clear()
        self._fast_ns = None
        self.period_ns = nominal_ns
        """Between two frames, as learnt; may be read by any thread."""

    @property
    def stale_after_ns(self) -> int:
        """How long a source may be silent."""
        return allowed_silence_ns(self.period_ns, self._settings)

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
        if interval_ns <= self._slowest_ns:
            self._intervals_ns.append(interval_ns)
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

    def due_ns(self) -> int:
        """When the silence is to be told next, if no frame comes before."""
        if self._told_ns is None:
            return self._last_ns + self.stale_after_ns
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
