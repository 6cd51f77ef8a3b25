"""Confusion matrix and mean IoU in numpy: the definition used by training, tests and bench."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, IGNORE

Counts = NDArray[np.int64]
"""(..., classes, classes) pixels: true class by row, predicted class by column."""

DRIVABLE_OR_NOT: Final = ((DIRECT, ALTERNATIVE), (BACKGROUND,))
"""Two classes for `merged`, for comparison with networks without alternative lanes."""


class ConfusionMatrix:
    """Counts pixels by true and predicted class over a whole split.

    Mean IoU is that of the sum of all frames, not a mean over frames, and background counts as a class, as
    in the published results on BDD100K drivable area.
    """

    def __init__(self, classes: int) -> None:
        self.counts: Counts = np.zeros((classes, classes), np.int64)

    @classmethod
    def of(cls, counts: Counts) -> ConfusionMatrix:
        """The matrix of (classes, classes) counts, which are copied."""
        confusion = cls(len(counts))
        confusion.counts[:] = counts
        return confusion

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count one frame.

        Args:
            truth: (H, W) uint8 class ids; `IGNORE` pixels do not count.
            predicted: (H, W) uint8 class ids.

        Raises:
            ValueError: if the shapes differ or a class id is out of range.
        """
        if truth.shape != predicted.shape:
            raise ValueError(f"truth is {truth.shape} but the prediction is {predicted.shape}")
        classes = len(self.counts)
        seen = truth != IGNORE
        if ((np.maximum(truth, predicted) >= classes) & seen).any():
            raise ValueError(f"class ids must be below {classes}")
        # Comparing bytes takes a quarter of the time of a histogram of pairs.
        found = [predicted == class_id for class_id in range(classes)]
        for true_id in range(classes):
            is_true = truth == true_id
            self.counts[true_id] += [np.count_nonzero(is_true & is_found) for is_found in found]

    def iou(self) -> NDArray[np.float64]:
        """(classes,) intersection over union of each class; NaN for a class that never occurred."""
        return iou_of(self.counts)

    def mean_iou(self) -> float:
        """Mean of `iou()` over the classes that occurred; NaN if nothing was counted."""
        return float(mean_iou_of(self.counts))


def iou_of(counts: Counts) -> NDArray[np.float64]:
    """(..., classes) intersection over union; NaN for a class that never occurred."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    union = counts.sum(-2) + counts.sum(-1) - hits
    return share_of(hits, union)


def mean_iou_of(counts: Counts) -> NDArray[np.float64]:
    """(...) mean of `iou_of` over the classes that occurred; NaN where nothing was counted."""
    return mean_of(iou_of(counts))


def mean_of(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) mean of (..., classes) without those that are NaN; NaN where all are."""
    occurred = np.isfinite(iou)
    return share_of(np.where(occurred, iou, 0.0).sum(-1), occurred.sum(-1))


def share_of(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """The part of a whole; NaN where that is 0."""
    share = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def merged(counts: Counts, groups: Sequence[Sequence[int]]) -> Counts:
    """(..., groups, groups) counts with the classes of each group merged into one.

    Example:
        >>> merged(np.array([[5, 1, 0], [2, 4, 1], [0, 3, 9]]), DRIVABLE_OR_NOT).tolist()
        [[12, 1], [3, 9]]
    """
    belongs = np.zeros((counts.shape[-1], len(groups)), np.int64)
    for index, group in enumerate(groups):
        belongs[list(group), index] = 1
    return np.asarray(belongs.T @ counts @ belongs, np.int64)
