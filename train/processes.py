"""The group of processes that train together: a single one, or those of `torchrun`."""

from __future__ import annotations

import contextlib
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from train import torchrun


class DeviceError(ValueError):
    """A requested device is not available."""


@dataclass(frozen=True)
class Processes:
    """This process's rank, the number of processes, and its device."""

    rank: int
    count: int
    device: torch.device

    @classmethod
    def join(cls, device: Literal["auto", "cpu", "cuda"]) -> Self:
        """Join the group of torchrun's environment; without one, a group of this process alone.

        Raises:
            DeviceError: if a GPU is requested and torch sees none.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise DeviceError("device cuda: torch sees no GPU here; use --device cpu or auto")
        on_gpu = device != "cpu" and torch.cuda.is_available()
        count = torchrun.process_count()
        local = torch.device("cuda", torchrun.local_rank()) if on_gpu else torch.device("cpu")
        if count > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if on_gpu else "gloo")
        if on_gpu:
            torch.cuda.set_device(local)
        return cls(torchrun.rank(), count, local)

    def leave(self) -> None:
        """Leave the group."""
        if self.count > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            distributed.barrier()

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.rank == 0

    @property
    def device_name(self) -> str:
        """Number and name of the devices."""
        if self.device.type == "cuda":
            name, count = torch.cuda.get_device_name(self.device), self.count
        else:
            name, count = _processor(), torch.get_num_threads() * self.count
        return f"{count} x {name}"

    def peak_memory_bytes(self) -> int:
        """The most memory taken so far, on the GPU or else by this process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def in_step(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over all processes."""
        if self.count == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=ids)

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Elementwise sum over all processes."""
        if self.count == 1:
            return values
        total = torch.from_numpy(values.astype(np.float64)).to(self.device)
        distributed.all_reduce(total)
        return np.asarray(total.cpu().numpy())


def _processor() -> str:
    """The processor's name as in Linux; elsewhere its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
