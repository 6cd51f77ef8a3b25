"""Certainty of a whole frame, and its out-of-distribution score relative to the validation frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.frame import Certainty, Frame, Prediction
from perception.imaging.letterbox import nearest
from perception.inference.confidence import CELL_PX
from perception.labels import BACKGROUND, IDS

LEAST_SURE: Final = 0.05
"""Quantile of `Certainty.p5`."""
QUANTILES: Final = 51
"""Every 2 %: `val` has 151 frames, and a finer table would only repeat single ones."""
_DIGITS: Final = 5

_Levels = NDArray[np.int64]
"""(256,) number of cells at each level of confidence."""


def certainty_of(
    confidence: NDArray[np.uint8],
    class_map: NDArray[np.uint8],
    labels: tuple[str, ...],
    doubt_quantiles: Sequence[float] | None = None,
) -> Certainty:
    """Certainty of the network on one frame.

    Args:
        confidence: (h, w) uint8 of the predicted class, 255 is certain, over the whole frame at any size.
        class_map: (H, W) uint8 class ids over the whole frame.
        labels: the network's classes; `mean` and `p5` are those of the first one's area.
        doubt_quantiles: the model contract's; without them there is no ood_score.
    """
    levels, cells = _cells(confidence, class_map)
    area = _levels(levels, cells == IDS[labels[0]])
    count = int(area.sum())
    return Certainty(
        mean=_mean(area) if count else None,
        p5=float(np.searchsorted(area.cumsum(), LEAST_SURE * count, "right")) / 255 if count else None,
        ood_score=None
        if doubt_quantiles is None
        else share_below(_uncertainty(levels, cells), doubt_quantiles),
    )


def uncertainty_of(confidence: NDArray[np.uint8], class_map: NDArray[np.uint8]) -> float:
    """1 - mean confidence in all drivable area, 0 to 1; 1 if the network found none.

    It separates input unlike the training data from `val`: AUROC 0.91 for rt_s-int8 and 0.93 for rt_m-int8,
    over noise, black and plain pictures, frames upside down, sideways, blurred, inverted, cut up or half
    covered, and photographs of other things. The mean over the whole frame gives only 0.38 and 0.31: a
    network is very certain that noise is background. (The baseline of Hendrycks and Gimpel, "A Baseline for
    Detecting Misclassified and Out-of-Distribution Examples in Neural Networks", 2017, on that area.)
    """
    return _uncertainty(*_cells(confidence, class_map))


class UncertaintyWatch:
    """A predictor that keeps the uncertainty of every frame."""

    def __init__(self, predict: Callable[[Frame], Prediction]) -> None:
        self._predict = predict
        self.uncertainties: list[float] = []

    def __call__(self, frame: Frame) -> Prediction:
        prediction = self._predict(frame)
        if prediction.confidence is not None:
            self.uncertainties.append(uncertainty_of(prediction.confidence, prediction.class_map))
        return prediction


def quantiles_of(uncertainties: Sequence[float]) -> tuple[float, ...]:
    """(QUANTILES,) quantiles at even steps, for the model contract."""
    found = np.quantile(np.asarray(uncertainties), np.linspace(0, 1, QUANTILES))
    return tuple(round(float(value), _DIGITS) for value in found)


def share_below(uncertainty: float, quantiles: Sequence[float]) -> float:
    """Share of the frames behind the quantiles with a smaller uncertainty, 0 to 1."""
    # Rounded like the table, so that equal uncertainties stay equal.
    uncertainty = round(uncertainty, _DIGITS)
    above = int(np.searchsorted(quantiles, uncertainty, "left"))
    if above in (0, len(quantiles)):
        return float(above > 0)
    below, next_one = quantiles[above - 1], quantiles[above]
    return float((above - 1 + (uncertainty - below) / (next_one - below)) / (len(quantiles) - 1))


def _cells(
    confidence: NDArray[np.uint8], class_map: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Confidence and class at the centre of each cell; graphs for GPUs give them for every pixel."""
    height, width = (-(-side // CELL_PX) for side in class_map.shape)
    levels, cells = (
        plane if plane.shape == (height, width) else nearest(plane, (width, height))
        for plane in (confidence, class_map)
    )
    return levels, cells


def _uncertainty(levels: NDArray[np.uint8], cells: NDArray[np.uint8]) -> float:
    drivable = _levels(levels, cells != BACKGROUND)
    return 1 - _mean(drivable) if drivable.any() else 1.0


def _levels(levels: NDArray[np.uint8], which: NDArray[np.bool_]) -> _Levels:
    return np.bincount(levels[which], minlength=256)


def _mean(levels: _Levels) -> float:
    return float(levels @ np.arange(256) / (255 * levels.sum()))
