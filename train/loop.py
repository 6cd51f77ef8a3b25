"""The training loop on one page: stages, epochs, steps, validation, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader

from perception.labels import LABELS
from train.checkpoint import Checkpoint, CheckpointError, config_as_dict
from train.config import Stage, TrainConfig
from train.data.augment import build_augmentation
from train.data.frames import DataError, IndexedFrames, LabelledFrames
from train.data.loader import Batches
from train.data.synthetic import SyntheticDrives
from train.evaluate import Normalise, evaluate, logits_at_input
from train.losses import LOSSES
from train.models import build_model

SYNTHETIC_VALIDATION_SEED = 1_000_000  # roads that training never sees
SYNTHETIC_VALIDATION_DRIVES = 8


class TrainingError(RuntimeError):
    """Training cannot go on; the last checkpoint is intact."""


def train(config: TrainConfig, report: Callable[[str], None] = print) -> Path:
    """Train and return the best checkpoint's file.

    Every epoch starts from a random seed of its own, made of the run's seed, the stage and the
    epoch. So a run resumed at an epoch draws the same numbers as one that was never broken.
    """
    folder = Path(config.out) / config.model
    last_file, best_file = folder / "last.pt", folder / "best.pt"
    torch.manual_seed(config.seed)
    model = build_model(config.model, len(LABELS))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalise = Normalise(config.mean_bgr, config.std_bgr)
    pad_bgr = (round(config.mean_bgr[0]), round(config.mean_bgr[1]), round(config.mean_bgr[2]))

    resumed = Checkpoint.load(last_file) if config.resume else None
    if resumed:
        _check_same_network(resumed, config, last_file)
        model.load_state_dict(resumed.model)
    elif config.encoder_weights:
        _load_encoder(model, config)
    best, history = (resumed.best_mean_iou, resumed.history) if resumed else (-1.0, [])

    for stage_index in range(resumed.stage if resumed else 0, len(config.stages)):
        stage = config.stages[stage_index]
        frame_sets, validation_frames = _frames(config, stage)
        augmentation = build_augmentation(config.augment, pad_bgr[0])
        batches: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
            ConcatDataset([Batches(frames, stage.input_wh, pad_bgr, augmentation) for frames in frame_sets]),
            stage.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=config.workers,
        )
        validation = DataLoader(Batches(validation_frames, stage.input_wh, pad_bgr), stage.batch_size)
        if not len(batches):
            raise DataError(f"fewer training frames than one batch of {stage.batch_size}")
        optimiser, schedule = _optimiser(model, config, stage, len(batches))
        first_epoch = 0
        if resumed and resumed.stage == stage_index and resumed.epoch:
            first_epoch = resumed.epoch
            optimiser.load_state_dict(resumed.optimiser)
            schedule.load_state_dict(resumed.schedule)

        for epoch in range(first_epoch, stage.epochs):
            torch.manual_seed(config.seed * 1_000_000 + stage_index * 1_000 + epoch)
            started_s = time.monotonic()
            loss = _epoch(config, model, normalise, batches, optimiser, schedule, report)
            confusion = evaluate(model, normalise, validation)
            mean_iou = confusion.mean_iou()
            history.append({"stage": stage_index, "epoch": epoch, "loss": loss, "val_mean_iou": mean_iou})
            is_best = mean_iou > best
            best = max(best, mean_iou)
            ends_stage = epoch + 1 == stage.epochs
            state = Checkpoint(
                config=config_as_dict(config),
                model=model.state_dict(),
                optimiser=optimiser.state_dict(),
                schedule=schedule.state_dict(),
                stage=stage_index + 1 if ends_stage else stage_index,
                epoch=0 if ends_stage else epoch + 1,
                best_mean_iou=best,
                history=history,
            )
            state.save(last_file)
            if is_best:
                state.save(best_file)
            report(
                f"stage {stage_index + 1}/{len(config.stages)} {stage.input_wh[0]}x{stage.input_wh[1]} "
                f"epoch {epoch + 1}/{stage.epochs}: loss {loss:.4f}, val mean IoU {100 * mean_iou:.2f} % "
                f"({', '.join(f'{n} {100 * v:.1f}' for n, v in zip(LABELS, confusion.iou(), strict=True))}), "
                f"{time.monotonic() - started_s:.0f} s{', best' if is_best else ''}"
            )
    return best_file


def _epoch(
    config: TrainConfig,
    model: torch.nn.Module,
    normalise: Normalise,
    batches: DataLoader[tuple[Tensor, Tensor]],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    report: Callable[[str], None],
) -> float:
    """One pass over the training frames; the mean loss."""
    loss_of = LOSSES[config.loss]
    model.train()
    total, started_s = 0.0, time.monotonic()
    for step, (frame, label) in enumerate(batches, start=1):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = model(normalise(frame))
        loss = loss_of(logits_at_input(logits, label), label.long())
        if not math.isfinite(loss.item()):
            raise TrainingError(f"the loss became {loss.item()} at step {step}; lower max_learning_rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % 50 == 0:
            left_s = (time.monotonic() - started_s) / step * (len(batches) - step)
            report(
                f"  step {step}/{len(batches)}: loss {total / step:.4f}, {left_s:.0f} s left in this epoch"
            )
    return total / len(batches)


def _frames(config: TrainConfig, stage: Stage) -> tuple[list[LabelledFrames], LabelledFrames]:
    """Training sets, and the frames to validate on: real ones where there are any."""
    drawn_wh = (640, 360)
    training: list[LabelledFrames] = []
    if config.data:
        training.append(IndexedFrames(Path(config.data), "train"))
    if stage.synthetic_drives:
        training.append(SyntheticDrives(stage.synthetic_drives, stage.frames_per_drive, drawn_wh))
    if not training:
        raise DataError(
            "nothing to learn from: name a data set (--data DIR) or set synthetic_drives in a stage"
        )
    if config.data:
        return training, IndexedFrames(Path(config.data), "val")
    return training, SyntheticDrives(
        SYNTHETIC_VALIDATION_DRIVES, stage.frames_per_drive, drawn_wh, SYNTHETIC_VALIDATION_SEED
    )


def _optimiser(
    model: torch.nn.Module, config: TrainConfig, stage: Stage, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW (Adam, its weight decay apart from the gradient) and OneCycle, stepped once per batch."""
    optimiser = torch.optim.AdamW(
        model.parameters(), stage.max_learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        stage.max_learning_rate,
        total_steps=stage.epochs * steps_per_epoch,
        pct_start=0.3,
        div_factor=10,
    )
    return optimiser, schedule


def _load_encoder(model: torch.nn.Module, config: TrainConfig) -> None:
    load = getattr(model, "load_encoder", None)
    if load is None:
        raise ValueError(f"{config.model} has no encoder to load weights into; leave out --encoder_weights")
    load(Path(str(config.encoder_weights)))


def _check_same_network(resumed: Checkpoint, config: TrainConfig, file: Path) -> None:
    if resumed.config["model"] != config.model:
        raise CheckpointError(f"{file}: holds {resumed.config['model']}, not {config.model}")
