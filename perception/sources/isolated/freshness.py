"""When a live source is fresh, stale or lost, and when to reconnect."""

from __future__ import annotations

import random
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from perception.frame import CameraState
from perception.sources.rate import Rate

PERIODS_UNTIL_STALE: Final = 3
_INTERVALS_KEPT: Final = 9
_INTERVALS_RECENT: Final = 3
_SLOWEST_PERIODS: Final = 16  # a tenth of the nominal rate, with jitter
_SLOWEST_NS: Final = 1_000_000_000  # for streams that declare an arbitrary rate
_SLOWEST_ASSUMED_NS: Final = 5_000_000_000  # for sources without a rate: a picture every few seconds
_FAST_FOR_NS: Final = 1_000_000_000
_UNEVEN_KEPT: Final = 32
_UNEVEN: Final = 1.5
"""Allowed silence as a multiple of the second longest recent interval."""
_UNEVEN_MAX_NS: Final = 1_500_000_000
_MEASURED_INTERVALS, _MEASURED_NS = 3, 1_000_000_000
_READY: Final = 4  # frames that come this many times faster than the assumed rate were queued
UNMEASURED_SILENCE_NS: Final = 3_000_000_000
"""Allowed silence of a source whose rate is neither declared nor measured yet."""


@dataclass(frozen=True)
class FreshnessSettings:
    """How long a live source may be silent."""

    stale_after_s: float = 0.0
    """Without a frame for this time the source is stale and there is no mask; 0 for three periods of it."""
    lost_after_s: float = 2.0
    """After this additional time it is lost."""
    max_age_s: float = 0.5
    """A mask older than this when it would be published is withheld as stale."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.stale_after_s < 0 or self.lost_after_s <= 0 or self.max_age_s <= 0:
            raise ValueError("freshness: stale_after_s must be 0 or more, lost_after_s and max_age_s above 0")


def allowed_silence_ns(period_ns: float, settings: FreshnessSettings) -> int:
    """How long a source with this period may be silent before it is stale."""
    return round(settings.stale_after_s * 1e9) or round(PERIODS_UNTIL_STALE * period_ns)


class Freshness:
    """Decides whether a source is silent, and when that is due to be reported again.

    The period is learnt: cameras slow down in the dark or on a slow bus, and some streams declare a false
    rate. Two slow intervals out of three raise it; lowering it takes 31 frames. A rate above nominal counts
    after a second without the gaps of bursts. An interval beyond 16 nominal periods (at least 1 s) is an
    outage, not a period.

    Varying intervals (phones, busy cameras, bursts) are tolerated: 1.5 times the second longest of the latest
    32, up to 1.5 s. A rate that is only assumed is measured first, over three intervals and a second; until
    then, the limit is 3 s.
    """

    def __init__(self, rate: Rate, settings: FreshnessSettings, now_ns: int) -> None:
        self._settings = settings
        self._intervals_ns: deque[int] = deque(maxlen=_INTERVALS_KEPT)
        self._uneven_ns: deque[int] = deque(maxlen=_UNEVEN_KEPT)
        self._fast_since_ns, self._fast_frames = now_ns, 0
        self._fast_ns: int | None = None
        self._last_ns = now_ns
        self._has_frame = False
        self._reported_ns: int | None = None
        self._nominal_ns = self._measured = self._measured_ns = self._allowed_ns = 0
        self._rate: Rate | None = None
        self.set_rate(rate)

    def set_rate(self, rate: Rate) -> None:
        """Change the nominal rate when a source is reopened; a silence continues."""
        if rate == self._rate:
            return
        self._rate, self._is_declared = rate, rate.kind != "assumed"
        self._nominal_ns = nominal_ns = round(1e9 / rate.hz)
        slowest_ns = _SLOWEST_NS if self._is_declared else _SLOWEST_ASSUMED_NS
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
        least_ns = self._allowed_ns if self._is_measured else UNMEASURED_SILENCE_NS
        return max(PERIODS_UNTIL_STALE * self.period_ns, least_ns)

    @property
    def _is_measured(self) -> bool:
        is_long = self._measured >= _MEASURED_INTERVALS and self._measured_ns >= _MEASURED_NS
        return self._is_declared or is_long

    def frame(self, now_ns: int) -> None:
        """A frame has arrived."""
        if self._has_frame:
            self._learn(now_ns - self._last_ns, now_ns)
        else:
            self._fast_since_ns = now_ns
        self._last_ns, self._has_frame, self._reported_ns = now_ns, True, None

    def _learn(self, interval_ns: int, now_ns: int) -> None:
        if interval_ns > self._nominal_ns:
            self._fast_since_ns, self._fast_frames, self._fast_ns = now_ns, 0, None
        else:
            self._fast_frames += 1
            fast_for_ns = now_ns - self._fast_since_ns
            if fast_for_ns >= _FAST_FOR_NS:
                self._fast_ns = fast_for_ns // self._fast_frames
                self._fast_since_ns, self._fast_frames = now_ns, 0
        was_queued = not self._is_measured and interval_ns < self._nominal_ns // _READY
        if interval_ns <= self._slowest_ns and not was_queued:
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
        """When a silence is due to be reported next; sooner if the source is known to be gone."""
        if self._reported_ns is None:
            gone_ns = allowed_silence_ns(self._nominal_ns, self._settings)
            return self._last_ns + (self.stale_after_ns if is_open else min(gone_ns, self.stale_after_ns))
        return self._reported_ns + max(self.period_ns, self._nominal_ns)

    def report(self, now_ns: int) -> CameraState:
        """`STALE` or `LOST`, for the record that is published now."""
        self._reported_ns = now_ns
        limit_ns = self.stale_after_ns + round(self._settings.lost_after_s * 1e9)
        return CameraState.LOST if self.silent_ns(now_ns) >= limit_ns else CameraState.STALE


@dataclass(frozen=True)
class ReconnectSettings:
    """Exponential back-off for a live source that failed."""

    first_s: float = 0.25
    cap_s: float = 5.0
    """Half a second at most for cameras of the machine itself, which are cheap to look for."""
    jitter: float = 0.2
    """Each step varies randomly by up to this share, so that many nodes do not reconnect together."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if not 0 < self.first_s <= self.cap_s or not 0 <= self.jitter < 1:
            raise ValueError("reconnect: first_s must be above 0 and at most cap_s, jitter from 0 to below 1")


@dataclass
class Backoff:
    """The steps of one outage, each counted from the start of an attempt."""

    settings: ReconnectSettings
    random: random.Random = field(default_factory=random.Random)
    attempts: int = 0

    def next_step_ns(self) -> int:
        """From the attempt that starts now to the next one."""
        step_s = min(self.settings.first_s * 2.0 ** min(self.attempts, 32), self.settings.cap_s)
        self.attempts += 1
        return round(step_s * (1 + self.settings.jitter * self.random.uniform(-1, 1)) * 1e9)
