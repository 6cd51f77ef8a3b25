"""The ego lane's borders in a class map: where the direct area begins and ends, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.labels import ALTERNATIVE, DIRECT
from perception.scene.row_view import RowView
from perception.scene.runs import Runs, longest_of_rows, runs_of

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEFT, RIGHT = 1.0, -1.0
CORNER_PX: Final = 12
"""Of the class map: one and a half of the cells in which our networks give logits."""


@dataclass(frozen=True, eq=False)
class Borders:
    """Points on the borders of one area, as directions, but at the frame's side and at ignored pixels."""

    t: Floats
    """(n,) as of `RowView`."""
    left: Floats
    """(n,) as of `RowView`."""
    side: Floats
    """(n,) 1 for the left border, -1 for the right one."""

    def of_side(self, side: float) -> tuple[Floats, Floats]:
        """t and left of one border."""
        chosen = self.side == side
        return self.t[chosen], self.left[chosen]


def lanes_of(sampled: NDArray[np.uint8]) -> tuple[Runs, Runs]:
    """The longest run of the direct area in every row that has one, and all runs of the alternative area.

    Args:
        sampled: (n, w) rows of a class map.
    """
    direct, alternative = runs_of(sampled, [DIRECT, ALTERNATIVE])
    return longest_of_rows(direct), alternative


def without_corners(runs: Runs, view: RowView, rows_px: int) -> Runs:
    """The runs but for the first and last rows of the area, whose corners a network rounds off.

    Args:
        runs: in rows of `view`, at most one a row.
        view: the rows.
        rows_px: height of the class map; at its lower side there are no corners.
    """
    if not len(runs.row):
        return runs
    v = view.rows[runs.row]
    last = v[-1] if v[-1] >= rows_px - CORNER_PX else v[-1] - CORNER_PX
    return runs.picked((v >= v[0] + CORNER_PX) & (v <= last))


def borders_of(runs: Runs, view: RowView, ignored: Mask | None = None) -> Borders:
    """Borders of runs, at most one a row.

    Args:
        runs: in rows of `view`.
        view: the rows.
        ignored: (n, w) pixels in which no road can be seen.
    """
    width = view.t.shape[1] - 1
    is_left, is_right = runs.start > 0, runs.end < width
    if ignored is not None:
        is_left &= ~ignored[runs.row, np.maximum(runs.start - 1, 0)]
        is_right &= ~ignored[runs.row, np.minimum(runs.end, width - 1)]
    rows = np.concatenate([runs.row[is_left], runs.row[is_right]])
    columns = np.concatenate([runs.start[is_left], runs.end[is_right]])
    side = np.repeat([LEFT, RIGHT], [np.count_nonzero(is_left), np.count_nonzero(is_right)])
    t, left = view.t[rows, columns], view.left[rows, columns]
    is_known = np.isfinite(t) & np.isfinite(left)
    return Borders(t[is_known], left[is_known], side[is_known])


def beside(direct: Runs, alternative: Runs, rows: int) -> tuple[Runs, Runs]:
    """The alternative area's runs next to the direct area's, to its left and to its right: at most one a row.

    Args:
        direct, alternative: from `lanes_of`.
        rows: how many there are.
    """
    start, end = np.full((2, rows), -1, np.int64)
    start[direct.row], end[direct.row] = direct.start, direct.end
    start_beside = start[alternative.row]
    has_direct = start_beside >= 0
    left = alternative.picked(has_direct & (alternative.end <= start_beside))
    right = alternative.picked(has_direct & (alternative.start >= end[alternative.row]))
    is_nearest = np.diff(left.row, append=-1) != 0  # the last of a row on this side, the first on the other
    return left.picked(is_nearest), right.picked(np.diff(right.row, prepend=-1) != 0)
