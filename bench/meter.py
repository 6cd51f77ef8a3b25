"""What a measured part took of the machine: time, cores, memory, energy, and what others took meanwhile."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import psutil

from bench import gpu

STATUS: Final = Path("/proc/self/status")
POWERCAP: Final = Path("/sys/class/powercap")
GPU_PROVIDERS: Final = ("cuda", "tensorrt")

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


class Meter:
    """Meters the block that it is the context of.

        with Meter(engine.provider) as meter:
            …
        return {…, **meter.values()}

    Args:
        provider: what runs the network: on a GPU, its energy is read instead of the processor's.
        children: count processes that this one started too, as far as they have ended inside the block.
        cpu_s: CPU seconds so far, of children too if asked for.
    """

    def __init__(
        self,
        provider: str = "cpu",
        children: bool = False,
        cpu_s: Callable[[bool], float] = process_cpu_s,
    ) -> None:
        self._on_gpu, self._children, self._cpu_s = provider in GPU_PROVIDERS, children, cpu_s
        self._values: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        """Take the first readings."""
        self._values = None
        self._energy_before = self._energy()
        self._machine_before = psutil.cpu_times()
        self._cpu_before_s, self._before_s = self._cpu_s(self._children), time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Take the last readings."""
        wall_s = time.monotonic() - self._before_s
        cpu_s = self._cpu_s(self._children) - self._cpu_before_s
        before, machine = self._machine_before, psutil.cpu_times()
        self._values = {
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "busy_cores": cpu_s / wall_s if wall_s > 0 else None,
            "steal_s": machine.steal - before.steal if hasattr(machine, "steal") else None,
            # Never below 0: the system counts in ticks of 10 ms, our own time is exact.
            "other_cpu_s": max(0.0, _busy_s(machine) - _busy_s(before) - cpu_s),
            "peak_memory_mb": _peak_memory_mb(self._children),
            "watts": _watts(*self._energy_before, *self._energy()),
        }

    def values(self) -> dict[str, Any]:
        """Readings of the block, once it has ended; None stands for what this machine does not know.

        `wall_s`; `cpu_s` (user and system, all threads); `busy_cores`, their ratio; `steal_s`, which a
        hypervisor gave to other machines, summed over the cores; `other_cpu_s`, the busy time of all other
        processes; `peak_memory_mb`, the most that this process (or, with children, the largest of them)
        held since it began; `watts`, the mean of all processor packages or of the first GPU.
        """
        if self._values is None:
            raise RuntimeError("a meter has no values before its block has ended")
        return dict(self._values)

    def _energy(self) -> tuple[Energy, float]:
        """With a time of its own, for reading a GPU's counter takes a while."""
        if not self._on_gpu:
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
