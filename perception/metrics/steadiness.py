"""How steady class maps are from frame to frame: along the optical flow, and pixel by pixel.

A constant map is perfectly steady, so that these figures only mean something beside mean IoU with the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.labels import LABELS, LABELS_OF_TWO
from perception.metrics.confusion_matrix import ConfusionMatrix
from perception.metrics.segmentation import row_of_two

WORST: Final = 0.99
"""Quantile of the frames, for the worst hundredth."""
_AGREE_PX2: Final = 0.5
"""Flow and counter flow agree within this square of pixels,"""
_OF_MOTION: Final = 0.01
"""and this share of their own squares."""


Pixels = TypeVar("Pixels", bound=NDArray[Any])


class OpticalFlow(NamedTuple):
    """Optical flow from a frame back to the one before."""

    before_xy: NDArray[np.float32]
    """(H, W, 2) place of each pixel in the frame before, in pixels."""
    is_visible: NDArray[np.bool_]
    """(H, W) whether it is seen there: false where flow and counter flow disagree, and outside the frame."""


class FlowMeter:
    """Dense optical flow at full size by DIS, with a check against the flow the other way.

    (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016; the check as in Sundaram et al.,
    "Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow", 2010.)
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def between(self, before: NDArray[np.uint8], now: NDArray[np.uint8]) -> OpticalFlow:
        """The flow between two (H, W) uint8 grey pictures."""
        before, now = np.ascontiguousarray(before), np.ascontiguousarray(now)
        back, forth = (
            np.asarray(self._dis.calc(one, other, None), np.float32)  # type: ignore[call-overload]
            for one, other in ((now, before), (before, now))
        )
        height, width = now.shape
        place = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
        before_xy = place + back
        returned = _moved(forth, before_xy, cv2.INTER_LINEAR)
        missed = np.square(back + returned).sum(-1)
        moved = np.square(back).sum(-1) + np.square(returned).sum(-1)
        is_inside = ((before_xy >= 0) & (before_xy <= (width - 1, height - 1))).all(-1)
        return OpticalFlow(before_xy, is_inside & (missed <= _OF_MOTION * moved + _AGREE_PX2))


def _moved(picture: Pixels, from_xy: NDArray[np.float32], interpolation: int) -> Pixels:
    """The picture's values at these places."""
    x, y = np.ascontiguousarray(from_xy[..., 0]), np.ascontiguousarray(from_xy[..., 1])
    return cast(Pixels, cv2.remap(picture, x, y, interpolation))


@dataclass
class Steadiness:
    """What changed from frame to frame, summed over a source."""

    labels: tuple[str, ...] = LABELS
    changes: list[float] = field(default_factory=list)
    """Of each frame but the first: share of the visible pixels whose class is not that along the flow."""
    flipped: float = 0.0
    """Sum over the frames: share of all pixels whose class is not that of the same pixel before."""
    duration_s: float = 0.0
    confusion: ConfusionMatrix = field(init=False)
    """Class before, along the flow, and class now, of all visible pixels."""

    def __post_init__(self) -> None:
        self.confusion = ConfusionMatrix(len(self.labels))

    def add(
        self, before: NDArray[np.uint8], now: NDArray[np.uint8], flow: OpticalFlow, elapsed_s: float
    ) -> None:
        """Count one frame.

        Args:
            before, now: (H, W) uint8 class ids of the flow's size.
            elapsed_s: between the two.
        """
        if self.labels == LABELS_OF_TWO:
            before, now = row_of_two(before), row_of_two(now)
        warped = _moved(before, flow.before_xy, cv2.INTER_NEAREST)
        warped, seen = warped[flow.is_visible], now[flow.is_visible]
        self.changes.append(float(np.mean(warped != seen)) if seen.size else 0.0)
        self.confusion.add(warped, seen)
        self.flipped += float(np.mean(before != now))
        self.duration_s += elapsed_s

    @property
    def change(self) -> float:
        """Mean over the frames of the share that changes along the flow; NaN of a single frame."""
        return float(np.mean(self.changes)) if self.changes else float("nan")

    @property
    def worst_change(self) -> float:
        """The share that changes in the worst hundredth of the frames, at least."""
        return float(np.quantile(self.changes, WORST)) if self.changes else float("nan")

    @property
    def flips_hz(self) -> float:
        """How often a pixel changes its class in a second, on average over the picture."""
        return self.flipped / self.duration_s if self.duration_s else float("nan")

    @property
    def consistency(self) -> float:
        """Temporal consistency: mean IoU of the maps with those before, warped along the flow.

        (Liu et al., "Efficient Semantic Video Segmentation with Per-frame Inference", 2020.)
        """
        return self.confusion.mean_iou()


def lag_frames(area: NDArray[np.bool_], appears: bool, found: Sequence[NDArray[np.bool_]]) -> int | None:
    """How many frames late a network shows that an area has become drivable, or is so no more.

    Args:
        area: (H, W) the pixels that change.
        appears: whether they become drivable.
        found: (H, W) drivable area found in the frame of the change and in those that follow.

    Returns:
        The first of `found` in which at least half of the area has changed; None if it is in none.
    """
    if not area.any():
        return None
    return next((number for number, it in enumerate(found) if np.mean(it[area] == appears) >= 0.5), None)
