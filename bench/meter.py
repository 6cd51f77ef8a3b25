"""What a measured part took of the machine: time, cores, memory, energy, and what others took meanwhile."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from bench import gpu

STATUS: Final = Path("/proc/self/status")
POWERCAP: Final = Path("/sys/class/powercap")
GPU_PROVIDERS: Final = ("cuda", "tensorrt")


def process_cpu_s(children: bool = False) -> float:
    """User and system time of this process, all threads; children count once they have been waited for."""
    own_s = time.process_time()
    if not children:
        return own_s
    times = os.times()
    return own_s + times.children_user + times.children_system


class Meter:
    """Meters the block that it is the context of.

        with Meter(engine.provider) as meter:
            …
        return {…, **meter.values()}

    Args:
        provider: what runs the network: on a GPU, its energy is read instead of the processor's.
        children: count processes that this one started too, as far as they have ended inside the block.
        powercap: Linux' `/sys/class/powercap`.
        now_s: a monotonic clock.
        cpu_s: CPU seconds so far, of children too if asked for.
        gpu_energy_j: joules so far; None where it is not known.
    """

    def __init__(
        self,
        provider: str = "cpu",
        children: bool = False,
        *,
        powercap: Path = POWERCAP,
        now_s: Callable[[], float] = time.monotonic,
        cpu_s: Callable[[bool], float] = process_cpu_s,
        gpu_energy_j: Callable[[], float | None] = gpu.energy_j,
    ) -> None:
        self._children, self._powercap = children, powercap
        self._on_gpu = provider in GPU_PROVIDERS
        self._now_s, self._cpu_s, self._gpu_energy_j = now_s, cpu_s, gpu_energy_j
        self._values: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        """Take the first readings."""
        self._values = None
        self._energy_before = self._energy()
        self._machine_before = psutil.cpu_times()
        self._cpu_before_s, self._before_s = self._cpu_s(self._children), self._now_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Take the last readings."""
        wall_s = self._now_s() - self._before_s
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
            "watts": _watts(self._energy_before, self._energy()),
        }

    def values(self) -> dict[str, Any]:
        """Readings of the block, once it has ended; None stands for what this machine does not tell.

        `wall_s`; `cpu_s` (user and system, all threads); `busy_cores`, their ratio; `steal_s`, which a
        hypervisor gave to other machines, summed over the cores; `other_cpu_s`, the busy time of all other
        processes; `peak_memory_mb`, the most that this process (or, with children, the largest of them)
        held since it began; `watts`, the mean of all processor packages or of the first GPU.
        """
        if self._values is None:
            raise RuntimeError("a meter has no values before its block has ended")
        return dict(self._values)

    def _energy(self) -> _Energy:
        """With a time of its own: reading a GPU's counter takes a while."""
        if self._on_gpu:
            joules = self._gpu_energy_j()
            counters = {} if joules is None else {"gpu": (joules, 0.0)}
        else:
            counters = _package_counters(self._powercap)
        return _Energy(self._now_s(), counters)


def _busy_s(times: Any) -> float:
    """Of all processes since boot, summed over the cores; what a virtual machine ran is in `user` already."""
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))


def _peak_memory_mb(children: bool) -> float | None:
    """The most resident memory since this process began.

    Linux hands `ru_maxrss` on through fork and exec: a small process that a large one has started tells
    the size of that one. VmHWM starts at 0; psutil does not read it.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1024**2 if sys.platform == "darwin" else 1024
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if STATUS.exists():
        peak_mb = next(
            int(line.split()[1]) / 1024 for line in STATUS.read_text().splitlines() if "VmHWM:" in line
        )
    if children:
        peak_mb = max(peak_mb, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit)
    return peak_mb


@dataclass(frozen=True)
class _Energy:
    """What all counters said at one time."""

    at_s: float
    counters: dict[str, tuple[float, float]]
    """Joules, and where they start over from 0 (never, if that is 0), by name."""


def _package_counters(powercap: Path) -> dict[str, tuple[float, float]]:
    """Every processor package's counter (Linux' powercap, `intel-rapl:N`, AMD's too).

    Empty if one of them cannot be read: since 2020 only root may, and a part of the power is no power.
    """
    counters = {}
    try:
        for zone in sorted(powercap.glob("intel-rapl:*")):
            if (zone / "name").read_text().startswith("package"):  # not a part of one, nor the platform
                used_uj, range_uj = (
                    int((zone / name).read_text()) for name in ("energy_uj", "max_energy_range_uj")
                )
                counters[zone.name] = used_uj / 1e6, range_uj / 1e6
    except (OSError, ValueError):
        return {}
    return counters


def _watts(before: _Energy, after: _Energy) -> float | None:
    """Mean power between the two; a counter that is smaller now has started over once."""
    elapsed_s = after.at_s - before.at_s
    if not before.counters or before.counters.keys() != after.counters.keys() or elapsed_s <= 0:
        return None
    used_j = 0.0
    for name, (joules, range_j) in after.counters.items():
        more_j = joules - before.counters[name][0]
        used_j += more_j if more_j >= 0 else more_j + range_j
    return used_j / elapsed_s
