"""Boundary IoU, which is sensitive to edges where IoU is not."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.labels import IGNORE
from perception.metrics.confusion_matrix import share_of

BAND_SHARE: Final = 0.02
"""Width of the band inside an outline, as a share of the image's diagonal."""

BoundaryCounts = NDArray[np.int64]
"""(..., classes, 2) pixels of the bands: intersection, union."""


def boundary_counts(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> BoundaryCounts:
    """(classes, 2) pixels of one frame, for `boundary_iou_of`; sum them over several frames.

    A class's band is the part of its area within 2 % of the image's diagonal of its outline (Cheng et al.,
    "Boundary IoU", 2021), measured along rows and columns; the image's edge belongs to the outline, as in
    the paper. Ignored pixels do not count and make no outline, because what they hide is unknown.

    Args:
        truth: (H, W) uint8 class ids below `classes`, or `IGNORE`.
        predicted: (H, W) uint8 class ids below `classes`.
    """
    band_px = max(1, round(BAND_SHARE * float(np.hypot(*truth.shape))))
    seen = truth != IGNORE
    in_truth, in_predicted = (_band(class_map, seen, band_px) for class_map in (truth, predicted))
    counts = np.empty((classes, 2), np.int64)
    for class_id in range(classes):
        of_truth, of_predicted = in_truth & (truth == class_id), in_predicted & (predicted == class_id)
        counts[class_id, 0] = np.count_nonzero(of_truth & of_predicted)
        counts[class_id, 1] = np.count_nonzero(of_truth | of_predicted)
    return counts


def _band(class_map: NDArray[np.uint8], seen: NDArray[np.bool_], band_px: int) -> NDArray[np.bool_]:
    """(H, W) whether another class or the image's edge is within `band_px` rows and columns."""
    window = np.ones((2 * band_px + 1, 2 * band_px + 1), np.uint8)
    # Lowest and highest id in the window, for all classes in one pass; ignored pixels are neither.
    level = -seen.view(np.uint8)  # 255 or 0
    lowest = cv2.erode(class_map | ~level, window)
    highest = cv2.dilate(class_map & level, window)
    band = np.asarray(lowest != highest)
    band[:band_px] = band[-band_px:] = True
    band[:, :band_px] = band[:, -band_px:] = True
    return band & seen


def boundary_iou_of(counts: BoundaryCounts) -> NDArray[np.float64]:
    """(..., classes) boundary IoU; NaN for a class that never occurred."""
    return share_of(counts[..., 0], counts[..., 1])
