"""What the meter reads of a machine made here, and what it gives where nothing can be read."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from bench import gpu
from bench.meter import metered

KEYS = {"wall_s", "cpu_s", "busy_cores", "steal_s", "other_cpu_s", "peak_memory_mb", "watts"}


@dataclass
class Machine:
    """A processor, a /sys/class/powercap, a clock and a process, all as the test says."""

    root: Path
    at_s: float = 100.0
    cpu_s: dict[bool, float] = field(default_factory=lambda: {False: 7.0, True: 9.0})

    def set_times(self, busy_s: float, steal_s: float) -> None:
        """Of all cores since boot, as psutil has them; a guest's time is part of `user`."""
        self.times = SimpleNamespace(
            **{"user": busy_s - 0.4, "nice": 0.1, "system": 0.2, "irq": 0.03, "softirq": 0.07},
            **{"idle": 999.0, "iowait": 5.0, "steal": steal_s, "guest": 11.0, "guest_nice": 1.0},
        )

    def set_peak(self, kilobytes: int) -> None:
        self._write("status", f"Name:\tpython\nVmPeak:\t   9 kB\nVmHWM:\t   {kilobytes} kB\n")

    def set_energy(self, zone: str, name: str, joules: float, range_j: float = 1000.0) -> None:
        self._write(f"powercap/{zone}/name", f"{name}\n")
        self._write(f"powercap/{zone}/energy_uj", f"{round(joules * 1e6)}\n")
        self._write(f"powercap/{zone}/max_energy_range_uj", f"{round(range_j * 1e6)}\n")

    def metered(self, **arguments: Any) -> AbstractContextManager[dict[str, Any]]:
        return metered(cpu_s=lambda children: self.cpu_s[children], **arguments)

    def _write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    made.set_times(busy_s=50, steal_s=2)
    made.set_peak(1024)
    monkeypatch.setattr("psutil.cpu_times", lambda: made.times)
    monkeypatch.setattr("time.monotonic", lambda: made.at_s)
    monkeypatch.setattr("bench.meter.STATUS", tmp_path / "status")
    monkeypatch.setattr("bench.meter.POWERCAP", tmp_path / "powercap")
    return made


def test_window_is_what_passed_inside_the_block(machine: Machine) -> None:
    machine.set_energy("intel-rapl:0", "package-0", 100)
    with machine.metered() as readings:
        machine.at_s += 4
        machine.cpu_s[False] += 6
        machine.set_times(busy_s=57.5, steal_s=2.25)
        machine.set_peak(4096)
        machine.set_energy("intel-rapl:0", "package-0", 160)
    machine.at_s += 1000

    assert readings == {
        "wall_s": 4,
        "cpu_s": 6,
        "busy_cores": 1.5,
        "steal_s": pytest.approx(0.25),
        "other_cpu_s": pytest.approx(1.5),
        "peak_memory_mb": 4,
        "watts": pytest.approx(15),
    }


def test_children_count_if_asked_for(machine: Machine) -> None:
    with machine.metered() as alone, machine.metered(children=True) as family:
        machine.at_s += 1
        machine.cpu_s = {False: 7.5, True: 12.0}

    assert alone["cpu_s"] == 0.5
    assert family["cpu_s"] == 3


def test_others_never_take_less_than_nothing(machine: Machine) -> None:
    with machine.metered() as readings:
        machine.at_s += 1
        machine.cpu_s[False] += 0.009  # and no tick of the system's

    assert readings["other_cpu_s"] == 0
    assert readings["steal_s"] == 0


def test_what_another_system_does_not_count_is_null(machine: Machine) -> None:
    (machine.root / "status").unlink()
    del machine.times.steal
    with machine.metered() as readings:
        machine.at_s += 1

    assert readings.keys() == KEYS
    assert (readings["steal_s"], readings["watts"]) == (None, None)
    assert readings["peak_memory_mb"] > 1  # the system's own count stands in for /proc
    assert json.loads(json.dumps(readings, allow_nan=False)) == readings


def test_empty_block_has_no_busy_cores(machine: Machine) -> None:
    machine.set_energy("intel-rapl:0", "package-0", 100)
    with machine.metered() as readings:
        pass

    assert (readings["wall_s"], readings["busy_cores"], readings["watts"]) == (0, None, None)


def test_packages_are_added_and_their_parts_are_not(machine: Machine) -> None:
    machine.set_energy("intel-rapl:0", "package-0", 10)
    machine.set_energy("intel-rapl:1", "package-1", 990, range_j=1000)
    for zone, name in (
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:2", "psys"),
        ("intel-rapl-mmio:0", "package-0"),
    ):
        machine.set_energy(zone, name, 5)
    with machine.metered() as readings:
        machine.at_s += 2
        machine.set_energy("intel-rapl:0", "package-0", 20)
        machine.set_energy("intel-rapl:1", "package-1", 30, range_j=1000)  # started over: 40 J
        for zone in ("intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"):
            machine.set_energy(zone, (machine.root / "powercap" / zone / "name").read_text().strip(), 500)

    assert readings["watts"] == pytest.approx((10 + 40) / 2)


def test_package_that_cannot_be_read_leaves_no_watts(machine: Machine) -> None:
    for zone in ("intel-rapl:0", "intel-rapl:1"):
        machine.set_energy(zone, "package", 10)
    (machine.root / "powercap" / "intel-rapl:1" / "energy_uj").unlink()

    with machine.metered() as readings:
        machine.at_s += 1
        machine.set_energy("intel-rapl:0", "package", 20)

    assert readings["watts"] is None


@pytest.mark.parametrize(
    ("provider", "gpu_j", "watts"),
    [
        ("cuda", (500.0, 900.0), 200.0),
        ("tensorrt", (500.0, 900.0), 200.0),
        ("cuda", (None, None), None),
        ("cuda", (500.0, None), None),
        ("cpu", (500.0, 900.0), 5.0),
        ("openvino bf16", (500.0, 900.0), 5.0),
    ],
)
def test_gpu_is_asked_for_its_energy_only_where_it_runs_the_network(
    machine: Machine,
    provider: str,
    gpu_j: tuple[float | None, float | None],
    watts: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine.set_energy("intel-rapl:0", "package-0", 0)
    joules = iter(gpu_j)
    monkeypatch.setattr("bench.gpu.energy_j", lambda: next(joules))
    with machine.metered(provider=provider) as readings:
        machine.at_s += 2
        machine.set_energy("intel-rapl:0", "package-0", 10)

    assert readings["watts"] == watts


def test_real_machine_is_metered() -> None:
    with metered("cuda", children=True) as readings:  # cuda: whatever NVML says, if there is one
        subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)

    assert readings.keys() == KEYS
    assert readings["cpu_s"] > 0
    assert readings["busy_cores"] == pytest.approx(readings["cpu_s"] / readings["wall_s"])
    assert readings["peak_memory_mb"] > 5


class Nvml:
    """NVIDIA's library on a machine with a GPU, and calls of it that fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failing: str) -> None:
        self.is_open = 0
        answers: dict[str, Any] = {
            "nvmlInit": lambda: self._count(1),
            "nvmlShutdown": lambda: self._count(-1),
            "nvmlDeviceGetHandleByIndex": lambda index: f"gpu {index}",
            "nvmlDeviceGetName": lambda gpu: f"NVIDIA X ({gpu})",
            "nvmlSystemGetDriverVersion": lambda: "550.54",
            "nvmlDeviceGetTotalEnergyConsumption": lambda gpu: 12_500,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, self._fail if name in failing else answer)

    def _count(self, step: int) -> None:
        self.is_open += step

    def _fail(self, *arguments: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_gpu_has_a_name_a_driver_and_joules(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(monkeypatch)

    assert gpu.name_and_driver() == "NVIDIA X (gpu 0), 550.54"
    assert gpu.energy_j() == 12.5
    assert nvml.is_open == 0


@pytest.mark.parametrize(
    "failing", ["nvmlInit", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetTotalEnergyConsumption"]
)
def test_gpu_that_does_not_answer_is_none_and_its_library_is_let_go(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = Nvml(monkeypatch, failing)

    assert gpu.energy_j() is None
    assert nvml.is_open == 0
