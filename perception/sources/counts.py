"""What is known of a source while it runs: errors of its decoder, what it took to keep it, its period."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from perception.sources.isolated.freshness import FreshnessSettings, allowed_silence_ns
from perception.sources.isolated.messages import COUNTS
from perception.sources.isolated.supervisor import IsolatedSource
from perception.sources.pacing import Limited, Looped, Paced
from perception.sources.source import Source, SourceInfo

READ_PERIODS: Final = 4
"""That reading one frame may take at least."""


@dataclass(frozen=True)
class SourceCounts:
    """Of one source since it was opened."""

    decode_errors: int = 0
    """Packets and images that could not be decoded, and pictures that came out damaged."""
    unreadable: int = 0
    """Images that could not be read, and have no frame."""
    io_errors: int = 0
    """Calls to the driver that failed and were tried again."""
    reconnect_attempts: int = 0
    reconnects: int = 0
    """Attempts after which frames came again."""
    hangs: int = 0
    """Processes of the source that were killed because nothing came of them in time."""
    deaths: int = 0
    """Processes of the source that ended by themselves."""
    skipped: int = 0
    """Frames of a recording in real time that were read too late, and left out."""
    slowed_ms: int = 0
    """By how much a recording that cannot be read in real time was slowed down."""
    malformed: int = 0
    """Processes of the source that were replaced because of what they said."""
    late: int = 0
    """Sessions of a stream that were given up because their frames stayed too old."""
    clock_steps: int = 0
    """Times that another clock began in a recording's timestamps, and the recording's time went on."""
    strays: int = 0
    """Frames of a recording that were stamped wrong between others that were not."""
    gaps: int = 0
    """Pauses of more than a second in a recording, as its timestamps tell them."""

    def notes(self, displaced: int = 0) -> list[str]:
        """What whoever plays a recording must know of its times, a line each.

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
            (self.clock_steps, "{} to another clock, where time goes on one period later", "jump", "jumps"),
            (self.strays, "{} stamped wrong, and set right by the others", "frame", "frames"),
        ]
        told = [text.format(f"{n} {one if n == 1 else many}") for n, text, one, many in stamps if n]
        return [*notes, *([f"timestamps of the recording: {', '.join(told)}"] if told else [])]


def _frames(count: int) -> str:
    return "1 frame was" if count == 1 else f"{count} frames were"


def counts_of(source: Source) -> SourceCounts:
    """What the source counted, whatever it is wrapped in; 0 of what it does not count."""
    layers = list(_layers(source))
    inner = layers[-1]
    paced = [(layer.skipped, layer.slowed_ns // 1_000_000) for layer in layers if isinstance(layer, Paced)]
    skipped, slowed_ms = paced[0] if paced else (0, 0)
    if not isinstance(inner, IsolatedSource):
        counted = {name: getattr(inner, name, 0) for name in COUNTS}
        return SourceCounts(skipped=skipped, slowed_ms=slowed_ms, **counted)
    kept = inner.reconnects
    return SourceCounts(
        skipped=skipped,
        slowed_ms=slowed_ms,
        **{name: inner.counts.get(name, 0) for name in COUNTS},
        reconnect_attempts=kept.attempts,
        reconnects=kept.successes,
        hangs=kept.hangs,
        deaths=kept.deaths,
        malformed=kept.malformed,
        late=kept.late,
    )


def period_ns_of(source: Source, info: SourceInfo) -> int:
    """Between two frames: as learnt of a live source that is watched over, nominal of any other."""
    inner = _innermost(source)
    learnt_ns = inner.period_ns if isinstance(inner, IsolatedSource) else None
    return learnt_ns or round(1e9 / info.rate_hz)


def silence_ns_of(source: Source, info: SourceInfo, settings: FreshnessSettings) -> int:
    """How long the source may give nothing before it is stale: as learnt, or three nominal periods."""
    inner = _innermost(source)
    learnt_ns = inner.stale_after_ns if isinstance(inner, IsolatedSource) else None
    return learnt_ns or allowed_silence_ns(1e9 / info.rate_hz, settings)


def longest_read_ns(source: Source, info: SourceInfo) -> int:
    """How long one `read` of a sound source takes at most: a live one tells of a silence by then."""
    inner, period_ns = _innermost(source), period_ns_of(source, info)
    silence_ns = inner.stale_after_ns if isinstance(inner, IsolatedSource) else None
    return max(READ_PERIODS * period_ns, (silence_ns or 0) + period_ns)


def _innermost(source: Source) -> object:
    return list(_layers(source))[-1]


def _layers(source: Source) -> Iterator[object]:
    """What a source is wrapped in, from the outside in, and itself."""
    inner: object = source
    yield inner
    while isinstance(inner, Looped | Limited | Paced):
        inner = inner.inside
        yield inner
