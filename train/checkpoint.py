"""Checkpoints: everything needed to resume training, or to export, in one file."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from perception.system.atomic_file import write_atomically
from train.config import TrainConfig


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or does not fit the run."""


@dataclass
class Checkpoint:
    """State of a run at the end of an epoch.

    Random generators have no state to keep: every epoch, and every frame in it, is seeded by its place
    in the run.
    """

    config: dict[str, Any]
    """The settings of the run, as plain values, which load without running code."""
    model: dict[str, torch.Tensor]
    """The validated weights: the moving average, if there is one."""
    training: dict[str, Any]
    """State dicts to resume from: weights, average, optimiser, schedule."""
    stage: int
    """Index of the stage that the next epoch belongs to."""
    epoch: int
    """Epochs of that stage already done."""
    best: float
    """The best validation figure of this stage: mean IoU, or the negated loss."""
    epochs_since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry per epoch, as described in `train/report`."""
    origin: dict[str, Any] | None = None
    """Fields of `first_weights.Origin`; None if the network, or all but its encoder, began at random."""

    @classmethod
    def fresh(cls, config: TrainConfig) -> Checkpoint:
        """The state of a run before its first epoch."""
        return cls(asdict(config), {}, {}, 0, 0, float("-inf"))

    def start_stage(self, stage: int) -> None:
        """Enter a stage. The best figure starts over: those of different frame sizes do not compare."""
        self.stage, self.epoch, self.best, self.epochs_since_best = stage, 0, float("-inf"), 0

    def save(self, file: Path) -> None:
        """Write it atomically: a full disk or a kill leaves the old one intact.

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
            CheckpointError: if it is missing or damaged.
        """
        if file.is_dir():
            inside = file / "best.pt"
            hint = f"; its checkpoint is {inside}" if inside.is_file() else ""
            raise CheckpointError(f"{file}: is a folder, not a checkpoint{hint}")
        if not file.is_file():
            raise CheckpointError(f"{file}: no such checkpoint")
        try:
            return cls(**torch.load(file, map_location="cpu", weights_only=True))
        except OSError as error:
            raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from error
        except Exception as error:  # torch raises many types, with misleading advice
            raise CheckpointError(f"{file}: not a checkpoint of this version of drivable-train") from error
