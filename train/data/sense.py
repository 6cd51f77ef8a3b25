"""Whether labels mean what they are read as, judged by where in the picture each class lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, LABELS
from train.data.decode import DataError

FRAMES_LOOKED_AT: Final = 16
"""Spread over a split. With so many of BDD100K's, drawn at random, the middle holds at least 1.9 times as
much of the lane of the vehicle as of its neighbours (2,000 draws), and the top nothing but background."""
SKY_SHARE: Final = 0.8
"""Of the top quarter of the pictures: a class that fills so much of it is what the background looks like."""
SWAPPED_RATIO: Final = 2.0
"""So many times as much alternative as direct straight ahead: the two are swapped."""

OF_2018: Final = "0 background, 1 direct, 2 alternative (BDD100K's release of 2018)"


def spread(count: int, wanted: int = FRAMES_LOOKED_AT) -> list[int]:
    """At most `wanted` of `count` indices, evenly spread."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, wanted))}) if count else []


def readable(class_map_at: Callable[[int], NDArray[np.uint8]], count: int) -> Iterator[NDArray[np.uint8]]:
    """The class maps to judge by; one that cannot be read is left to those who need it."""
    for index in spread(count):
        try:
            yield class_map_at(index)
        except DataError:
            continue


def sky_class(class_maps: Iterable[NDArray[np.uint8]]) -> int | None:
    """The class that fills the top quarter of the pictures, where the sky is; None where no single one does.

    Args:
        class_maps: (H, W) each, of any sizes.
    """
    counts = _shares(class_map[: max(1, class_map.shape[0] // 4)] for class_map in class_maps)
    found = int(counts.argmax())
    return found if counts[found] >= SKY_SHARE else None


def nonsense(class_maps: Iterable[NDArray[np.uint8]]) -> str | None:
    """Why the class maps cannot mean what they say, and what would fit; None where nothing is wrong.

    Args:
        class_maps: (H, W) each, of any sizes, some frames of one data set.
    """
    seen = list(class_maps)
    sky = sky_class(seen)
    if sky not in (None, BACKGROUND):
        fits = f"{OF_2018} would fit" if sky == DIRECT else "the classes are mixed up"
        return f"{LABELS[sky]} fills the top quarter of the pictures, where the sky is; {fits}"
    ahead = _shares(_straight_ahead(class_map) for class_map in seen)
    if len(seen) >= FRAMES_LOOKED_AT and ahead[ALTERNATIVE] > SWAPPED_RATIO * ahead[DIRECT] > 0:
        times = ahead[ALTERNATIVE] / ahead[DIRECT]
        return f"straight ahead is {times:.0f} times as much alternative as direct; the two are swapped"
    return None


def _straight_ahead(class_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle fifth of the lower half: where the lane of the vehicle is."""
    height, width = class_map.shape
    return class_map[height // 2 :, width * 2 // 5 : max(width * 3 // 5, width * 2 // 5 + 1)]


def _shares(parts: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """(classes,) shares of the pixels that have a class; all zero without any."""
    counts = sum(
        (np.bincount(part.ravel(), minlength=256)[: len(LABELS)] for part in parts),
        np.zeros(len(LABELS), np.int64),
    )
    return np.asarray(counts / max(1, counts.sum()), np.float64)
