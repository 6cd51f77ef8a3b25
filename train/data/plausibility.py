"""Checks whether labels mean what they are read as, by where in the picture each class lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, IGNORE, LABELS
from train.data.decode import DataError

FRAMES_CHECKED: Final = 16
"""Spread over a split. In 16 random frames of BDD100K the middle holds at least 1.9 times as much of the
ego lane as of its neighbours (2,000 draws), and the top nothing but background."""
SKY_SHARE: Final = 0.8
"""Share of the top quarter of the pictures from which a class counts as the sky's, that is background."""
SWAPPED_RATIO: Final = 2.0
"""Ratio of alternative to direct straight ahead from which the two count as swapped."""
UPSIDE_DOWN_RATIO: Final = 2.0
"""Ratio of drivable area in the upper to the lower half; in 16 frames of BDD100K at most 0.24."""

ODD_SHARE: Final = 0.1
"""Share of frames with a drivable sky from which another numbering is mixed in."""

NO_LABELLED_PIXEL: Final = "no pixel has a class, all are ignored"
"""The one reason that holds whatever the labels mean: there is nothing to learn from."""
OF_2018: Final = "0 background, 1 direct, 2 alternative (BDD100K's release of 2018)"


def spread(count: int, wanted: int = FRAMES_CHECKED) -> list[int]:
    """At most `wanted` of `count` indices, evenly spread."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, wanted))}) if count else []


def readable(class_map_at: Callable[[int], NDArray[np.uint8]], count: int) -> Iterator[NDArray[np.uint8]]:
    """The class maps of the sample; unreadable ones are skipped, reading a frame reports them."""
    for index in spread(count):
        try:
            yield class_map_at(index)
        except DataError:
            continue


def sky_class(class_maps: Iterable[NDArray[np.uint8]]) -> int | None:
    """The class that fills the top quarter of the pictures, where the sky is; None if no single one does.

    Args:
        class_maps: (H, W) each, of any sizes.
    """
    counts = _shares(class_map[: max(1, class_map.shape[0] // 4)] for class_map in class_maps)
    found = int(counts.argmax())
    return found if counts[found] >= SKY_SHARE else None


def why_implausible(class_maps: Iterable[NDArray[np.uint8]]) -> str | None:
    """Why the class maps cannot mean what they are read as, and what would fit; None if they are plausible.

    Args:
        class_maps: (H, W) each, of any sizes, some frames of one data set.
    """
    seen = list(class_maps)
    if not seen:
        return None
    counts = np.sum([np.bincount(class_map.ravel(), minlength=256) for class_map in seen], axis=0)
    if not counts[: len(LABELS)].any():
        return NO_LABELLED_PIXEL
    sky = sky_class(seen)
    if sky not in (None, BACKGROUND):
        return (
            f"{LABELS[sky]} fills the top quarter of the pictures, where the sky is; {_fitting(sky, counts)}"
        )
    odd = sum(sky_class([class_map]) in (DIRECT, ALTERNATIVE) for class_map in seen)
    if odd > max(1, ODD_SHARE * len(seen)):
        return (
            f"in {odd} of {len(seen)} frames checked, drivable area fills the top quarter, where the sky is; "
            f"numberings are mixed"
        )
    return _strangely_placed(seen) if len(seen) >= FRAMES_CHECKED else None


def _fitting(sky: int, counts: NDArray[np.int64]) -> str:
    """The likely meaning of the numbers if a drivable class fills the sky."""
    if sky != DIRECT:
        return "the classes are mixed up"
    if counts[BACKGROUND]:
        return f"{OF_2018} would fit"
    others = [value for value in (ALTERNATIVE, IGNORE) if counts[value]]
    return f"0 background, {others[0]} drivable would fit" if len(others) == 1 else "0 background would fit"


def _strangely_placed(seen: Sequence[NDArray[np.uint8]]) -> str | None:
    """What is implausible for that many frames; None if nothing is."""
    upper, lower = (
        _shares(half)[[DIRECT, ALTERNATIVE]].sum()
        for half in zip(*((each[: len(each) // 2], each[len(each) // 2 :]) for each in seen), strict=True)
    )
    if not upper + lower:
        return f"nothing is drivable in any of {len(seen)} frames checked"
    if upper > UPSIDE_DOWN_RATIO * lower:
        return "most drivable area lies in the upper half; the labels are upside down, or shifted"
    ahead = _shares(_straight_ahead(class_map) for class_map in seen)
    if ahead[ALTERNATIVE] > SWAPPED_RATIO * ahead[DIRECT] > 0:
        times = ahead[ALTERNATIVE] / ahead[DIRECT]
        return f"straight ahead is {times:.0f} times as much alternative as direct; the two are swapped"
    return None


def _straight_ahead(class_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle fifth of the lower half, where the ego lane is."""
    height, width = class_map.shape
    return class_map[height // 2 :, width * 2 // 5 : max(width * 3 // 5, width * 2 // 5 + 1)]


def _shares(parts: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """(classes,) shares of the pixels with a class; all zero without any."""
    counts = sum(
        (np.bincount(part.ravel(), minlength=256)[: len(LABELS)] for part in parts),
        np.zeros(len(LABELS), np.int64),
    )
    return np.asarray(counts / max(1, counts.sum()), np.float64)
