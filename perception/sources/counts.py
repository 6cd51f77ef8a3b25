"""What sources count while they run, and how long they may be silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from perception.sources.isolated.freshness import FreshnessSettings, allowed_silence_ns
from perception.system.time_limits import SKIP_LIMIT_S

if TYPE_CHECKING:
    from perception.sources.source import Source, SourceInfo

READ_PERIODS: Final = 4
"""Least time for one read, in periods."""


@dataclass(frozen=True)
class SourceCounts:
    """Counters of one source since it was opened."""

    decode_errors: int = 0
    """Packets and images that could not be decoded, and damaged pictures."""
    unreadable: int = 0
    """Images that could not be read and have no frame."""
    io_errors: int = 0
    """Calls to the driver that failed and were retried."""
    reconnect_attempts: int = 0
    reconnects: int = 0
    """Successful attempts: frames arrived again."""
    hangs: int = 0
    """Reader processes killed because they gave nothing in time."""
    deaths: int = 0
    """Reader processes that ended by themselves."""
    skipped: int = 0
    """Frames of a recording in real time that were read too late and left out."""
    slowed_ms: int = 0
    """By how much a recording that cannot be read in real time was slowed down."""
    malformed: int = 0
    """Reader processes replaced because of an invalid message."""
    late: int = 0
    """Sessions of a stream given up because its frames stayed too old."""
    clock_steps: int = 0
    """Changes to another clock in a recording's timestamps."""
    strays: int = 0
    """Single frames of a recording with a wrong timestamp."""
    gaps: int = 0
    """Pauses of more than a second in a recording's timestamps."""

    def notes(self, displaced: int = 0) -> list[str]:
        """What a user should know about the times of a recording, one line each.

        Args:
            displaced: frames of a recording in real time that were dropped for newer ones.
        """
        notes, real_time = [], []
        if displaced:
            real_time.append(f"{_frames(displaced)} dropped for newer ones")
        if self.skipped:
            real_time.append(f"{_frames(self.skipped)} read too late and skipped")
        if self.slowed_ms >= 100:
            real_time.append(f"the recording was slowed down by {self.slowed_ms / 1e3:.1f} s")
        if real_time:
            notes.append(f"this machine does not keep up with --realtime: {', '.join(real_time)}")
        stamps = [
            (self.gaps, "{} of more than a second, kept", "pause", "pauses"),
            (self.clock_steps, "{} to another clock, where time continues one period later", "jump", "jumps"),
            (self.strays, "{} with a wrong timestamp, corrected from the others", "frame", "frames"),
        ]
        found = [text.format(f"{n} {one if n == 1 else many}") for n, text, one, many in stamps if n]
        return [*notes, *([f"timestamps of the recording: {', '.join(found)}"] if found else [])]


def _frames(count: int) -> str:
    return "1 frame was" if count == 1 else f"{count} frames were"


class Pace(NamedTuple):
    """What a live source has learnt about its rate."""

    period_ns: int
    stale_after_ns: int


def period_ns_of(source: Source, info: SourceInfo) -> int:
    """Between two frames: as learnt, or else nominal."""
    pace = source.pace()
    return pace.period_ns if pace else round(1e9 / info.rate_hz)


def silence_ns_of(source: Source, info: SourceInfo, settings: FreshnessSettings) -> int:
    """How long the source may be silent before it is stale: as learnt, or three nominal periods."""
    pace = source.pace()
    return pace.stale_after_ns if pace else allowed_silence_ns(1e9 / info.rate_hz, settings)


def longest_read_ns(source: Source, info: SourceInfo) -> int:
    """How long one `read` of an intact source takes at most: a live one raises NoFrame by then."""
    pace, period_ns = source.pace(), period_ns_of(source, info)
    skips_ns = round(SKIP_LIMIT_S * 1e9) if info.is_replayed else 0
    return max(READ_PERIODS * period_ns, (pace.stale_after_ns if pace else 0) + period_ns) + skips_ns
