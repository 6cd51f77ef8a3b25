"""While the network of a live run is at one frame for too long, records say so at the nominal rate."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from perception.pipeline.gauges import Pulse
from perception.pipeline.watchdog import HangWatch

PERIODS: Final = 3
"""As long as a camera may be silent before it is stale."""


class StallReports:
    """A thread that looks once a period how long a stage has been at one frame.

    Silence would be read as "nothing new": the last record says `ok`, with a mask, until the watchdog of
    stages ends the run. So the records go on, without a frame and without a mask.
    """

    def __init__(
        self, pulse: Pulse, limit_s: float, period_ns: Callable[[], int], report: Callable[[float], bool]
    ) -> None:
        """Start with `start`.

        Args:
            pulse: of the stage that predicts.
            limit_s: a stage that is at one frame for longer is stalled; it has `PERIODS` periods at least.
            period_ns: between two records, as it is now.
            report: told the seconds, once a period while the stage is stalled; False ends it all.
        """
        self._pulse, self._limit_ns = pulse, limit_s * 1e9
        self._period_ns, self._report = period_ns, report
        self._has_ended = Event()
        self._thread = Thread(target=self._run, name="stall reports", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Report nothing more; safe to call twice."""
        self._has_ended.set()

    def _run(self) -> None:
        watch = HangWatch()
        while not self._has_ended.wait(self._period_ns() / 1e9):
            busy_ns = watch.look({"": self._pulse.since_ns}).get("", 0)
            limit_ns = max(self._limit_ns, PERIODS * self._period_ns())
            if busy_ns > limit_ns and not self._report(busy_ns / 1e9):
                break
