"""Trace: links every output to software, model, settings and UTC."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from perception.provenance.identity import RunIdentity
from perception.provenance.utc import ClockTie, UtcClock, utc_text


@dataclass(frozen=True)
class Trace:
    """The provenance of one output."""

    run: RunIdentity
    published_utc_ns: int
    """UTC since 1970, by `tie`."""
    captured_utc_ns: int | None
    """UTC of the frame's capture; None for a recording, and before the first frame."""
    tie: ClockTie


class Tracer:
    """Makes the trace of every output of a run.

    Args:
        run: its identity.
        is_taken_now: as in `SourceInfo`.
        clock: relates UTC to the monotonic clock.
    """

    def __init__(self, run: RunIdentity, is_taken_now: bool, clock: UtcClock | None = None) -> None:
        self.run, self._is_taken_now = run, is_taken_now
        self.clock = clock or UtcClock()

    @property
    def description(self) -> str:
        """The identity as in records and the current UTC, in one line for the log."""
        run, now_utc_ns = self.run.abbreviated, self.clock.last.utc_ns(time.monotonic_ns())
        return (
            f"run: {run['run_id']} at {utc_text(now_utc_ns)}, drivable {run['version']}, "
            f"code {run['code_sha256']}, model {run['model_sha256']}, settings {run['settings_sha256']}"
        )

    def as_dict(self) -> dict[str, Any]:
        """`run` and `clock` with all fields in full, for the summary."""
        return {"run": asdict(self.run), "clock": self.clock.last.as_dict()}

    def trace(self, captured_ns: int | None, published_ns: int) -> Trace:
        """The trace of an output published now; thread-safe.

        Args:
            captured_ns: of its frame, or of the last one, on the monotonic clock; None before the first.
            published_ns: on the same clock.
        """
        tie = self.clock.tie()
        if not self._is_taken_now:
            captured_ns = None
        return Trace(
            self.run,
            published_utc_ns=tie.utc_ns(published_ns),
            captured_utc_ns=None if captured_ns is None else tie.utc_ns(captured_ns),
            tie=tie,
        )
