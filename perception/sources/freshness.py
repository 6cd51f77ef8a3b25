"""When a live source is fresh, stale or lost, when to try it again, and when its frames were really taken."""

from __future__ import annotations

import random
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from perception.frame import CameraState

PERIODS_UNTIL_STALE: Final = 3
_INTERVALS_KEPT: Final = 31
_INTERVALS_NEEDED: Final = 3
_LONGEST_DELAY_NS: Final = 10_000_000_000
_DRIFT: Final = 200e-6  # of two clocks against each other: twice what the crystals of cameras may


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


class Freshness:
    """Tells by the clock alone whether a source is silent, and when that is to be told again.

    The period is the nominal one or, where frames come more slowly, the median of the last intervals:
    cameras take fewer pictures in the dark, and some streams tell a rate that is made up.
    """

    def __init__(self, rate_hz: float, settings: FreshnessSettings, now_ns: int) -> None:
        self._nominal_ns = round(1e9 / rate_hz)
        self._settings = settings
        self._intervals_ns: deque[int] = deque(maxlen=_INTERVALS_KEPT)
        self._last_ns = now_ns
        self._has_frame = False
        self._told_ns: int | None = None

    @property
    def period_ns(self) -> int:
        """Between two frames, or two records of an outage."""
        if len(self._intervals_ns) < _INTERVALS_NEEDED:
            return self._nominal_ns
        return max(self._nominal_ns, round(statistics.median(self._intervals_ns)))

    @property
    def stale_after_ns(self) -> int:
        """How long a source may be silent."""
        return round(self._settings.stale_after_s * 1e9) or PERIODS_UNTIL_STALE * self.period_ns

    def frame(self, now_ns: int) -> None:
        """A frame came."""
        if self._has_frame and self._told_ns is None:
            self._intervals_ns.append(now_ns - self._last_ns)
        self._last_ns, self._has_frame, self._told_ns = now_ns, True, None

    def silent_ns(self, now_ns: int) -> int:
        """Since the last frame."""
        return now_ns - self._last_ns

    def due_ns(self) -> int:
        """When the silence is to be told next, if no frame comes before."""
        if self._told_ns is None:
            return self._last_ns + self.stale_after_ns
        return self._told_ns + self.period_ns

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


class ArrivalClock:
    """When frames of a stream were sent, on this machine's monotonic clock.

    The sender's timestamps tell when frames were taken against each other; the frame that came with the
    least delay tells where they lie on our clock (Cristian, "Probabilistic clock synchronization", 1989).
    Frames that piled up while the network stood still so show their age, and are not taken for fresh.
    """

    def __init__(self) -> None:
        self._offset_ns: float | None = None
        self._last_ns = 0

    def captured_ns(self, pts_ns: int | None, received_ns: int) -> int:
        """The time of a frame, never after its arrival; that itself where it carries no timestamp."""
        if pts_ns is None:
            return received_ns
        delay_ns = float(received_ns - pts_ns)
        if self._offset_ns is None or delay_ns - self._offset_ns > _LONGEST_DELAY_NS:
            self._offset_ns = delay_ns  # the first frame, or a sender that set its clock back
        else:  # the clocks drift apart: a smallest delay of long ago says less and less
            self._offset_ns = min(delay_ns, self._offset_ns + _DRIFT * (received_ns - self._last_ns))
        self._last_ns = received_ns
        return min(received_ns, round(pts_ns + self._offset_ns))
