"""On which core a thread wakes up."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from threading import get_native_id
from typing import Final


def _core_reader() -> Callable[[], int] | None:
    """C's `sched_getcpu`; None where there is no Linux."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        read: Callable[[], int] = ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError):
        return None
    return read


_current_core: Final = _core_reader()


class WakePlace:
    """Of the thread that makes it: lets another thread that is about to sleep leave its core to this one.

    Linux often puts the thread that was woken on the core where it ran last, behind whoever runs there now,
    and the core of the one that woke it stands idle for some milliseconds. With hand-overs every few frames
    that cost 7 % of the frames a second of `rt_s-int8` on two cores.
    """

    def __init__(self) -> None:
        self._thread = get_native_id()
        self._allowed: Collection[int] = ()

    def move_here(self) -> None:
        """Let the thread wake up on the caller's core; it has to call `free` then."""
        if _current_core is not None:
            with suppress(OSError):  # an affinity is no more than a wish here
                allowed = os.sched_getaffinity(self._thread)
                os.sched_setaffinity(self._thread, {_current_core()})
                self._allowed = allowed

    def free(self) -> None:
        """Let the calling thread, whose place this is, run again wherever it might run before."""
        allowed, self._allowed = self._allowed, ()
        if allowed:
            with suppress(OSError):
                os.sched_setaffinity(0, allowed)
