"""Contact sheets: frames with their truth beside the prediction, drawn like the node's overlay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from perception.labels import BACKGROUND, LABELS
from train.overlay import overlaid
from train.report.charts import CLASS_COLOURS, DPI, INK
from train.report.frames import PredictedFrame, Ranked

COLUMNS: Final = 2
PANEL_WIDTH_PX: Final = 480
_GAP_PX: Final = 6
_NAME_LETTERS: Final = 72


def sheet(ranked: Sequence[Ranked], title: str) -> Figure:
    """Two frames per row, truth left and prediction right, each with its name and mean IoU."""
    pictures = [_pair(frame) for _, frame in ranked]
    rows = max(1, -(-len(ranked) // COLUMNS))
    aspect = max((picture.shape[0] / picture.shape[1] for picture in pictures), default=0.3)
    width_in = COLUMNS * (2 * PANEL_WIDTH_PX + 40) / DPI
    row_in = (2 * PANEL_WIDTH_PX * aspect + 44) / DPI
    figure = Figure(figsize=(width_in, rows * row_in + 0.5), layout="constrained")
    for place, axes in enumerate(np.atleast_1d(figure.subplots(rows, COLUMNS)).flat):
        axes.set_axis_off()
        if place >= len(ranked):
            continue
        score = ranked[place][0]
        name = score.name if len(score.name) <= _NAME_LETTERS else "…" + score.name[1 - _NAME_LETTERS :]
        axes.imshow(pictures[place][..., ::-1])
        # A dollar sign in a file name must not start a formula.
        style = {"color": INK, "fontsize": 10, "parse_math": False}
        axes.set_title(f"{name}  ({score.condition})", loc="left", **style)
        axes.set_title(f"mean IoU {100 * score.mean_iou:.1f} %", loc="right", **style)
    figure.suptitle(f"{title}: truth left, prediction right", x=0.003, ha="left", color=INK, fontsize=15)
    areas = [Patch(color=CLASS_COLOURS[label], label=label) for label in LABELS[:BACKGROUND]]
    figure.legend(
        handles=areas,
        loc="upper right",
        ncols=len(areas),
        frameon=False,
        labelcolor=INK,
        fontsize=11,
        borderpad=0,
        borderaxespad=0.4,
    )
    return figure


def _pair(frame: PredictedFrame) -> NDArray[np.uint8]:
    """(H, W, 3) BGR: both overlays side by side."""
    left, right = _tinted(frame.image_bgr, frame.truth), _tinted(frame.image_bgr, frame.predicted)
    gap = np.full((left.shape[0], _GAP_PX, 3), 255, np.uint8)
    return np.hstack([left, gap, right])


def _tinted(image_bgr: NDArray[np.uint8], class_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame with its areas, `PANEL_WIDTH_PX` wide."""
    panel_wh = (PANEL_WIDTH_PX, max(1, round(image_bgr.shape[0] * PANEL_WIDTH_PX / image_bgr.shape[1])))
    # Drawn at twice the size, because the overlay halves the resolution of colours.
    drawn_bgr = overlaid(image_bgr, class_map, (2 * panel_wh[0], 2 * panel_wh[1]))
    return np.asarray(cv2.resize(drawn_bgr, panel_wh, interpolation=cv2.INTER_AREA), np.uint8)
