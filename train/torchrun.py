"""The environment that torchrun sets in each of its processes; readable without torch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

RANK0_REPORTS_WITHIN_S: Final = 10.0


def rank() -> int:
    """This process's rank; 0 for the first, and for a process alone."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """This process's rank among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def process_count() -> int:
    """Number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def rank0_reports_first() -> Iterator[None]:
    """Delay errors in all processes but rank 0, so that an error common to all is reported once.

    When rank 0 ends, torchrun ends the others before they repeat it. An error that only one of them
    has is raised after `RANK0_REPORTS_WITHIN_S`.
    """
    try:
        yield
    except Exception:
        if rank():
            time.sleep(RANK0_REPORTS_WITHIN_S)
        raise
