"""How sure the network is of the class it found, pixel by pixel."""

from __future__ import annotations

from functools import reduce
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.letterbox import Letterbox

CELL_PX: Final = 8


def confidence_of(logits: NDArray[np.float32], box: Letterbox) -> NDArray[np.uint8]:
    """Probability of the winning class over the whole frame, in cells of 8 pixels of the network's input.

    It is what a graph for GPUs gives (the largest softmax of the resized logits), at the centre of each
    cell: for every pixel it would take longer than all the rest of `postprocess`. `confidence_at` fills in
    between the centres; what it finds differs from the pixel's own by 1.6 of 255 in the mean, and by more
    than 33 on 1 % of the pixels, along the borders between classes (rt_s-int8, 31 frames of BDD100K).

    Args:
        logits: (labels, h, w) float32 over the whole input, at any stride.

    Returns:
        (H, W) uint8, the frame's place in the input divided by 8 and rounded up; 255 is certain.
    """
    width, height = (-(-side // CELL_PX) for side in box.content_wh)
    cell_w, cell_h = box.content_wh[0] / width, box.content_wh[1] / height
    stride_x, stride_y = box.input_wh[0] / logits.shape[2], box.input_wh[1] / logits.shape[1]
    # From cells to logits, centre to centre. The padding above a frame is rarely whole cells.
    place = np.array(
        [
            [cell_w / stride_x, 0.0, (box.left_px + cell_w / 2) / stride_x - 0.5],
            [0.0, cell_h / stride_y, (box.top_px + cell_h / 2) / stride_y - 0.5],
        ]
    )
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    planes = [
        np.asarray(cv2.warpAffine(plane, place, (width, height), None, how, cv2.BORDER_REPLICATE))
        for plane in logits
    ]
    largest = reduce(np.maximum, planes)
    total = reduce(np.add, [np.exp(plane - largest) for plane in planes])
    return np.asarray(np.rint(255 / total), np.uint8)


def confidence_at(confidence: NDArray[np.uint8], to_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) confidence at another size, such as the class map's: both cover the whole frame."""
    if (confidence.shape[1], confidence.shape[0]) == to_wh:
        return confidence
    return np.asarray(cv2.resize(confidence, to_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
