"""The period of a dashed line on the road, from pixels: no network is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Project = Callable[[Floats], Floats]
"""From (n, 2) metres ahead and to the left to (n, 2) pixels."""

FROM_M, TO_M, STEP_M = 5.0, 34.0, 0.1
SIDE_M: Final = 0.7
"""To either side of where the line is looked for."""
MARK_SHARE: Final = 0.25
PERIODS_M: Final = np.arange(8.0, 18.01, 0.05)
LEAST_CONTRAST: Final = 0.45
"""Of the mean under the dashes to that between them, from 0 to 1; solid lines and bare road have less."""


def dash_period(
    image_bgr: NDArray[np.uint8], project: Project, side_y: Callable[[Floats], Floats]
) -> float | None:
    """Length of a dash and the gap behind it, in metres; None where no dashed line is seen.

    Args:
        image_bgr: (H, W, 3).
        project: of the camera in this picture.
        side_y: y of the lane's border at distances ahead.
    """
    x = np.arange(FROM_M, TO_M, STEP_M)
    across = np.arange(-SIDE_M, SIDE_M + 0.01, 0.04)
    ground = np.stack(np.broadcast_arrays(x[:, None], side_y(x)[:, None] + across[None]), axis=-1)
    pixels = project(ground.reshape(-1, 2)).astype(np.float32).reshape(*ground.shape)
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    seen = cv2.remap(grey, np.nan_to_num(pixels[..., 0], nan=-9), np.nan_to_num(pixels[..., 1], nan=-9),
                     cv2.INTER_LINEAR)  # fmt: skip
    stripe = seen - np.median(seen, axis=1, keepdims=True)
    column = _column_of_marks(stripe)
    profile = stripe[:, max(0, column - 3) : column + 4].max(axis=1)
    low, high = np.quantile(profile, [0.2, 0.9])
    if high - low < 15:
        return None
    profile = np.clip((profile - low) / (high - low), 0, 1)
    return _period(x, profile)


def _column_of_marks(stripe: NDArray[np.float32]) -> int:
    """Where across the marks are: what stands out from the road most often."""
    return int(np.argmax(np.quantile(stripe, 0.85, axis=0)))


def _period(x: Floats, profile: Floats) -> float | None:
    """The period with which dashes of a quarter of it match best."""
    best, period = LEAST_CONTRAST, None
    for length in PERIODS_M:
        place = np.floor(np.mod(x, length) / STEP_M).astype(np.int64)
        bins = int(np.ceil(length / STEP_M))
        total = np.bincount(place, profile, bins)
        count = np.bincount(place, minlength=bins)
        mean = total / np.maximum(count, 1)
        width = max(1, round(MARK_SHARE * bins))
        ring = np.concatenate([mean, mean[: width - 1]])
        under = np.convolve(ring, np.ones(width), "valid")
        between = (mean.sum() - under) / (bins - width)
        contrast = float(np.max(under / width - between))
        if contrast > best:
            best, period = contrast, float(length)
    return period
