"""What the report knows of the validation frames: counts of all, pictures of a few."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perception.metrics.confusion_matrix import mean_iou_of
from perception.metrics.segmentation import Accuracy, Condition, CountedFrame, count_frame


@dataclass(frozen=True)
class Seen:
    """One validation frame, and what the network made of it."""

    name: str
    recording: str
    image_bgr: NDArray[np.uint8]
    """(H, W, 3) as it was recorded, without padding: its brightness tells day from night."""
    truth: NDArray[np.uint8]
    """(h, w) class ids over the whole frame, any resolution; `IGNORE` does not count."""
    predicted: NDArray[np.uint8]
    """(h, w) class ids, of the truth's shape."""


@dataclass(frozen=True)
class Score:
    """One frame's own figures."""

    name: str
    recording: str
    condition: Condition
    mean_iou: float
    """Over the classes that occur in its truth or its prediction; NaN where all pixels are ignored."""


@dataclass(frozen=True)
class Ranked:
    """A frame that is shown."""

    score: Score
    frame: Seen


@dataclass(frozen=True)
class Gathered:
    """All frames' figures, and the few frames at both ends."""

    accuracy: Accuracy
    scores: list[Score]
    """In the order of the frames."""
    best: list[Ranked]
    """Best first."""
    worst: list[Ranked]
    """Worst first."""


class _Extremes:
    """The `limit` frames with the highest key, whatever the number that passes by."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[float, int, Ranked]] = []

    def offer(self, key: float, order: int, ranked: Ranked) -> None:
        heapq.heappush(self._heap, (key, -order, ranked))  # of equals the first one stays
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)

    def highest_first(self) -> list[Ranked]:
        return [ranked for _, _, ranked in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


def gather(predicted: Iterable[Seen], shown: int) -> Gathered:
    """Count every frame and keep the `shown` best and worst; the other pictures are let go at once.

    Raises:
        ValueError: if there are no frames, or a prediction is not of its truth's shape.
    """
    counted: list[CountedFrame] = []
    scores: list[Score] = []
    best, worst = _Extremes(shown), _Extremes(shown)
    for order, frame in enumerate(predicted):
        counts = count_frame(frame.recording, frame.image_bgr, frame.truth, frame.predicted)
        mean_iou = float(mean_iou_of(counts.counts))
        score = Score(frame.name, frame.recording, counts.condition, mean_iou)
        counted.append(counts)
        scores.append(score)
        if np.isfinite(mean_iou):
            best.offer(mean_iou, order, Ranked(score, frame))
            worst.offer(-mean_iou, order, Ranked(score, frame))
    return Gathered(Accuracy(tuple(counted)), scores, best.highest_first(), worst.highest_first())
