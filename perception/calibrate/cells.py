"""The cells that a picture is divided into, and the corners in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.calibrate.boards import Corners

GRID_WH: Final = (12, 7)


def counts(seen: Sequence[Corners], frame_wh: tuple[int, int]) -> NDArray[np.int64]:
    """(rows, columns) corners in each cell of the picture."""
    corners = np.concatenate([np.zeros((0, 2)), *(each.image_uv for each in seen)])
    columns, rows = GRID_WH
    found, _, _ = np.histogram2d(
        corners[:, 1], corners[:, 0], (rows, columns), ((0, frame_wh[1]), (0, frame_wh[0]))
    )
    return np.asarray(found, np.int64)


def covered_share(seen: Sequence[Corners], frame_wh: tuple[int, int]) -> float:
    """Share of the cells in which corners were seen."""
    return float((counts(seen, frame_wh) > 0).mean())
