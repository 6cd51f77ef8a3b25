"""What NVIDIA's driver says of the first GPU, by NVML: `nvidia-smi` would cost what is metered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

T = TypeVar("T")


def name_and_driver() -> str | None:
    """ "NVIDIA H100 80GB HBM3, 550.54.15"; None without a GPU."""
    return _ask(lambda gpu: f"{pynvml.nvmlDeviceGetName(gpu)}, {pynvml.nvmlSystemGetDriverVersion()}")


def energy_j() -> float | None:
    """Joules used since the driver was loaded (GPUs from Volta on); None where it is not known."""
    return _ask(lambda gpu: pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3)


def _ask(question: Callable[[Any], T]) -> T | None:
    try:
        pynvml.nvmlInit()
        try:
            return question(pynvml.nvmlDeviceGetHandleByIndex(0))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
