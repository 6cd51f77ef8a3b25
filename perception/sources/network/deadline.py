"""A deadline shared by all waits of one operation."""

from __future__ import annotations

import time


class Deadline:
    """A deadline, restarted for every frame."""

    def __init__(self) -> None:
        self._began_s, self._ends_s = time.monotonic(), float("inf")
        self._each_s: float | None = None

    def start(self, limit_s: float) -> None:
        """Restart it."""
        self._began_s, self._each_s = time.monotonic(), None
        self._ends_s = self._began_s + limit_s

    def leave(self, least_s: float) -> None:
        """Extend it to at least this time from now on."""
        self._ends_s = max(self._ends_s, time.monotonic() + least_s)

    def start_each(self, limit_s: float) -> None:
        """Apply the limit to every single wait instead, for a thread that reads ahead."""
        self._each_s = limit_s

    @property
    def waited_s(self) -> float:
        """Since `start`, to a tenth of a second."""
        return round(time.monotonic() - self._began_s, 1)

    def left_s(self) -> float:
        """Seconds left, above 0; raises TimeoutError."""
        if self._each_s is not None:
            return self._each_s
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s
