"""How often something may be restarted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class RestartBudget:
    """A number of restarts within a window of time.

    Args:
        restarts: at most, within `window_s`.
        window_s: seconds.
        clock_ns: monotonic time.
    """

    def __init__(
        self, restarts: int, window_s: float, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._restarts, self._window_ns, self._clock_ns = restarts, window_s * 1e9, clock_ns
        self._spent_ns: deque[int] = deque()
        self.total = 0
        """Restarts since the beginning."""

    def spend(self) -> bool:
        """Take one restart; False where none is left for now."""
        now_ns = self._clock_ns()
        while self._spent_ns and now_ns - self._spent_ns[0] > self._window_ns:
            self._spent_ns.popleft()
        if len(self._spent_ns) >= self._restarts:
            return False
        self._spent_ns.append(now_ns)
        self.total += 1
        return True

    @property
    def spent(self) -> int:
        """Restarts within the window."""
        return len(self._spent_ns)
