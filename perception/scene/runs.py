"""Runs of pixels of one class in the rows of a class map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Runs(NamedTuple):
    """Runs of pixels, row by row and from left to right."""

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


def runs_of(classes: NDArray[np.uint8], wanted: Sequence[int]) -> list[Runs]:
    """All runs of each of the wanted classes.

    Args:
        classes: (h, w) uint8.
        wanted: classes.

    Example:
        >>> runs_of(np.array([[0, 1, 1], [1, 0, 2]], np.uint8), [1])
        [Runs(row=array([0, 1]), start=array([1, 0]), end=array([3, 1]))]
    """
    width = classes.shape[1]
    flat = classes.ravel()
    is_first = np.empty(flat.size, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=is_first[1:])
    is_first[::width] = True
    first = np.flatnonzero(is_first)
    row, start = np.divmod(first, width)
    runs, found = Runs(row, start, np.append(first[1:], flat.size) - row * width), flat[first]
    return [runs.picked(found == one) for one in wanted]


def longest_of_rows(runs: Runs) -> Runs:
    """The longest run of every row that has one; the first of equals."""
    if not len(runs.row):
        return runs
    first_of_row = np.flatnonzero(np.diff(runs.row, prepend=-1))
    count = len(runs.row)
    keys = runs.length * count + (count - 1 - np.arange(count))
    best = np.maximum.reduceat(keys, first_of_row)
    return runs.picked(count - 1 - best % count)
