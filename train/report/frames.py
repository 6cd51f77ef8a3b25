"""The report's data on the validation frames: figures of all of them, pictures of a few."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest, nsmallest

import numpy as np
from numpy.typing import NDArray

from perception.metrics.confusion_matrix import mean_iou_of
from perception.metrics.segmentation import Accuracy, Condition, CountedFrame, count_frame


@dataclass(frozen=True)
class PredictedFrame:
    """One validation frame, with its truth and the network's prediction."""

    name: str
    recording: str
    image_bgr: NDArray[np.uint8]
    """(H, W, 3) as recorded, without padding; its brightness decides between day and night."""
    truth: NDArray[np.uint8]
    """(h, w) class ids over the whole frame, any resolution; `IGNORE` does not count."""
    predicted: NDArray[np.uint8]
    """(h, w) class ids, of the truth's shape."""


@dataclass(frozen=True)
class Score:
    """The figures of one frame."""

    name: str
    recording: str
    condition: Condition
    mean_iou: float
    """Over the classes in its truth or prediction; NaN if all pixels are ignored."""


Ranked = tuple[Score, PredictedFrame]
"""A frame to show, and its figures."""


@dataclass(frozen=True)
class Gathered:
    """The figures of all frames, and the best and worst frames."""

    accuracy: Accuracy
    scores: list[Score]
    """In the order of the frames."""
    best: list[Ranked]
    """Best first."""
    worst: list[Ranked]
    """Worst first."""


def gather(predicted: Iterable[PredictedFrame], shown: int) -> Gathered:
    """Count every frame and keep the pictures of the `shown` best and worst.

    Raises:
        ValueError: if there are no frames, or a prediction's shape is not its truth's.
    """
    counted: list[CountedFrame] = []
    scores: list[Score] = []
    best: list[Ranked] = []
    worst: list[Ranked] = []
    for frame in predicted:
        counts = count_frame(frame.recording, frame.image_bgr, frame.truth, frame.predicted)
        score = Score(frame.name, frame.recording, counts.condition, float(mean_iou_of(counts.counts)))
        counted.append(counts)
        scores.append(score)
        if math.isfinite(score.mean_iou):
            best = nlargest(shown, [*best, (score, frame)], key=lambda one: one[0].mean_iou)
            worst = nsmallest(shown, [*worst, (score, frame)], key=lambda one: one[0].mean_iou)
    return Gathered(Accuracy(tuple(counted)), scores, best, worst)
