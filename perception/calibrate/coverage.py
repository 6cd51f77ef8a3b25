"""Where in the picture corners were seen, as text and as a picture: a lens is known only there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.calibrate.boards import Corners
from perception.calibrate.cells import GRID_WH, counts, covered_share
from perception.calibrate.fit import Fit, FittedView

ENOUGH: Final = 0.6
"""Share of the cells with corners; below, the borders of the picture are uncertain."""
TOO_LITTLE: Final = 0.25
"""Below this share nothing holds."""
_SHOWN_WIDTH: Final = 1280
_MAGNIFIED: Final = 20.0
_BAD: Final = 1.5
_SIGNS: Final = ".:+#"
"""Of no corner, of up to 4, of up to 19, and of more in a cell."""
_STEPS: Final = (1, 5, 20)
_EMPTY_BGR, _CELL_BGR, _LINE_BGR = (38, 34, 30), (96, 78, 52), (70, 64, 58)
_GOOD_BGR, _BAD_BGR, _TEXT_BGR = (120, 220, 120), (60, 90, 255), (235, 235, 235)


def corners_of(views: Sequence[FittedView]) -> list[Corners]:
    """Of every view."""
    return [view.view.corners for view in views]


def as_text(views: Sequence[FittedView], frame_wh: tuple[int, int]) -> list[str]:
    """A line for every row of cells."""
    levels = np.digitize(counts(corners_of(views), frame_wh), _STEPS)
    return ["".join(_SIGNS[level] for level in row) for row in levels]


def as_picture(fitted: Fit) -> NDArray[np.uint8]:
    """(H, W, 3) BGR: cells with corners, the corners by how well their view fits, and what they miss."""
    width, height = fitted.intrinsics.frame_wh
    scale = _SHOWN_WIDTH / width
    size_wh = (_SHOWN_WIDTH, max(1, round(height * scale)))
    picture = np.full((size_wh[1], size_wh[0], 3), _EMPTY_BGR, np.uint8)
    columns, rows = GRID_WH
    for (row, column), count in np.ndenumerate(counts(corners_of(fitted.views), (width, height))):
        left, right = round(column * size_wh[0] / columns), round((column + 1) * size_wh[0] / columns)
        top, bottom = round(row * size_wh[1] / rows), round((row + 1) * size_wh[1] / rows)
        if count:
            cv2.rectangle(picture, (left, top), (right, bottom), _CELL_BGR, -1)
        cv2.rectangle(picture, (left, top), (right, bottom), _LINE_BGR, 1)
    median_px = float(np.median([view.rms_px for view in fitted.views]))
    for view in fitted.views:
        colour = _GOOD_BGR if view.rms_px <= _BAD * median_px else _BAD_BGR
        for (x, y), (across, down) in zip(view.view.corners.image_uv, view.residuals_px, strict=True):
            at = round(float(x + 0.5) * scale), round(float(y + 0.5) * scale)
            to = round(at[0] + _MAGNIFIED * across * scale), round(at[1] + _MAGNIFIED * down * scale)
            cv2.line(picture, at, to, colour, 1, cv2.LINE_AA)
            cv2.circle(picture, at, 2, colour, -1, cv2.LINE_AA)
    share = covered_share(corners_of(fitted.views), (width, height))
    text = (
        f"{len(fitted.views)} views, rms {fitted.rms_px:.2f} px, {share:.0%} covered; lines: what corners "
        f"miss, {_MAGNIFIED:g} times; red: views above {_BAD:g} times the median"
    )
    cv2.rectangle(picture, (0, 0), (size_wh[0], 30), (20, 18, 16), -1)
    cv2.putText(picture, text, (10, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _TEXT_BGR, 1, cv2.LINE_AA)
    return picture
