"""What gives way to the network where cores are short."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from threading import get_native_id
from typing import Final

NICE_OF_VIEWS: Final = 10
"""A ninth of a core that the network wants too: a picture for viewers that comes too late is left out."""


def give_way(nice: int) -> None:
    """Lower the priority of the calling thread, and of those that it starts, for good.

    Nothing is changed where the priority is lower already, and but on Linux, where each thread has its own.
    """
    if sys.platform == "linux":
        thread = get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, max(nice, os.getpriority(os.PRIO_PROCESS, thread)))
