"""Mean IoU of a network through the node's own path: its resize, its engine, its class map."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from perception.confusion import ConfusionMatrix
from perception.frame import Frame, Prediction
from perception.labels import LABELS


def measure_accuracy(
    perceive: Callable[[Frame], Prediction],
    labelled: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
) -> ConfusionMatrix:
    """One confusion matrix over all frames, counted at the size of the labels.

    Args:
        labelled: (H, W, 3) BGR images with their (H, W) class maps.
    """
    confusion = ConfusionMatrix(len(LABELS))
    for index, (image_bgr, truth) in enumerate(labelled):
        frame = Frame("accuracy", index, 0, 0, image_bgr, str(index))
        confusion.add(truth, perceive(frame).class_map_at((truth.shape[1], truth.shape[0])))
    return confusion
