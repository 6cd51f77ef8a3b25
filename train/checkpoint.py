"""Checkpoints: everything needed to go on training, or to export, in one file."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from perception.atomic_file import write_atomically
from train.config import TrainConfig


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of something else."""


@dataclass
class Checkpoint:
    """State of a run at the end of an epoch."""

    config: dict[str, Any]
    model: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    schedule: dict[str, Any]
    stage: int
    """Index of the stage that the next epoch belongs to."""
    epoch: int
    """Epochs of that stage already done."""
    best_mean_iou: float
    history: list[dict[str, float]]

    def save(self, file: Path) -> None:
        """Write it whole or not at all: a full disk or a kill leaves the old one intact.

        Raises:
            CheckpointError: if it cannot be written.
        """
        content = io.BytesIO()
        torch.save(vars(self), content)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, content.getvalue())
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, file: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises:
            CheckpointError: if there is none or it is damaged.
        """
        if not file.is_file():
            raise CheckpointError(f"{file}: no such checkpoint")
        try:
            return cls(**torch.load(file, map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises many kinds, none of its own
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{file}: not a checkpoint of drivable-train: {reason}") from error


def config_as_dict(config: TrainConfig) -> dict[str, Any]:
    """Plain values, so that the checkpoint loads without running code."""
    return asdict(config)
