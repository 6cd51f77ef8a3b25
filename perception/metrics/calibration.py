"""Calibration of the confidence: expected calibration error."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

BINS: Final = 15

CalibrationCounts = NDArray[np.int64]
"""(..., 3, BINS) by confidence: pixels, correct pixels, and the sum of confidence in 1 / 255."""


def calibration_counts(
    confidence: NDArray[np.uint8], is_right: NDArray[np.bool_], counted: NDArray[np.bool_]
) -> CalibrationCounts:
    """(3, BINS) of one frame, for `calibration_error`; sum them over several frames.

    Args:
        confidence: (H, W) uint8, 255 is certain.
        is_right: (H, W), whether the predicted class is the true one.
        counted: (H, W), whether the pixel counts.
    """
    of_all, of_right = (_levels(confidence, which) for which in (counted, counted & is_right))
    return np.stack([_in_bins(of_all), _in_bins(of_right), _in_bins(of_all * np.arange(256))])


def _levels(confidence: NDArray[np.uint8], which: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(256,) number of pixels at each level."""
    counted = cv2.calcHist([confidence], [0], which.view(np.uint8), [256], [0, 256])
    return counted.ravel().astype(np.int64)


def _in_bins(of_level: NDArray[np.int64]) -> NDArray[np.int64]:
    """(BINS,) sums over bins of 17 levels each, upper edge included: 1 to 17, and so on to 255."""
    bins: NDArray[np.int64] = of_level[1:].reshape(BINS, -1).sum(1)
    bins[0] += of_level[0]
    return bins


def calibration_error(counts: CalibrationCounts) -> float:
    """Expected calibration error, a share: distance of confidence from accuracy.

    Mean over the bins, weighted by pixels, of |share of correct pixels - mean confidence| (Guo et al., "On
    Calibration of Modern Neural Networks", 2017); NaN if nothing was counted.
    """
    pixels, right, levels = counts
    total = pixels.sum()
    return float(np.abs(right - levels / 255).sum() / total) if total else float("nan")
