"""Validation of the settings of a run, before anything is built."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from perception.cli.collisions import Input, Target, check_apart
from perception.cli_config import SettingsError
from train.config import Augment, Stage, Teacher, TrainConfig, settings_as_begun

NAME: Final = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,99}")
"""It becomes the name of a folder and of a file."""

RUN_FILES: Final = r"(last|best)\.pt|(report|tensorboard)/.*"
"""Regular expression of the files of a run."""

# Settings that a resumed run must keep; others, such as the folder of the frames, may change.
FIXED: Final = (
    "loss",
    "optimiser",
    "schedule",
    "weight_decay",
    "clip_norm",
    "ema_decay",
    "precision",
    "seed",
    "resize",
    "augment",
    "mean_bgr",
    "std_bgr",
    "freeze_encoder",
    "freeze_batch_norm",
    "choose_by",
)


def check(config: TrainConfig) -> None:
    """Raise SettingsError with the first setting that is out of its range."""
    for line in _wrong(config):
        raise SettingsError(line)


def check_files(config: TrainConfig, settings_files: Sequence[Path] = ()) -> None:
    """Refuse a run that would overwrite its own inputs.

    Args:
        settings_files: of `--config`.

    Raises:
        CollisionError: in one line.
    """
    if config.resume:  # its inputs were checked at the start
        return
    named = {
        "the weights": config.weights,
        "the encoder's weights": config.encoder_weights,
        "the label map": config.label_map,
    }
    inputs = [Input(what, Path(name)) for what, name in named.items() if name and Path(name).exists()]
    inputs += [Input("a teacher", Path(teacher.file)) for teacher in config.teachers]
    inputs += [Input("the settings (--config)", file) for file in settings_files]
    folders = [config.data, *(more.folder for more in config.more_data)]
    inputs += [Input("the data", Path(folder), is_data_set=True) for folder in folders if folder]
    out = Path(config.out)
    targets = [Target("--out", out, is_folder=True, names="[^/]+/")]
    targets.append(Target("--out", out / config.run_name, is_folder=True, names=RUN_FILES))
    check_apart(inputs, targets)


def changed_since(begun: dict[str, Any], config: TrainConfig) -> list[str]:
    """Names of the changed settings that a resumed run must keep; `begun` is from its checkpoint."""
    now, then = asdict(config), settings_as_begun(begun)
    return [name for name in FIXED if name in begun and then[name] != now[name]]


def changed_in_stage(begun: dict[str, Any], number: int, stage: Stage) -> list[str]:
    """Names of the changed settings of a stage that was started: its schedule depends on all of them.

    Args:
        begun: the settings of the run, from its checkpoint.
        number: index of the stage.
    """
    then = settings_as_begun(begun)["stages"][number]
    return [name for name, value in asdict(stage).items() if then[name] != value]


def _wrong(config: TrainConfig) -> Iterator[str]:
    if not config.stages:
        yield "stages: at least one is needed; --config train/rt_m has some"
    for number, stage in enumerate(config.stages, start=1):
        yield from (f"stage {number}: {line}" for line in _wrong_stage(stage))
    if config.augment:
        yield from _wrong_augment(config.augment)
    for more in config.more_data:
        if not 0 <= more.share < 1:
            yield f"more_data {more.folder}: share must be at least 0 and less than 1, not {more.share:g}"
    if sum(more.share for more in config.more_data) >= 1:
        yield "more_data: the shares must come to less than 1"
    if config.more_data and not config.data:
        yield "more_data joins the frames of a data set: name that one (--data DIR)"
    for teacher in config.teachers:
        yield from (f"teacher {teacher.file}: {line}" for line in _wrong_teacher(teacher))
    for name in ("weight_decay", "clip_norm", "patience_epochs", "workers"):
        yield from _at_least(name, getattr(config, name), 0)
    if not 0 <= config.ema_decay < 1:
        yield f"ema_decay must be at least 0 and less than 1, not {config.ema_decay:g}"
    if not 0 <= config.seed < 2**31:
        yield f"seed must be from 0 to {2**31 - 1}, not {config.seed}"
    if not all(math.isfinite(level) and 0 <= level <= 255 for level in config.mean_bgr):
        yield f"mean_bgr must be levels from 0 to 255, not {config.mean_bgr}"
    if not all(math.isfinite(spread) and spread > 0 for spread in config.std_bgr):
        yield f"std_bgr must be greater than 0, not {config.std_bgr}"
    if config.weights and config.encoder_weights:
        yield "weights and encoder_weights exclude each other: weights include the encoder"
    if config.freeze_encoder and not (config.weights or config.encoder_weights or config.resume):
        yield "freeze_encoder without encoder_weights or weights would freeze random weights"
    if not NAME.fullmatch(config.run_name):
        yield f"name must consist of letters, digits, dots, dashes and underscores, not {config.run_name!r}"


def _wrong_stage(stage: Stage) -> Iterator[str]:
    if min(stage.input_wh) < 32:
        yield f"input_wh must be at least 32 pixels per side, not {stage.input_wh}"
    for name, lowest in (("epochs", 1), ("batch_size", 1), ("synthetic_drives", 0), ("frames_per_drive", 1)):
        yield from _at_least(name, getattr(stage, name), lowest)
    if not 0 < stage.max_learning_rate < 100:
        yield f"max_learning_rate must be greater than 0 and less than 100, not {stage.max_learning_rate:g}"
    if stage.augment:
        yield from _wrong_augment(stage.augment)


def _wrong_augment(augment: Augment) -> Iterator[str]:
    for name in ("flip", "shift", "blur", "noise", "darkness", "glare", "rain", "jpeg", "low_resolution"):
        if not 0 <= (share := getattr(augment, name)) <= 1:
            yield f"augment: {name} must be from 0 to 1, not {share:g}"
    if not 0 < augment.scale_min <= augment.scale_max:
        yield f"augment: scale_min {augment.scale_min:g} must be greater than 0 and at most scale_max"
    yield from _at_least("augment: rotate_deg", augment.rotate_deg, 0)
    yield from _at_least("augment: colour", augment.colour, 0)


def _wrong_teacher(teacher: Teacher) -> Iterator[str]:
    yield from _at_least("weight", teacher.weight, 0)
    if not teacher.temperature > 0:
        yield f"temperature must be greater than 0, not {teacher.temperature:g}"


def _at_least(name: str, value: float, lowest: float) -> Iterator[str]:
    if not (math.isfinite(value) and value >= lowest):
        yield f"{name} must be at least {lowest:g}, not {value:g}"
