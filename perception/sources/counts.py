"""What a source counted while it ran: errors of its decoder, and what it took to keep it."""

from __future__ import annotations

from dataclasses import dataclass

from perception.sources.pacing import Limited, Looped, Paced
from perception.sources.source import Source
from perception.sources.supervised import Supervised


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


def counts_of(source: Source) -> SourceCounts:
    """What the source counted, whatever it is wrapped in; 0 of what it does not count."""
    inner: object = source
    while isinstance(inner, Looped | Limited | Paced):
        inner = inner.inside
    if not isinstance(inner, Supervised):
        return SourceCounts(decode_errors=getattr(inner, "decode_errors", 0))
    kept = inner.reconnects
    return SourceCounts(
        decode_errors=inner.counts.get("decode_errors", 0),
        io_errors=inner.counts.get("io_errors", 0),
        reconnect_attempts=kept.attempts,
        reconnects=kept.successes,
        hangs=kept.hangs,
        deaths=kept.deaths,
    )
