"""Confusion matrix and mean IoU in numpy: the one definition used by training, tests and bench."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perception.labels import IGNORE


class ConfusionMatrix:
    """Counts pixels by true and predicted class over a whole split.

    Mean IoU follows from the sum of all frames, not from a mean over frames, and background counts
    as a class: the published results on BDD100K drivable area were measured so.
    """

    def __init__(self, classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((classes, classes), np.int64)

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
        pairs = truth[seen].astype(np.int64) * classes + predicted[seen]
        if pairs.size and (pairs.max() >= classes**2 or predicted[seen].max() >= classes):
            raise ValueError(f"class ids must be below {classes}")
        self.counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def iou(self) -> NDArray[np.float64]:
        """(classes,) intersection over union of each class; NaN for a class that never occurred."""
        hits = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        iou = np.full_like(hits, np.nan)
        np.divide(hits, union, out=iou, where=union > 0)
        return iou

    def mean_iou(self) -> float:
        """Mean of `iou()` over the classes that occurred; NaN when nothing was counted."""
        iou = self.iou()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")
