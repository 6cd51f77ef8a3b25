"""What is known of a source while it runs: errors of its decoder, what it took to keep it, its period."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from perception.sources.pacing import Limited, Looped, Paced
from perception.sources.source import Source, SourceInfo
from perception.sources.supervised import Supervised

READ_PERIODS: Final = 4
"""That reading one frame may take at least."""


@dataclass(frozen=True)
class SourceCounts:
    """Of one source since it was opened."""

    decode_errors: int = 0
    """Packets that could not be decoded, and pictures that came out damaged."""
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


def counts_of(source: Source) -> SourceCounts:
    """What the source counted, whatever it is wrapped in; 0 of what it does not count."""
    layers = list(_layers(source))
    inner = layers[-1]
    paced = [(layer.skipped, layer.slowed_ns // 1_000_000) for layer in layers if isinstance(layer, Paced)]
    skipped, slowed_ms = paced[0] if paced else (0, 0)
    if not isinstance(inner, Supervised):
        errors = getattr(inner, "decode_errors", 0)
        return SourceCounts(decode_errors=errors, skipped=skipped, slowed_ms=slowed_ms)
    kept = inner.reconnects
    return SourceCounts(
        skipped=skipped,
        slowed_ms=slowed_ms,
        decode_errors=inner.counts.get("decode_errors", 0),
        io_errors=inner.counts.get("io_errors", 0),
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
    learnt_ns = inner.period_ns if isinstance(inner, Supervised) else None
    return learnt_ns or round(1e9 / info.rate_hz)


def longest_read_ns(source: Source, info: SourceInfo) -> int:
    """How long one `read` of a sound source takes at most: a live one tells of a silence by then."""
    inner, period_ns = _innermost(source), period_ns_of(source, info)
    silence_ns = inner.stale_after_ns if isinstance(inner, Supervised) else None
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
