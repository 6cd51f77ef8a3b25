"""The training loop on one page: stages, epochs, steps, validation, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from perception.labels import LABELS
from perception.sinks.claim import Claim, ClaimedError
from train.check import changed_in_stage, changed_since, check
from train.checkpoint import Checkpoint, CheckpointError
from train.config import Stage, TrainConfig
from train.data.mixture import Loader, training_batches, training_frames, validation_batches
from train.evaluate import Normalise, Validation, evaluate, logits_at_input, predictions
from train.first_weights import begin_with
from train.losses import LOSSES, with_auxiliary
from train.models import Network, build_model, load_encoder, size_of
from train.optimise import build_optimiser, moving_average
from train.processes import Processes
from train.progress import Progress
from train.report import write_report
from train.teacher import open_teacher
from train.torchrun import rank0_reports_first

Batch = tuple[Tensor, Tensor]

UNFOLDING_FRAMES: Final = 64
"""Frames that measure the inputs of batch norms, for a network that starts from an exported file."""
DRY_STEPS: Final = 3
"""Training and validation steps of each stage that a dry run measures, after one that warms up."""


class TrainingError(ValueError):
    """Training cannot continue; the last checkpoint is intact."""


def train(config: TrainConfig, say: Callable[[str], None] = print) -> Path:
    """Train and return the best checkpoint's file; a dry run measures a few steps and writes nothing.

    Every epoch is seeded by its place in the run, and every frame by its place in the epoch. So a
    resumed run draws the same random numbers as an uninterrupted one, and several processes draw those
    of a single one.
    """
    with rank0_reports_first():
        processes = Processes.join(config.device)
    claim = Claim()
    try:
        with rank0_reports_first():  # before leaving the group, or rank 0 would only see the others gone
            run = _Run(config, processes, say if processes.is_first else lambda line: None, claim)
            return run.rehearse() if config.dry_run else run.finish()
    finally:
        claim.release()
        processes.leave()


class _Run:
    """A run: its network, optimiser, data and state."""

    def __init__(
        self, config: TrainConfig, processes: Processes, say: Callable[[str], None], claim: Claim
    ) -> None:
        check(config)
        self.config, self.processes, self.say = config, processes, say
        folder = Path(config.out) / config.run_name
        self.last_file, self.best_file, self.report_folder = (
            folder / name for name in ("last.pt", "best.pt", "report")
        )
        self.at = self._resumed() if config.resume else Checkpoint.fresh(config)
        self._check_beginning()
        try:
            if not config.dry_run:
                folder.mkdir(parents=True, exist_ok=True)
            if not config.dry_run and processes.is_first:
                claim.take(folder)
        except ClaimedError:
            raise CheckpointError(
                f"{folder}: another run is writing there; wait until it ends, or use another --name or --out"
            ) from None
        except OSError as error:
            raise CheckpointError(f"{folder}: cannot be written: {error.strerror}") from error
        torch.manual_seed(config.seed)
        self.model = build_model(config.model, len(LABELS))
        if config.encoder_weights and not config.resume:
            load_encoder(self.model, config.encoder_weights)
        if config.weights and not config.resume:
            origin = begin_with(self.model, config.weights, config, self._some_frames)
            self.at.origin = asdict(origin)
            say(f"initial weights: {origin.name}")
        self.model.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = moving_average(self.model, config.ema_decay)
        if self.at.training:
            self.model.load_state_dict(self.at.training["weights"])
            if self.average is not None:
                self.average.load_state_dict(self.at.training["average"])
        if config.freeze_encoder:
            for weight in self.model.encoder_parameters():
                weight.requires_grad_(False)
        self.normalise = Normalise(config.mean_bgr, config.std_bgr).to(processes.device)
        self.loss_of = LOSSES[config.loss]
        self.teachers = [
            (teacher.weight, open_teacher(teacher, processes.device)) for teacher in config.teachers
        ]
        for stage in config.stages[self.at.stage :]:  # before earlier stages have taken hours
            training_frames(config, stage)
        self.progress = Progress(config, folder, self.model, say, processes.is_first)

    def _some_frames(self) -> Iterator[Tensor]:
        """A few training batches of the first stage."""
        batches, order = training_batches(self.config, self.config.stages[0], self.processes)
        order.seed = self.config.seed
        for frame, _ in islice(batches, -(-UNFOLDING_FRAMES // self.config.stages[0].batch_size)):
            yield frame

    def _resumed(self) -> Checkpoint:
        """The later of both checkpoints: a run may have been killed between writing them."""
        last = Checkpoint.load(self.last_file)
        best = Checkpoint.load(self.best_file) if self.best_file.is_file() else last
        return best if len(best.history) > len(last.history) else last

    def _check_beginning(self) -> None:
        """Refuse to overwrite a run unless asked to, and to resume one with other settings."""
        files = (self.last_file, self.best_file, self.report_folder)
        there = next((file for file in files if file.exists()), None)
        may_be_there = self.config.resume or self.config.overwrite or self.config.dry_run
        if there is not None and not may_be_there:
            raise CheckpointError(
                f"{there}: belongs to an earlier run; --resume continues it, --overwrite starts over, "
                f"--out DIR starts elsewhere"
            )
        if (begun := self.at.config["model"]) != self.config.model:
            raise CheckpointError(f"{self.last_file}: holds {begun}, not {self.config.model}")
        if changed := changed_since(self.at.config, self.config):
            raise CheckpointError(
                f"{self.last_file}: was started with another {', '.join(changed)}; resume it with the same"
            )

    def finish(self) -> Path:
        """Run the remaining stages, then write the report on the best network."""
        if self._is_done(self.config.stages[-1]):
            self.say("the run was complete already; add a stage to train longer")
        for stage in self.config.stages[self.at.stage :]:
            self._stage(stage)
            self.at.start_stage(self.at.stage + 1)
        if self.processes.is_first:
            self.progress.close()
            self.model.load_state_dict(Checkpoint.load(self.best_file).model)
            seen = predictions(self.model, self.normalise, self.config, self.processes.device)
            parameters, size_mib = size_of(self.model)
            network = {"parameters": parameters, "size_mib": size_mib, "device": self.processes.device_name}
            write_report(self.report_folder, self.at.config, self.at.history, seen, network)
            self.say(f"best checkpoint: {self.best_file}, report: {self.report_folder}")
        return self.best_file

    def rehearse(self) -> Path:
        """Report time and memory of a step in each remaining stage, and the time that the run would take."""
        stages, first, done, total_s = self.config.stages, self.at.stage, self.at.epoch, 0.0
        for number, stage in enumerate(stages[first:], start=first):
            self.at.stage = number
            steps, step_s, validation_s = self._measured(stage)
            epochs, done = stage.epochs - done, 0
            stage_s = epochs * (steps * step_s + validation_s)
            total_s += stage_s
            (width, height), memory_gb = stage.input_wh, self.processes.peak_memory_bytes() / 1e9
            self.say(
                f"stage {number + 1}/{len(stages)} {width}x{height}: {step_s:.3g} s a step, "
                f"{memory_gb:.2f} GB; {epochs} epoch{'s' * (epochs != 1)} of {steps} steps and "
                f"{validation_s:.3g} s of validation take {tqdm.format_interval(stage_s)}"
            )
        self.say(f"dry run: training would take {tqdm.format_interval(total_s)}; nothing was written")
        return self.best_file

    def _measured(self, stage: Stage) -> tuple[int, float, float]:
        """Steps of an epoch, seconds of a step, and seconds of a validation."""
        batches, order = training_batches(self.config, stage, self.processes)
        validation = validation_batches(self.config, stage, self.processes)
        planned = max(stage.epochs * len(order), 1 + DRY_STEPS)
        self.optimiser, self.schedule = build_optimiser(self.model, self.config, stage, planned)
        student = self.processes.in_step(self.model)
        order.seed = self._seed_epoch()
        step_s = _seconds_each(batches, lambda few: self._epoch(student, stage, few))
        judge_s = _seconds_each(
            validation,
            lambda few: evaluate(self.model, self.normalise, few, self.loss_of, self.processes),
        )
        return len(order), step_s, judge_s * len(validation)

    def _stage(self, stage: Stage) -> None:
        batches, order = training_batches(self.config, stage, self.processes)
        validation = validation_batches(self.config, stage, self.processes)
        steps = stage.epochs * len(order)
        self.optimiser, self.schedule = build_optimiser(self.model, self.config, stage, steps)
        if self.at.epoch:
            if changed := changed_in_stage(self.at.config, self.at.stage, stage):
                raise CheckpointError(
                    f"{self.last_file}: stage {self.at.stage + 1} was started with other settings "
                    f"({', '.join(changed)}); resume it with the same, and add a stage to train longer"
                )
            self.optimiser.load_state_dict(self.at.training["optimiser"])
            self.schedule.load_state_dict(self.at.training["schedule"])
        elif self.at.stage:  # from the best weights of the stage before, not the last
            self.model.load_state_dict(Checkpoint.load(self.best_file).model)
            self.average = moving_average(self.model, self.config.ema_decay)
        student = self.processes.in_step(self.model)
        watched = self.average.module if self.average is not None else self.model
        while self.at.epoch < stage.epochs and not self._is_out_of_patience():
            order.seed = self._seed_epoch()
            steps_before = int(sum(entry["steps"] for entry in self.at.history))
            self.progress.start_epoch(self.at.stage, self.at.epoch, len(order), steps_before)
            loss = self._epoch(student, stage, batches)
            judged = evaluate(watched, self.normalise, validation, self.loss_of, self.processes)
            self._keep(loss, judged, watched)
        if self.at.epoch < stage.epochs:
            self.say(
                f"stage {self.at.stage + 1} ends early: {self.at.epochs_since_best} epochs without a new best"
            )

    def _epoch(self, student: nn.Module, stage: Stage, batches: Loader | list[Batch]) -> float:
        """One pass over the training frames; the mean loss."""
        config, device = self.config, self.processes.device
        _training_mode(self.model, config)
        total = 0.0
        for step, (frame, label) in enumerate(batches, start=1):
            label = label.to(device, non_blocking=True).long()
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
                outputs = student(self.normalise(frame.to(device, non_blocking=True)))
            logits = logits_at_input(outputs.logits, label)
            auxiliary = None if outputs.auxiliary is None else logits_at_input(outputs.auxiliary, label)
            loss = with_auxiliary(self.loss_of, logits, auxiliary, label)
            if outputs.lines is not None:  # DDP waits for every gradient, also without a teacher of lines
                loss = loss + 0 * outputs.lines.float().sum()
            if stage.taught:
                for weight, teacher in self.teachers:
                    loss = loss + weight * teacher.loss(frame, label, outputs, logits)
            if not torch.isfinite(loss):
                raise TrainingError(f"the loss became {loss.item()} at step {step}; lower max_learning_rate")
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if config.clip_norm:
                nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
            self.optimiser.step()
            self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
            total += loss.item()
            self.progress.step(loss.item(), float(self.schedule.get_last_lr()[0]))
        return float(self.processes.sum(np.array([total]))[0]) / (len(batches) * self.processes.count)

    def _keep(self, loss: float, judged: Validation, watched: nn.Module) -> None:
        """End an epoch: record its figures, write the checkpoints."""
        at = self.at
        score = judged.confusion.mean_iou() if self.config.choose_by == "mean_iou" else -judged.loss
        is_best = score > at.best
        at.history.append(self.progress.end_epoch(loss, judged, is_best))
        at.best, at.epochs_since_best = (score, 0) if is_best else (at.best, at.epochs_since_best + 1)
        at.epoch += 1
        at.config, at.model = asdict(self.config), watched.state_dict()
        at.training = {
            "weights": self.model.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        if self.processes.is_first:
            if is_best:
                at.save(self.best_file)
            at.save(self.last_file)
        self.processes.wait()  # the next stage begins with best.pt in every process

    def _is_done(self, last: Stage) -> bool:
        """Whether no epoch of the last stage, `last`, is left."""
        is_in_it = self.at.stage == len(self.config.stages) - 1
        return is_in_it and (self.at.epoch >= last.epochs or self._is_out_of_patience())

    def _is_out_of_patience(self) -> bool:
        patience = self.config.patience_epochs
        return 0 < patience <= self.at.epochs_since_best

    def _seed_epoch(self) -> int:
        """The seed of the epoch's order; also seeds dropout, differently in each process."""
        seed = self.config.seed * 1_000_000 + self.at.stage * 1_000 + self.at.epoch
        torch.manual_seed(seed + 1_000_000_000 * self.processes.rank)
        return seed


def _seconds_each(batches: Loader, use: Callable[[list[Batch]], object]) -> float:
    """Seconds to load and use a batch, measured on `DRY_STEPS` after one that warms up."""
    use(list(islice(batches, 1)))
    started_s = time.monotonic()
    few = list(islice(batches, DRY_STEPS))
    use(few)
    return (time.monotonic() - started_s) / max(1, len(few))


def _training_mode(model: Network, config: TrainConfig) -> None:
    """Train mode, except for frozen parts, whose batch norms must not update."""
    model.train()
    if config.freeze_encoder:
        for module in model.encoder_modules():
            module.eval()
    if config.freeze_batch_norm:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
