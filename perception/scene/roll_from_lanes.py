"""The camera's roll from the lane beside ours, where lanes are equally wide.

A camera that leans sees lanes on one side too wide and on the other too narrow: by 2 · roll · width / height
from one lane to the next.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.scene.metres import Measured
from perception.scene.road_plane import RoadPlane, pitched
from perception.scene.row_view import RowView
from perception.scene.runs import Runs

Floats = NDArray[np.float64]

FROM_M, TO_M = 6.0, 22.0
LEAST_ROWS: Final = 8
ONE_LANE: Final = (0.8, 1.25)
"""Of a lane's width beside ours to ours; what is narrower or wider is another kind, or several lanes."""
RATIO_SIGMA: Final = 0.04
"""How equal lanes are, and how well that is seen in one frame."""


def roll_beside(
    runs: Runs, side: float, width_m: float, rows: RowView, road: RoadPlane, pitch_rad: float
) -> Measured | None:
    """Roll beyond the mount's, in radians; None where the lane beside ours is not seen from side to side.

    Args:
        runs: of the alternative area on one side, from `lane_borders.beside`.
        side: 1 for the left one, -1 for the right one.
        width_m: of the ego lane.
        rows: of the class map that the runs are in.
        road: of this frame.
        pitch_rad: of this frame, beyond the mount's.
    """
    columns = rows.t.shape[1] - 1
    whole = runs.picked((runs.start > 0) & (runs.end < columns))
    forward, across = [], []
    for column in (whole.start, whole.end):
        forward.append(road.forward_of(pitched(rows.t[whole.row, column], pitch_rad)))
        across.append(rows.left[whole.row, column] * forward[-1])
    is_near = (np.minimum(*forward) > FROM_M) & (np.maximum(*forward) < TO_M)
    if np.count_nonzero(is_near) < LEAST_ROWS:
        return None
    ratio = float(np.median((across[0] - across[1])[is_near])) / width_m
    if not ONE_LANE[0] <= ratio <= ONE_LANE[1]:
        return None
    per_roll = 2 * width_m / road.height_m
    return Measured(-side * (ratio - 1) / per_roll, RATIO_SIGMA / per_roll)
