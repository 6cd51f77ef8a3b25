"""Stage: what is known of one thread's work while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perception.metrics.histogram import Histogram


class Stage:
    """The item, the heartbeat and the times of one thread. `with stage:` surrounds the work on one item.

    Args:
        name: for errors and times.
        clock_ns: monotonic time.
        times: get how long each item took; None counts none.
    """

    def __init__(self, name: str, clock_ns: Callable[[], int], times: Histogram | None = None) -> None:
        self.name, self._clock_ns, self.times = name, clock_ns, times
        self.item: Any = None
        """Taken from a queue and not handed on yet."""
        self.number = 0
        """Of the item, in the order in which those of its queue were taken."""
        self.busy_since_ns: int | None = None
        """The heartbeat: when the work on the item began; None while the thread waits."""

    def __enter__(self) -> None:
        self.busy_since_ns = self._clock_ns()

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        began_ns, self.busy_since_ns = self.busy_since_ns, None
        if self.times is not None and kind is None and began_ns is not None:
            self.times.add(self._clock_ns() - began_ns)
