"""Per-pixel confidence of the network, and its classes in the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.letterbox import Letterbox
from perception.labels import IDS

CELL_PX: Final = 8
_LEAST_SHARE: Final = 0.01
"""Of a class in a cell of a class map, where it stands for a probability."""


def confidence_of(logits: NDArray[np.float32], box: Letterbox) -> NDArray[np.uint8]:
    """Probability of the predicted class over the whole frame, in cells of 8 pixels of the network's input.

    Like a graph for GPUs (largest softmax of the resized logits), but at the centre of each cell: every
    pixel would take longer than the rest of `postprocess`. `confidence_at` interpolates between the
    centres; its values differ from the per-pixel ones by 1.6 of 255 on average, and by more than 33 on 1 %
    of the pixels, along the borders between classes (rt_s-int8, 31 frames of BDD100K).

    Args:
        logits: (labels, h, w) float32 over the whole input, at any stride.

    Returns:
        (H, W) uint8, the size of the frame in the input divided by 8, rounded up; 255 is certain.
    """
    return _confidence(*_at_cells(logits, box))


def in_cells(
    logits: NDArray[np.float32], box: Letterbox, labels: tuple[str, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(H, W) uint8 class ids and confidence in the cells of `confidence_of`: a coarse class map."""
    largest, planes = _at_cells(logits, box)
    ids = np.full(largest.shape, IDS[labels[-1]], np.uint8)
    for label, plane in zip(labels[-2::-1], planes[-2::-1], strict=True):
        ids[(plane == largest) & (planes[-1] < largest)] = IDS[label]
    return ids, _confidence(largest, planes)


def logits_of_class_map(
    class_map: NDArray[np.uint8], confidence: NDArray[np.uint8], labels: tuple[str, ...]
) -> NDArray[np.float32]:
    """(labels, h, w) float32 logits of a graph that gives no logits, in cells of 8 pixels.

    The logarithm of the mean probability of each class in the cell; what a pixel leaves of its confidence is
    shared by the other classes. Along a straight outline the classes are equal where the class map's change.

    Args:
        class_map: (H, W) uint8 class ids.
        confidence: (H, W) uint8 of the class, 255 is certain.
    """
    cells_wh = -(-class_map.shape[1] // CELL_PX), -(-class_map.shape[0] // CELL_PX)

    def mean(plane: cv2.typing.MatLike) -> NDArray[np.float32]:
        small = np.asarray(cv2.resize(plane, cells_wh, interpolation=cv2.INTER_AREA), np.float32)
        return np.divide(small, 255, dtype=np.float32)

    uncertain = 1 - mean(confidence)
    planes = []
    for label in labels:
        mask = cv2.compare(class_map, np.array([IDS[label]], np.float64), cv2.CMP_EQ)
        own = mean(cv2.bitwise_and(confidence, mask))
        of_others = uncertain - (mean(mask) - own)
        planes.append(own + of_others / (len(labels) - 1))
    return np.asarray(np.log(np.maximum(np.stack(planes), _LEAST_SHARE)), np.float32)


def _confidence(largest: NDArray[np.float32], planes: Sequence[NDArray[np.float32]]) -> NDArray[np.uint8]:
    total = reduce(np.add, [np.exp(plane - largest) for plane in planes])
    return np.asarray(np.rint(255 / total), np.uint8)


def _at_cells(
    logits: NDArray[np.float32], box: Letterbox
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """The largest logit at the centre of each cell of the frame, and that of each class."""
    width, height = (-(-side // CELL_PX) for side in box.content_wh)
    cell_w, cell_h = box.content_wh[0] / width, box.content_wh[1] / height
    stride_x, stride_y = box.input_wh[0] / logits.shape[2], box.input_wh[1] / logits.shape[1]
    # Maps cells to logits, centre to centre. The padding above a frame is rarely a multiple of cells.
    place = np.array(
        [
            [cell_w / stride_x, 0.0, (box.left_px + cell_w / 2) / stride_x - 0.5],
            [0.0, cell_h / stride_y, (box.top_px + cell_h / 2) / stride_y - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    planes = [
        np.asarray(
            cv2.warpAffine(plane, place, (width, height), None, flags, cv2.BORDER_REPLICATE), np.float32
        )
        for plane in logits
    ]
    return reduce(np.maximum, planes), planes


def confidence_at(confidence: NDArray[np.uint8], to_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) confidence resized to another size over the whole frame, such as the class map's."""
    if (confidence.shape[1], confidence.shape[0]) == to_wh:
        return confidence
    return np.asarray(cv2.resize(confidence, to_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
