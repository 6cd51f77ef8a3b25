"""UTC and the monotonic clock: the offset between them, and whether the system's time is synchronised."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

from perception.provenance.kernel_time import Synchronisation, kernel_synchronisation

OPENING_READS: Final = 16
ASK_AGAIN_NS: Final = 1_000_000_000
"""Interval of checks whether the system's time is synchronised."""
STEP_NS: Final = 1_000_000
"""Smallest change of the offset that counts as a step. Smaller ones are followed without counting: outside
Linux the monotonic clock does not follow the corrections of UTC, and the two drift."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ClockTie:
    """The relation of the system's UTC clock to the monotonic clock, at one moment."""

    offset_ns: int
    """UTC (`time.time_ns`) minus `time.monotonic_ns`."""
    uncertainty_ns: int
    """Uncertainty of the offset, plus or minus: half the time between the two readings of the monotonic clock
    around a reading of UTC. It does not include the error of the system's UTC."""
    steps: int = 0
    """Number of times that UTC was set by a millisecond or more since the start of the run."""
    stepped_ns: int = 0
    """Sum of these steps."""
    synchronisation: Synchronisation = field(default_factory=Synchronisation)

    def utc_ns(self, monotonic_ns: int) -> int:
        """UTC in nanoseconds since 1970 at a time of the monotonic clock."""
        return monotonic_ns + self.offset_ns

    def as_dict(self) -> dict[str, Any]:
        """Every field, flat, for the summary."""
        values = asdict(self)
        synchronisation: dict[str, Any] = values.pop("synchronisation")
        return values | synchronisation


class UtcClock:
    """Relates UTC to the monotonic clock at every call, so that no step of UTC is missed.

    On Linux both clocks run at the same corrected rate, so the offset between them changes only in steps:
    when UTC is set, at a leap second, and after sleep. A reading within the current uncertainty can only
    reduce it; one outside is a step.

    Args:
        monotonic_ns, utc_ns: the clocks; tests inject their own.
        synchronisation: reads the state of the system's time.
    """

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        utc_ns: Callable[[], int] = time.time_ns,
        synchronisation: Callable[[], Synchronisation] | None = None,
    ) -> None:
        self._monotonic_ns, self._utc_ns = monotonic_ns, utc_ns
        self._synchronisation = synchronisation or kernel_synchronisation
        self._lock = Lock()
        first = min((self._read() for _ in range(OPENING_READS)), key=lambda read: read[1])
        self._tie = ClockTie(*first, synchronisation=self._synchronisation())
        self._asked_ns = monotonic_ns()

    def tie(self) -> ClockTie:
        """The current tie; thread-safe."""
        with self._lock:
            self._tie = self._renewed(self._tie, self._read())
            return self._tie

    def _renewed(self, known: ClockTie, read: tuple[int, int]) -> ClockTie:
        offset_ns, uncertainty_ns = read
        change_ns = offset_ns - known.offset_ns
        if abs(change_ns) > uncertainty_ns + known.uncertainty_ns:
            is_step = abs(change_ns) >= STEP_NS
            known = replace(
                known,
                offset_ns=offset_ns,
                uncertainty_ns=uncertainty_ns,
                steps=known.steps + is_step,
                stepped_ns=known.stepped_ns + change_ns * is_step,
            )
        elif uncertainty_ns < known.uncertainty_ns:
            known = replace(known, offset_ns=offset_ns, uncertainty_ns=uncertainty_ns)
        now_ns = self._monotonic_ns()
        if now_ns - self._asked_ns >= ASK_AGAIN_NS:
            self._asked_ns = now_ns
            known = replace(known, synchronisation=self._synchronisation())
        return known

    @property
    def last(self) -> ClockTie:
        """The last tie, without reading the clocks."""
        return self._tie

    def _read(self) -> tuple[int, int]:
        """Offset and uncertainty of one reading, as in `ClockTie`."""
        before_ns = self._monotonic_ns()
        utc_ns = self._utc_ns()
        after_ns = self._monotonic_ns()
        # 1 ns more, for rounding
        return utc_ns - (before_ns + after_ns) // 2, (after_ns - before_ns + 1) // 2 + 1


def utc_text(utc_ns: int) -> str:
    """RFC 3339 in UTC, to the microsecond.

    Example:
        >>> utc_text(1_700_000_000_123_456_789)
        '2023-11-14T22:13:20.123456Z'
    """
    moment = _EPOCH + timedelta(microseconds=utc_ns // 1000)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
