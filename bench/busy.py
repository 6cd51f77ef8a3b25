"""Whether other programs used the machine during a measurement, so that its figures show them too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bench.meter import Meter

LIMIT_SHARE: Final = 0.1
"""Of all cores: what a quiet machine does beside a measurement is below a twentieth."""
LOOK_S: Final = 0.3


def share_of(values: Mapping[str, Any], cores: int) -> float | None:
    """Share of the cores that other programs, and other machines of the same host, had during a measurement.

    Args:
        values: of a `Meter`.
        cores: of the machine, all of them.

    Returns:
        None where it cannot be read.
    """
    wall_s, others_s, steal_s = (values.get(name) for name in ("wall_s", "other_cpu_s", "steal_s"))
    if not wall_s or others_s is None:
        return None
    return float((others_s + (steal_s or 0.0)) / wall_s / cores)


def warning_now() -> str | None:
    """What to say before anything is measured; None on a quiet machine, or where it cannot be seen."""
    with Meter() as meter:
        time.sleep(LOOK_S)
    share = share_of(meter.values(), os.cpu_count() or 1)
    if share is None or share <= LIMIT_SHARE:
        return None
    return f"other programs take {share:.0%} of the cores now: end them, or these figures will show them too"


def verdict(measured: Iterable[Mapping[str, Any]], cores: int | None = None) -> str | None:
    """What to say beside the figures of measurements; None where the machine was quiet, or nothing was read.

    Args:
        measured: values of meters.
        cores: of the machine that it was; None is this one.
    """
    cores = cores or os.cpu_count() or 1
    shares = [share for values in measured if (share := share_of(values, cores)) is not None]
    busy = [share for share in shares if share > LIMIT_SHARE]
    if not busy:
        return None
    during = f"during {len(busy)} of {len(shares)} measurements" if len(shares) > 1 else "meanwhile"
    return (
        f"too busy to judge: other programs had up to {max(busy):.0%} of the cores {during} "
        f"({LIMIT_SHARE:.0%} is allowed); measure again on a quiet machine"
    )
