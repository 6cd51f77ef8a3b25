"""Clock: monotonic time and waiting, which tests replace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Monotonic clock, replaced in tests."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    """Waits for the event, for at most so many seconds; true if it was set."""
