"""What a measured part took of the machine: time, cores, memory, energy, and what others took meanwhile."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

PROC: Final = Path("/proc")
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
        proc: Linux' `/proc`.
        powercap: Linux' `/sys/class/powercap`.
        now_s: a monotonic clock.
        cpu_s: CPU seconds so far, of children too if asked for.
        gpu_energy_j: joules so far; None where it is not told.
    """

    def __init__(
        self,
        provider: str = "cpu",
        children: bool = False,
        *,
        proc: Path = PROC,
        powercap: Path = POWERCAP,
        now_s: Callable[[], float] = time.monotonic,
        cpu_s: Callable[[bool], float] = process_cpu_s,
        gpu_energy_j: Callable[[], float | None] | None = None,
    ) -> None:
        self._children, self._proc, self._powercap = children, proc, powercap
        self._on_gpu = provider in GPU_PROVIDERS
        self._now_s, self._cpu_s, self._gpu_energy_j = now_s, cpu_s, gpu_energy_j or nvml_energy_j
        self._values: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        """Take the first readings."""
        self._values = None
        self._energy_before = self._energy()
        self._machine_before = _machine_time(self._proc)
        self._cpu_before_s, self._before_s = self._cpu_s(self._children), self._now_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Take the last readings."""
        wall_s = self._now_s() - self._before_s
        cpu_s = self._cpu_s(self._children) - self._cpu_before_s
        machine, before = _machine_time(self._proc), self._machine_before
        self._values = {
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "busy_cores": cpu_s / wall_s if wall_s > 0 else None,
            "steal_s": machine.steal_s - before.steal_s if machine and before else None,
            # Never below 0: /proc/stat counts in ticks of 10 ms, ours is counted exactly.
            "other_cpu_s": max(0.0, machine.busy_s - before.busy_s - cpu_s) if machine and before else None,
            "peak_memory_mb": _peak_memory_mb(self._proc, self._children),
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
            counters = [] if joules is None else [_Counter("gpu", joules, None)]
        else:
            counters = _package_counters(self._powercap)
        return _Energy(self._now_s(), counters)


@dataclass(frozen=True)
class _MachineTime:
    """Seconds since boot, summed over all cores."""

    busy_s: float
    steal_s: float


def _machine_time(proc: Path) -> _MachineTime | None:
    """The first line of /proc/stat (proc(5)); None where there is none, or not of that form."""
    try:
        name, *fields = (proc / "stat").read_text().partition("\n")[0].split()
        user, nice, system, _, _, irq, softirq, steal = (int(ticks) for ticks in fields[:8])
    except (OSError, ValueError):
        return None
    if name != "cpu":
        return None
    a_second = os.sysconf("SC_CLK_TCK")
    return _MachineTime((user + nice + system + irq + softirq) / a_second, steal / a_second)


def _peak_memory_mb(proc: Path, children: bool) -> float | None:
    """The most resident memory since this process began.

    Linux hands `ru_maxrss` on through fork and exec: a small process that a large one has started tells
    the size of that one. VmHWM starts anew.
    """
    peaks_mb = []
    try:
        lines = (proc / "self" / "status").read_text().splitlines()
        peaks_mb = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
    except (OSError, ValueError, IndexError):
        pass
    if not peaks_mb:
        peaks_mb = _most_resident_mb("RUSAGE_SELF")
    if children:
        peaks_mb += _most_resident_mb("RUSAGE_CHILDREN")
    return max(peaks_mb, default=None)


def _most_resident_mb(whose: str) -> list[float]:
    try:
        import resource
    except ImportError:  # Windows
        return []
    most = resource.getrusage(getattr(resource, whose)).ru_maxrss
    return [most / 1024**2 if sys.platform == "darwin" else most / 1024]


@dataclass(frozen=True)
class _Counter:
    """Of energy."""

    name: str
    joules: float
    range_j: float | None
    """Where it starts over from 0; None if it does not."""


@dataclass(frozen=True)
class _Energy:
    """What all counters said at one time."""

    at_s: float
    counters: list[_Counter]


def _package_counters(powercap: Path) -> list[_Counter]:
    """Every processor package's counter (Linux' powercap, `intel-rapl:N`, AMD's too).

    Empty if one of them cannot be read: since 2020 only root may, and a part of the power is no power.
    """
    counters = []
    try:
        for zone in sorted(powercap.glob("intel-rapl:*")):
            if (zone / "name").read_text().startswith("package"):  # not a part of one, nor the platform
                names = ("energy_uj", "max_energy_range_uj")
                used_uj, range_uj = (int((zone / name).read_text()) for name in names)
                counters.append(_Counter(zone.name, used_uj / 1e6, range_uj / 1e6))
    except (OSError, ValueError):
        return []
    return counters


def _watts(before: _Energy, after: _Energy) -> float | None:
    """Mean power between the two; a counter that is smaller now has started over once."""
    names = [[counter.name for counter in energy.counters] for energy in (before, after)]
    elapsed_s = after.at_s - before.at_s
    if not before.counters or names[0] != names[1] or elapsed_s <= 0:
        return None
    joules = 0.0
    for first, last in zip(before.counters, after.counters, strict=True):
        used_j = last.joules - first.joules
        joules += used_j if used_j >= 0 else used_j + (last.range_j or 0.0)
    return joules / elapsed_s


def nvml_energy_j() -> float | None:
    """Joules that the first GPU has used since its driver was loaded (NVML; GPUs from Volta on).

    The library itself: `nvidia-smi` would have to be run again and again, which costs what is metered.
    """
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        gpu, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
        if nvml.nvmlInit_v2():
            return None
        try:
            if nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(gpu)):
                return None
            if nvml.nvmlDeviceGetTotalEnergyConsumption(gpu, ctypes.byref(millijoules)):
                return None
        finally:
            nvml.nvmlShutdown()
    except (OSError, AttributeError):
        return None
    return millijoules.value / 1e3
