"""How long threads have been at one item, in time in which the process ran."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from perception.system.time_limits import STAGE_LIMIT_S, STALLED_AFTER_S

LONGEST_TICK_NS: Final = 250_000_000
"""Far below every limit, so that no pause looks like a hang; far above the time between two questions."""


@dataclass(frozen=True)
class WatchdogSettings:
    """When a stage counts as hung, and the budget of restarts."""

    stage_s: float = STAGE_LIMIT_S
    """A stage that works on one frame for longer has hung: a sink is replaced, any other ends the run."""
    stalled_after_s: float = STALLED_AFTER_S
    """A network of a live run that works on one frame for longer (and longer than 3 periods and than a mask
    may be old) is stalled: records without a mask report it, at the nominal rate."""
    restarts: int = 5
    """A sink of a live run that failed or hung is restarted at most this often within `window_s`."""
    window_s: float = 60.0

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if min(self.stage_s, self.stalled_after_s, self.window_s) <= 0 or self.restarts < 0:
            raise ValueError(
                "watchdog: stage_s, stalled_after_s and window_s must be above 0, restarts 0 or more"
            )


class RunningTime:
    """Time in which this process ran, as the thread sees it that asks often.

    A process that is stopped (SIGSTOP, Ctrl-Z, a debugger), or a machine that is suspended, asks nothing
    meanwhile: the time between two questions counts for a quarter of a second at most.
    """

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._asked_ns = clock_ns()

    def tick_ns(self, longest_ns: int = LONGEST_TICK_NS) -> int:
        """Nanoseconds since it was asked last, `longest_ns` at most."""
        before_ns, self._asked_ns = self._asked_ns, self._clock_ns()
        return min(self._asked_ns - before_ns, longest_ns)


class HangWatch:
    """How long each stage has been at one item, in running time; a pause of the whole process is no hang."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._time = RunningTime(clock_ns)
        self._seen: dict[str, tuple[int, int]] = {}

    def busy_ns(self, since_ns: Mapping[str, int | None], asked_every_ns: int = 0) -> dict[str, int]:
        """Nanoseconds of every stage; to be called often.

        Args:
            since_ns: when each stage took up the item that it is at; None where it is at none.
            asked_every_ns: time between two calls, where it may be long.
        """
        tick_ns = self._time.tick_ns(max(LONGEST_TICK_NS, 2 * asked_every_ns))
        before, self._seen = self._seen, {}
        for name, began_ns in since_ns.items():
            if began_ns is not None:
                seen_ns, busy_ns = before.get(name, (None, 0))
                self._seen[name] = (began_ns, busy_ns + tick_ns if seen_ns == began_ns else 0)
        return {name: busy_ns for name, (_, busy_ns) in self._seen.items()}
