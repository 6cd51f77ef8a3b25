"""Whether a network's output tells anything of the frame, and why not.

A provider that computes nothing, or the same for every frame, raises no error: what it gives looks like an
output. A network that works is sure of most of a picture, whatever that shows: the mean probability of the
class found was 0.90 at least on frames of BDD100K and 0.93 on noise, black and grey (chance is a third),
and its logits spanned 1.9 at least over one picture (rt_s, rt_m and rt_l, fp32 and int8).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

CONSTANT_RANGE: Final = 1e-3
"""Logits that differ by less over a picture are constant: no probability differs by a thousandth."""
ABOVE_CHANCE: Final = 0.05
"""A mean probability that is no further above 1 / classes is chance."""
_CERTAIN: Final = 255


def why_suspect(
    confidence: NDArray[np.uint8], classes: int, logits: NDArray[np.float32] | None = None
) -> str | None:
    """Why an output cannot be trusted, in words for people; None where nothing speaks against it.

    A class map that is all one class is no reason: a wall gives it. Nor is a confidence of 255 everywhere.

    Args:
        confidence: (h, w) uint8, the probability of the class found, 255 is certain.
        classes: how many the network tells apart.
        logits: (classes, h, w) float32 where the graph gives them.
    """
    lowest, highest, _, _ = cv2.minMaxLoc(confidence)  # a fifth of numpy's time, as is cv2.mean
    if logits is None:
        if lowest == highest < _CERTAIN:
            share = lowest / _CERTAIN
            return f"the network gave the same confidence, {share:.2f}, for every part of the frame"
    elif highest - lowest <= 1:  # else logits differ by more: constant ones leave it within a level
        planes = logits.reshape(len(logits), -1)
        if float((planes.max(1) - planes.min(1)).max()) < CONSTANT_RANGE:
            return "the network gave the same logits for every part of the frame"
    mean, chance = cv2.mean(confidence)[0] / _CERTAIN, 1 / classes
    if mean <= chance + ABOVE_CHANCE:
        return f"the network is as unsure as chance: mean confidence {mean:.2f} of {classes} classes"
    return None
