"""What torchrun tells each of its processes by the environment; no torch is needed to ask."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_SPEAKS_WITHIN_S = 10.0


def rank() -> int:
    """Which of the processes this one is; 0 is the first, and a process alone."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Which of the processes of this machine this one is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def process_count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def the_first_speaks_first() -> Iterator[None]:
    """Within it, an error waits, in all processes but the first, until the first has told what all found.

    With its end torchrun ends the others too, so none comes to repeat it. What one of them alone found
    goes on after `FIRST_SPEAKS_WITHIN_S`.
    """
    try:
        yield
    except Exception:
        if rank():
            time.sleep(FIRST_SPEAKS_WITHIN_S)
        raise
