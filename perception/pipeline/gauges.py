"""What is known of the stages of one run: their errors, their times, and whether they move."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from perception.pipeline.histogram import Histogram


class Pulse:
    """Whether a stage is at work, and since when."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._since_ns: int | None = None

    def begin(self) -> int:
        """The stage takes up an item; gives the time."""
        self._since_ns = now_ns = self._clock_ns()
        return now_ns

    def end(self) -> int:
        """It is done with it; gives the time."""
        self._since_ns = None
        return self._clock_ns()

    @property
    def since_ns(self) -> int | None:
        """When it took up the item that it is at; None where it is at none."""
        return self._since_ns

    def busy_ns(self) -> int:
        """How long it has been at one item; 0 where it waits for one, or for room for what it made."""
        since_ns = self._since_ns
        return 0 if since_ns is None else self._clock_ns() - since_ns


@dataclass(frozen=True)
class Gauges:
    """Of every stage, by its name."""

    errors: list[tuple[str, Exception]] = field(default_factory=list)
    """What stages failed by, the first one first."""
    times: dict[str, Histogram] = field(default_factory=dict)
    """How long an item takes."""
    pulses: dict[str, Pulse] = field(default_factory=dict)

    def times_of(self, stage: str) -> Histogram:
        """To be added to."""
        return self.times.setdefault(stage, Histogram())

    def pulse_of(self, stage: str) -> Pulse:
        """To beat with every item."""
        return self.pulses.setdefault(stage, Pulse())
