"""Progress of training: a bar, a line per epoch, and TensorBoard curves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from perception.labels import LABELS
from train.config import TrainConfig
from train.evaluate import Validation
from train.models import size_of


class Progress:
    """Reports a run's progress; silent in all processes but the first."""

    def __init__(
        self, config: TrainConfig, folder: Path, model: nn.Module, say: Callable[[str], None], is_first: bool
    ) -> None:
        self._config, self._folder, self._say, self._is_first = config, folder, say, is_first
        self._writer: SummaryWriter | None = None
        self._bar: tqdm | None = None
        self._steps = 0
        parameters, size_mib = size_of(model)
        say(f"{config.model}: {parameters / 1e6:.2f} M parameters, {size_mib:.1f} MiB")

    def start_epoch(self, stage: int, epoch: int, steps: int, steps_before: int) -> None:
        """An epoch of `steps` begins, after `steps_before` steps of the run."""
        self._stage, self._epoch, self._started_s = stage, epoch, time.monotonic()
        self._epoch_steps, self._learning_rate = steps, 0.0
        if not self._is_first:
            return
        if self._writer is None:
            # Discards what an interrupted run logged after this point.
            self._writer = SummaryWriter(str(self._folder / "tensorboard"), purge_step=steps_before + 1)
        self._steps = steps_before
        self._bar = tqdm(total=steps, desc=self._where(), unit="step", leave=False, disable=None)

    def step(self, loss: float, learning_rate: float) -> None:
        """One step is done."""
        self._steps += 1
        self._learning_rate = learning_rate
        if self._bar is None or self._writer is None:
            return
        self._bar.update()
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._writer.add_scalar("train/loss", loss, self._steps)
        self._writer.add_scalar("train/learning_rate", learning_rate, self._steps)

    def end_epoch(self, loss: float, judged: Validation, is_best: bool) -> dict[str, float]:
        """Report the epoch and return its entry in the history."""
        seconds = time.monotonic() - self._started_s
        mean_iou, per_class = judged.confusion.mean_iou(), judged.confusion.iou()
        named = {f"val_iou_{name}": float(iou) for name, iou in zip(LABELS, per_class, strict=True)}
        entry = {
            "stage": self._stage,
            "epoch": self._epoch,
            "loss": loss,
            "val_loss": judged.loss,
            "val_mean_iou": mean_iou,
            **named,
            "learning_rate": self._learning_rate,
            "steps": self._epoch_steps,
            "seconds": seconds,
        }
        if self._bar is not None and self._writer is not None:
            self._bar.close()
            for name in ("val_loss", "val_mean_iou", *named):
                self._writer.add_scalar(name.replace("val_", "val/"), entry[name], self._steps)
            self._writer.flush()
        left = tqdm.format_interval(self._left_s(seconds))
        self._say(
            f"{self._where()}: loss {loss:.4f}, val loss {judged.loss:.4f}, mean IoU {100 * mean_iou:.2f} % "
            f"({', '.join(f'{name} {100 * iou:.1f}' for name, iou in zip(LABELS, per_class, strict=True))}), "
            f"{seconds:.0f} s, {left} left{', best' if is_best else ''}"
        )
        return entry

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()

    def _where(self) -> str:
        stage = self._config.stages[self._stage]
        return (
            f"stage {self._stage + 1}/{len(self._config.stages)} {stage.input_wh[0]}x{stage.input_wh[1]} "
            f"epoch {self._epoch + 1}/{stage.epochs}"
        )

    def _left_s(self, epoch_s: float) -> float:
        """Estimated time left, if epochs take as long per pixel as this one did."""
        stages = self._config.stages
        here = stages[self._stage]
        left = (here.epochs - self._epoch - 1) * _pixels(here.input_wh)
        left += sum(later.epochs * _pixels(later.input_wh) for later in stages[self._stage + 1 :])
        return epoch_s * left / _pixels(here.input_wh)


def _pixels(wh: tuple[int, int]) -> int:
    return wh[0] * wh[1]
