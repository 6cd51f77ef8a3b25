"""A sink that failed or hangs is opened again: after a pause, within a budget."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event
from typing import Final

from perception.concurrency.hang_watch import WatchdogSettings
from perception.sinks.sink import Sink
from perception.system.clock import Clock

FIRST_PAUSE_S: Final = 0.25
"""Twice as long each time within the budget's window."""


class SinkRestarter:
    """Opens one sink again, as often as its budget allows.

    Args:
        rebuild: gives the sink, open, going on with what the old one wrote; raises what its `open` raises.
            None gives none.
        limits: how many restarts there may be within their window, failed ones too.
        clock: monotonic time, and waiting.
        is_stopping: set when nothing is restarted any more.
    """

    def __init__(
        self,
        rebuild: Callable[[], Sink] | None,
        limits: WatchdogSettings,
        clock: Clock,
        is_stopping: Event,
    ) -> None:
        self._rebuild, self._clock, self._is_stopping = rebuild, clock, is_stopping
        self._limits = limits
        self._spent_ns: deque[int] = deque()
        self.restarts = 0
        """So far."""

    @property
    def can_restart(self) -> bool:
        """Whether it ever opens a sink."""
        return self._rebuild is not None

    def restarted(self, error: BaseException) -> Sink:
        """The sink, open again.

        Args:
            error: why it has to be.

        Raises:
            BaseException: the last error, if it cannot be.
        """
        while self._rebuild is not None and self._may_restart():
            if self._clock.wait(self._is_stopping, FIRST_PAUSE_S * 2.0 ** (len(self._spent_ns) - 1)):
                break
            try:
                return self._rebuild()
            except Exception as failure:
                error = failure
        raise error

    def _may_restart(self) -> bool:
        now_ns = self._clock.monotonic_ns()
        while self._spent_ns and now_ns - self._spent_ns[0] > self._limits.window_s * 1e9:
            self._spent_ns.popleft()
        if len(self._spent_ns) >= self._limits.restarts:
            return False
        self._spent_ns.append(now_ns)
        self.restarts += 1
        return True
