"""A deadline shared by all waits of one operation."""

from __future__ import annotations

import time


class Deadline:
    """A moment by which something must have come; begun again for every frame."""

    def __init__(self) -> None:
        self._began_s, self._ends_s = time.monotonic(), float("inf")
        self._each_s: float | None = None

    def start(self, limit_s: float) -> None:
        """From now on."""
        self._began_s, self._each_s = time.monotonic(), None
        self._ends_s = self._began_s + limit_s

    def leave(self, least_s: float) -> None:
        """At least so long from now on."""
        self._ends_s = max(self._ends_s, time.monotonic() + least_s)

    def start_each(self, limit_s: float) -> None:
        """From now on for every wait anew: of what is read ahead, by a thread of its own."""
        self._each_s = limit_s

    @property
    def waited_s(self) -> float:
        """Since `start`, to a tenth of a second."""
        return round(time.monotonic() - self._began_s, 1)

    def left_s(self) -> float:
        """Above 0; raises TimeoutError."""
        if self._each_s is not None:
            return self._each_s
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s
