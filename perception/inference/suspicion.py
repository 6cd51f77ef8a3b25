"""Plausibility of a network's output.

A provider that computes nothing, or the same for every frame, raises no error, and its output looks like one.
A working network is certain about most of a picture, whatever it shows: the mean probability of the predicted
class was at least 0.90 on frames of BDD100K and 0.93 on noise, black and grey (chance is a third), and its
logits spanned at least 1.9 over one picture (rt_s, rt_m and rt_l, fp32 and int8).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

CONSTANT_RANGE: Final = 1e-3
"""Logits whose range over a picture is smaller count as constant: probabilities differ by < 0.001."""
ABOVE_CHANCE: Final = 0.05
"""A mean probability up to this far above 1 / classes counts as chance."""
_CERTAIN: Final = 255


def why_suspect(
    confidence: NDArray[np.uint8], classes: int, logits: NDArray[np.float32] | None = None
) -> str | None:
    """Why an output cannot be trusted; None if it is plausible.

    A class map of one class is plausible (a wall gives it), and so is a confidence of 255 everywhere.

    Args:
        confidence: (h, w) uint8, the probability of the predicted class, 255 is certain.
        classes: number of the network's classes.
        logits: (classes, h, w) float32, if the graph outputs them.
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
        return f"the network does no better than chance: mean confidence {mean:.2f} of {classes} classes"
    return None
