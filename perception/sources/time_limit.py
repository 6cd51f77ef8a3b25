"""One limit of time for all that happens until something has come."""

from __future__ import annotations

import time


class TimeLimit:
    """A moment by which something must have come; begun again for every frame."""

    def __init__(self) -> None:
        self._ends_s = float("inf")

    def start(self, limit_s: float) -> None:
        """From now on."""
        self._ends_s = time.monotonic() + limit_s

    def left_s(self) -> float:
        """Above 0; raises TimeoutError."""
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s
