"""What a measured part took of the machine, and whether other programs used it meanwhile."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from bench import gpu

STATUS: Final = Path("/proc/self/status")
POWERCAP: Final = Path("/sys/class/powercap")
GPU_PROVIDERS: Final = ("cuda", "tensorrt")

LIMIT_SHARE: Final = 0.1
"""Of all cores: what a quiet machine does beside a measurement is below a twentieth."""
LOOK_S: Final = 0.3

T = TypeVar("T")

Energy = dict[str, tuple[float, float]]
"""Joules so far, and where they start over from 0 (never, if that is 0), by counter."""


def process_cpu_s(children: bool = False) -> float:
    """User and system time of this process, all threads; children count once they have been waited for."""
    own_s = time.process_time()
    if not children:
        return own_s
    times = os.times()
    return own_s + times.children_user + times.children_system


def times_ms(step: Callable[[T], object], items: Iterable[T]) -> list[float]:
    """How long each call took, one item after the other."""
    found = []
    for item in items:
        started_ns = time.perf_counter_ns()
        step(item)
        found.append((time.perf_counter_ns() - started_ns) / 1e6)
    return found


@contextmanager
def metered(
    provider: str = "cpu", children: bool = False, cpu_s: Callable[[bool], float] = process_cpu_s
) -> Iterator[dict[str, Any]]:
    """Meter a block; what it gives is empty until the block has ended.

        with metered(engine.provider) as readings:
            …
        return {…, **readings}

    `wall_s`; `cpu_s` (user and system, all threads); `busy_cores`, their ratio; `steal_s`, which a
    hypervisor gave to other machines, summed over the cores; `other_cpu_s`, the busy time of all other
    processes; `peak_memory_mb`, the most that this process (or, with children, the largest of them)
    held since it began; `watts`, the mean of all processor packages or of the first GPU. None stands for
    what this machine does not know.

    Args:
        provider: what runs the network: on a GPU, its energy is read instead of the processor's.
        children: count processes that this one started too, as far as they have ended inside the block.
        cpu_s: CPU seconds so far, of children too if asked for.
    """
    readings: dict[str, Any] = {}
    energy, before = _energy(provider), psutil.cpu_times()
    cpu_before_s, before_s = cpu_s(children), time.monotonic()
    yield readings
    wall_s, used_s = time.monotonic() - before_s, cpu_s(children) - cpu_before_s
    after = psutil.cpu_times()
    readings |= {
        "wall_s": wall_s,
        "cpu_s": used_s,
        "busy_cores": used_s / wall_s if wall_s > 0 else None,
        "steal_s": after.steal - before.steal if hasattr(after, "steal") else None,
        # Never below 0: the system counts in ticks of 10 ms, our own time is exact.
        "other_cpu_s": max(0.0, _busy_s(after) - _busy_s(before) - used_s),
        "peak_memory_mb": _peak_memory_mb(children),
        "watts": _watts(*energy, *_energy(provider)),
    }


def _energy(provider: str) -> tuple[Energy, float]:
    """With a time of its own, for reading a GPU's counter takes a while."""
    if provider not in GPU_PROVIDERS:
        return _package_energy(), time.monotonic()
    joules = gpu.energy_j()
    return {} if joules is None else {"gpu": (joules, 0.0)}, time.monotonic()


def _busy_s(times: Any) -> float:
    """Of all processes since boot, summed over the cores; what a virtual machine ran is in `user` already."""
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))


def _peak_memory_mb(children: bool) -> float | None:
    """The most resident memory since this process began.

    Linux hands `ru_maxrss` on through fork and exec: of a small process that a large one has started it is
    the size of that one. VmHWM starts at 0; psutil does not read it.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1024**2 if sys.platform == "darwin" else 1024
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if STATUS.exists():
        lines = STATUS.read_text().splitlines()
        peak_mb = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    return max(peak_mb, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit if children else 0.0)


def _package_energy() -> Energy:
    """Every processor package's counter (Linux' powercap, `intel-rapl:N`, AMD's too).

    Empty if one of them cannot be read: since 2020 only root may, and a part of the power is no power.
    """
    counters = {}
    try:
        for zone in sorted(POWERCAP.glob("intel-rapl:*")):
            if (zone / "name").read_text().startswith("package"):  # not a part of one, nor the platform
                names = ("energy_uj", "max_energy_range_uj")
                used_uj, range_uj = (int((zone / name).read_text()) for name in names)
                counters[zone.name] = used_uj / 1e6, range_uj / 1e6
    except (OSError, ValueError):
        return {}
    return counters


def _watts(before: Energy, before_s: float, after: Energy, after_s: float) -> float | None:
    """Mean power between the two; a counter that is smaller now has started over once."""
    if not before or before.keys() != after.keys() or after_s <= before_s:
        return None
    used_j = 0.0
    for name, (joules, range_j) in after.items():
        more_j = joules - before[name][0]
        used_j += more_j if more_j >= 0 else more_j + range_j
    return used_j / (after_s - before_s)


def share_of(values: Mapping[str, Any], cores: int) -> float | None:
    """Share of the cores that other programs, and other machines of the same host, had during a measurement.

    Args:
        values: of `metered`.
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
    with metered() as readings:
        time.sleep(LOOK_S)
    share = share_of(readings, os.cpu_count() or 1)
    if share is None or share <= LIMIT_SHARE:
        return None
    return f"other programs take {share:.0%} of the cores now: end them, or they distort these figures"


def busy_verdict(measured: Iterable[Mapping[str, Any]], cores: int | None = None) -> str | None:
    """What to say beside the figures of measurements; None where the machine was quiet, or nothing was read.

    Args:
        measured: readings of `metered`.
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
