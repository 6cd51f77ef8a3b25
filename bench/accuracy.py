"""Mean IoU of a model file through the node's own path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perception.accuracy import measure_accuracy
from perception.confusion import ConfusionMatrix
from perception.engines import OnnxEngine
from perception.labels import LABELS
from perception.models import DEFAULT_MODEL, model_file
from perception.perceive import Perceiver
from perception.process import tune_process
from perception.sources.drive import SCENES, DriveRenderer
from train.data.frames import IndexedFrames

SYNTHETIC_FRAME_WH = (640, 360)
SYNTHETIC_SEED = 2_000_000  # roads that neither training nor validation has seen
SYNTHETIC_STEP_FRAMES = 30


@dataclass(frozen=True)
class AccuracyConfig:
    """One measurement."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model, or an ONNX file of drivable-export."""
    data: str | None = None
    """Folder of labelled frames; without one, the built-in road and its exact ground truth."""
    split: str = "test"
    synthetic_frames: int = 200
    """Frames of the built-in road, spread over all its scenes."""


def run(config: AccuracyConfig) -> list[str]:
    """Rows of a table: mean IoU and the IoU of each class."""
    tune_process()
    perceive = Perceiver(OnnxEngine(model_file(config.model), "cpu"))
    if config.data:
        frames = IndexedFrames(Path(config.data), config.split)
        where, count = f"split {config.split}", len(frames)
        confusion = measure_accuracy(perceive, frames)
    else:
        where, count = "the built-in road", config.synthetic_frames
        confusion = measure_accuracy(perceive, _synthetic(config.synthetic_frames))
    return _table(confusion, f"{config.model} on {where}, {count} frames")


def _synthetic(frames: int) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    scenes = [name for name in SCENES if name != "mixed"]
    labelled = []
    for index, scene in enumerate(scenes):
        drive = DriveRenderer(scene, SYNTHETIC_FRAME_WH, 30.0, SYNTHETIC_SEED + index)
        share = (frames + index) // len(scenes)
        labelled += [drive.render(number * SYNTHETIC_STEP_FRAMES) for number in range(share)]
    return labelled


def _table(confusion: ConfusionMatrix, title: str) -> list[str]:
    rows = [title, f"{'mean IoU':12}{100 * confusion.mean_iou():8.2f} %"]
    return rows + [f"{name:12}{100 * iou:8.2f} %" for name, iou in zip(LABELS, confusion.iou(), strict=True)]
