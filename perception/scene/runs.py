"""Runs of pixels in the rows of a mask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Runs(NamedTuple):
    """Runs of true pixels, row by row and from left to right."""

    row: Indices
    start: Indices
    """First column."""
    end: Indices
    """Column behind the last."""

    @property
    def length(self) -> Indices:
        """In pixels."""
        return self.end - self.start

    def picked(self, which: Indices | NDArray[np.bool_]) -> Runs:
        """Some of them."""
        return Runs(self.row[which], self.start[which], self.end[which])


def runs_of(mask: NDArray[np.bool_]) -> Runs:
    """All runs of a mask.

    Args:
        mask: (h, w) bool.

    Example:
        >>> runs_of(np.array([[False, True, True], [True, False, True]]))
        Runs(row=array([0, 1, 1]), start=array([1, 0, 2]), end=array([3, 1, 3]))
    """
    height, width = mask.shape
    framed = np.zeros((height, width + 2), np.bool_)
    framed[:, 1:-1] = mask
    # a run begins and ends where a pixel differs from the one before: beginnings and ends take turns
    changes = np.flatnonzero(framed[:, 1:] != framed[:, :-1])
    row, start = np.divmod(changes[::2], width + 1)
    return Runs(row, start, changes[1::2] - row * (width + 1))


def longest_of_rows(runs: Runs) -> Runs:
    """The longest run of every row that has one; the first of equals."""
    if not len(runs.row):
        return runs
    first_of_row = np.flatnonzero(np.diff(runs.row, prepend=-1))
    count = len(runs.row)
    keys = runs.length * count + (count - 1 - np.arange(count))
    best = np.maximum.reduceat(keys, first_of_row)
    return runs.picked(count - 1 - best % count)
