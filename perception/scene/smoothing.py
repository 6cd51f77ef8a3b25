"""Smoothing of a network's logits in time: what flickers is evened out, and what is lost is lost at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Margins = NDArray[np.float32]
"""(1 or 2, h, w) differences of logits: drivable over background, and direct over alternative where a network
has these two. They decide the class alike wherever they are interpolated."""

BACKGROUND_CELL: Final = 0
"""Of `classes_of`; the network's first class is 1, its second 2."""
JUST: Final = 1e-3
"""Margin of a class that was given to a cell by its surroundings."""
_AROUND: Final = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Pace:
    """How fast margins follow the network, in seconds."""

    rise_s: float
    """Time constant of a rising margin of drivable area, and of direct over alternative."""
    fall_s: float
    """Time constant of a falling margin of drivable area."""
    longest_s: float
    """A class that the network has found for so long without a break is shown, however small its margin."""
    sure: float
    """A margin of background above this is shown at once; below it, by the second frame."""


def margins_of(logits: NDArray[np.float32]) -> Margins:
    """Margins of (labels, h, w) float32 logits, in the order of `LABELS` or `LABELS_OF_TWO`."""
    if len(logits) == 2:
        return logits[:1] - logits[1:]
    direct, alternative, background = logits
    return np.stack([np.maximum(direct, alternative) - background, direct - alternative])


def logits_of(margins: Margins) -> NDArray[np.float32]:
    """(labels, h, w) float32 logits with these margins; that of background is 0."""
    over = margins[0]
    background = np.zeros_like(over)
    if len(margins) == 1:
        return np.stack([over, background])
    lead = margins[1]
    return np.stack([over + np.minimum(lead, 0), over - np.maximum(lead, 0), background])


def classes_of(margins: Margins) -> NDArray[np.uint8]:
    """(h, w) uint8: 0 where background wins, else 1, or 2 for the second of two drivable classes."""
    is_drivable: NDArray[np.uint8] = (margins[0] > 0).view(np.uint8)
    if len(margins) == 1:
        return is_drivable
    return np.asarray(is_drivable + (is_drivable & (margins[1] < 0)), np.uint8)


class Smoother:
    """Margins of one source, smoothed over its frames.

    Exponential smoothing by the time between frames, with two limits that hold for every cell: background is
    shown with the first frame in which the network is sure of it, and by the second frame in any case; any
    other class once it has been found for `Pace.longest_s`, or would have been before another frame comes.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._shown: Margins | None = None
        self._found = np.empty(0, np.uint8)
        self._age_s = np.empty(0, np.float32)

    def reset(self) -> None:
        """Forget everything: the next frame is the first."""
        self._shown = None

    def __call__(self, margins: Margins, elapsed_s: float) -> Margins:
        """The margins to be shown; not to be changed.

        Args:
            margins: of this frame; another size than that of the last one starts over.
            elapsed_s: since the last frame, 0 or more.
        """
        found = classes_of(margins)
        if self._shown is None or self._shown.shape != margins.shape:
            self._shown, self._found = margins.copy(), found
            self._age_s = np.zeros(found.shape, np.float32)
            return self._shown
        pace, shown = self._pace, self._shown
        stays = found == self._found
        self._age_s = (self._age_s + np.float32(elapsed_s)) * stays
        self._found = found
        rise, fall = (np.float32(-math.expm1(-elapsed_s / it)) for it in (pace.rise_s, pace.fall_s))
        change = margins - shown
        change[0] *= np.where(change[0] < 0, fall, rise)
        change[1:] *= rise
        shown += change
        is_lost = (found == BACKGROUND_CELL) & (stays | (margins[0] < -pace.sure))
        is_due = is_lost | (self._age_s > pace.longest_s - elapsed_s)
        np.copyto(shown, margins, where=is_due & (found != classes_of(shown)))
        return shown


def without_specks(margins: Margins, least_cells: float, unsure: float) -> Margins:
    """Margins without small islands and pin-holes; the same array where there are none.

    Where fewer than `least_cells` of drivable area are connected they become background. Such a hole in it
    becomes drivable, unless background has a margin of `unsure` or more in it: a small obstacle that the
    network is sure of stays. Of two drivable classes, so few cells of one amid the other take the other's. A
    cell is connected to all eight around it. Holes and spots at the border of the picture may go on behind
    it, and are kept.
    """
    over = margins[0]
    is_drivable = over > 0
    islands = _Small.of(is_drivable, least_cells)
    holes = _Small.of(~is_drivable, least_cells, inside=True)
    if holes is not None:
        holes.leave(over <= -unsure)
    cleaned = margins
    for specks, margin in ((islands, -JUST), (holes, JUST)):
        if specks is not None and specks.is_small.any():
            cleaned = margins.copy() if cleaned is margins else cleaned
            cleaned[0][specks.cells] = margin
    if len(margins) == 2:
        drivable = cleaned[0] > 0
        beside_background = cv2.dilate((~drivable).view(np.uint8), _AROUND) > 0
        for is_first in (True, False):
            spots = _Small.of(drivable & ((cleaned[1] >= 0) == is_first), least_cells, inside=True)
            if spots is not None:
                spots.leave(beside_background)
                cleaned = cleaned.copy() if cleaned is margins else cleaned
                cleaned[1][spots.cells] = -JUST if is_first else JUST
    return cleaned


@dataclass(frozen=True)
class _Small:
    """Connected components of which some are small."""

    labels: NDArray[np.int32]
    """(h, w) component of every cell; 0 is none."""
    is_small: NDArray[np.bool_]
    """By component."""

    @classmethod
    def of(cls, cells: NDArray[np.bool_], least_cells: float, *, inside: bool = False) -> _Small | None:
        """Components with fewer cells, which do not touch the border if `inside`; None if there is none."""
        count, labels, stats, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
            cells.view(np.uint8), 8, cv2.CV_32S, cv2.CCL_BBDT
        )
        if count < 2:
            return None
        is_small = stats[:, cv2.CC_STAT_AREA] < least_cells
        is_small[0] = False
        if inside:
            height, width = cells.shape
            left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
            right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
            is_small &= (left > 0) & (top > 0) & (right < width) & (bottom < height)
        return cls(np.asarray(labels, np.int32), is_small) if is_small.any() else None

    def leave(self, where: NDArray[np.bool_]) -> None:
        """Take out components with a cell there."""
        self.is_small[self.labels[where]] = False

    @property
    def cells(self) -> NDArray[np.bool_]:
        """(h, w) of all small components."""
        return np.asarray(self.is_small[self.labels], np.bool_)
