"""Accuracy through the node's own path, and whether the node under full load finds the very same."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.meter import metered
from bench.scenarios.node import FunctionSink, node_predictors, run_pipeline
from bench.task import Task
from perception.frame import Frame, Prediction
from perception.metrics.segmentation import Accuracy, LabelledFrames, measure_accuracy
from perception.sources.source import EndOfSource, Source, SourceInfo
from train.data.layouts import open_frames

LOADED_FRAMES: Final = 200
"""At most so many frames are seen again under load, spread over all."""
WINDOW_FRAMES: Final = 8
"""Frames that are held to be handed out again: neighbours in the pipeline differ, and the memory is small."""
RATE_HZ: Final = 30.0  # a source has one; nothing waits for it

Predict = Callable[[Frame], Prediction]


def measure(task: Task) -> dict[str, Any]:
    """Figures of `perception.metrics.segmentation`, and whether they hold under load.

    The meter is that of the quiet run: one frame after the other, each read, predicted (by one thread, on a
    CPU) and counted. `busy_cores_under_load` is the load of the second run.

    Options: `data` (folder), `layout`, `label_map`, `split`.
    """
    options = task.options
    frames = open_frames(options["data"], options["split"], options["layout"], options["label_map"])
    engine, predictors = node_predictors(task, is_live=False)
    digests: list[bytes] = []

    def predict(frame: Frame) -> Prediction:
        prediction = predictors[0](frame)
        digests.append(digest(prediction.class_map))
        return prediction

    with metered(engine.provider) as readings:
        accuracy = measure_accuracy(predict, frames)
    with metered(engine.provider) as under_load:
        is_same = finds_the_same_under_load(frames, digests, predictors)
    return {
        "split": options["split"],
        **_figures(accuracy),
        "frames": len(accuracy.frames),
        "recordings": len(accuracy.recordings),
        "boundary_iou": _number(accuracy.mean_boundary_iou()),
        "calibration_error": _number(accuracy.calibration_error()),
        "two_classes": _figures(accuracy.drivable_or_not()),
        "conditions": {
            condition: {"frames": len(part.frames), "mean_iou": _number(part.total.mean_iou())}
            for condition, part in accuracy.by_condition().items()
        },
        "same_under_load": is_same,
        "busy_cores_under_load": under_load["busy_cores"],
        **readings,
    }


def _figures(accuracy: Accuracy) -> dict[str, Any]:
    """Mean IoU, its interval (null at both ends for one recording alone, which has none), each class."""
    interval = accuracy.mean_iou_interval() if len(accuracy.recordings) > 1 else (math.nan, math.nan)
    return {
        "mean_iou": _number(accuracy.total.mean_iou()),
        "interval": [_number(end) for end in interval],
        "iou": {
            label: _number(iou) for label, iou in zip(accuracy.labels, accuracy.total.iou(), strict=True)
        },
    }


def _number(value: float) -> float | None:
    """JSON has no word for what was not measured but null."""
    return float(value) if math.isfinite(value) else None


def finds_the_same_under_load(
    frames: LabelledFrames, digests: Sequence[bytes], predictors: Sequence[Predict]
) -> bool:
    """Whether the node's pipeline, all workers busy at once, finds every class map as it was before.

    Every frame is handed out once a worker, so that decoding images does not keep the workers waiting.

    Args:
        digests: `digest` of each frame's class map.
        predictors: one a worker, as the node makes them for a recording.
    """
    chosen = evenly(len(frames), LOADED_FRAMES)
    source = _Repeating(frames, chosen, times=len(predictors))
    same: list[bool] = []

    def compare(prediction: Prediction) -> None:
        same.append(digest(prediction.class_map) == digests[int(prediction.frame.name)])

    run_pipeline(source, source.open(), predictors, [FunctionSink("comparison", compare)])
    return sum(same) == len(chosen) * len(predictors)


def evenly(count: int, at_most: int) -> Sequence[int]:
    """At most so many of `count` indices, evenly spread; all where there are no more."""
    return range(count) if count <= at_most else [number * count // at_most for number in range(at_most)]


def digest(class_map: NDArray[np.uint8]) -> bytes:
    """The same for the same class map: what a large split can keep of each."""
    return hashlib.sha256(f"{class_map.shape}".encode() + class_map.tobytes()).digest()


class _Repeating(Source):
    """The images of labelled frames as a recording; a few at a time, in turns, so many times each."""

    def __init__(self, labelled: LabelledFrames, chosen: Sequence[int], times: int) -> None:
        self._labelled, self._chosen, self._times = labelled, chosen, times
        self._frames = self._hand_out()

    def open(self) -> SourceInfo:
        height, width = self._labelled[self._chosen[0]][0].shape[:2]
        return SourceInfo("labelled frames", False, (width, height), RATE_HZ)

    def read(self) -> Frame:
        try:
            return next(self._frames)
        except StopIteration:
            raise EndOfSource from None

    def close(self) -> None:
        self._frames.close()

    def _hand_out(self) -> Generator[Frame, None, None]:
        frame_id = 0
        for first in range(0, len(self._chosen), WINDOW_FRAMES):
            window = self._chosen[first : first + WINDOW_FRAMES]
            images_bgr = [(index, self._labelled[index][0]) for index in window]
            for index, image_bgr in images_bgr * self._times:
                yield Frame("labelled frames", frame_id, time.monotonic_ns(), 0, image_bgr, str(index))
                frame_id += 1
