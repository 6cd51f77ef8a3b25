"""Accuracy of a network through the node's own path: resize, engine, class map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame, Prediction
from perception.inference.confidence import confidence_at
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, DRIVABLE, IGNORE, LABELS, LABELS_OF_TWO
from perception.metrics.boundary_iou import BoundaryCounts, boundary_counts, boundary_iou_of
from perception.metrics.calibration import CalibrationCounts, calibration_counts, calibration_error
from perception.metrics.confusion_matrix import (
    DRIVABLE_OR_NOT,
    ConfusionMatrix,
    Counts,
    mean_iou_of,
    mean_of,
    merged,
)

Condition = Literal["day", "night"]
CONDITIONS: Final[tuple[Condition, ...]] = ("day", "night")

# The mean luma of BDD100K's frames has two modes, around 20 and around 100, with a minimum between 60 and 65:
# of 3,627 frames 31 % are darker than 60, and only 3 % lie within 5 of it.
NIGHT_BELOW_LUMA: Final = 60.0

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2000
_RESAMPLING_SEED: Final = 0  # the same frames give the same interval

_UNKNOWN: Final = 254
_ROW_OF_TWO: Final = np.full(256, _UNKNOWN, np.uint8)
"""Class id to row when two classes are counted, those of `LABELS_OF_TWO`."""
_ROW_OF_TWO[[DIRECT, ALTERNATIVE, DRIVABLE, BACKGROUND, IGNORE]] = (0, 0, 0, 1, IGNORE)


class Interval(NamedTuple):
    """A confidence interval of a share."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class CountedFrame:
    """The counts of one frame."""

    recording: str
    condition: Condition
    counts: Counts
    """(classes, classes) pixels by true and predicted class, in the order of the labels: three or two."""
    boundary: BoundaryCounts | None = None
    """(classes, 2) pixels of the bands along the outlines; None if not counted in these classes."""
    calibration: CalibrationCounts | None = None
    """(3, BINS) pixels by confidence; None if it is unknown, or was that of other classes."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The frames of one measurement; every figure is computed from their sum."""

    frames: tuple[CountedFrame, ...]

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError("no frames to measure accuracy on")
        if len({frame.counts.shape for frame in self.frames}) > 1:
            raise ValueError("frames counted in three classes and in two cannot be summed")

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of the counts' rows and columns: all three, or drivable and background."""
        return LABELS_OF_TWO if len(self.frames[0].counts) == len(LABELS_OF_TWO) else LABELS

    @cached_property
    def total(self) -> ConfusionMatrix:
        """One confusion matrix over all frames."""
        return ConfusionMatrix.of(self._by_recording.sum(0))

    @cached_property
    def recordings(self) -> tuple[str, ...]:
        """Names of the recordings, sorted."""
        return tuple(sorted({frame.recording for frame in self.frames}))

    def boundary_iou(self) -> NDArray[np.float64]:
        """(classes,) boundary IoU; NaN for a class that never occurred, or if it was not counted."""
        counts = _sum([frame.boundary for frame in self.frames])
        return np.full(len(self.labels), np.nan) if counts is None else boundary_iou_of(counts)

    def mean_boundary_iou(self) -> float:
        """Mean of `boundary_iou()` over the classes that occurred; NaN if none was counted."""
        return float(mean_of(self.boundary_iou()))

    def calibration_error(self) -> float:
        """Expected calibration error, a share; NaN if the confidence of a frame is missing."""
        counts = _sum([frame.calibration for frame in self.frames])
        return float("nan") if counts is None else calibration_error(counts)

    def by_condition(self) -> dict[Condition, Accuracy]:
        """The frames of each condition that occurs, day first."""
        parts = {
            condition: tuple(frame for frame in self.frames if frame.condition == condition)
            for condition in CONDITIONS
        }
        return {condition: Accuracy(frames) for condition, frames in parts.items() if frames}

    def drivable_or_not(self) -> Accuracy:
        """The same frames in two classes: direct and alternative are both drivable.

        Frames counted in two classes are returned unchanged. Boundaries and calibration of two classes
        cannot be computed from the counts of three.
        """
        if self.labels == LABELS_OF_TWO:
            return self
        return Accuracy(
            tuple(
                replace(frame, counts=merged(frame.counts, DRIVABLE_OR_NOT), boundary=None, calibration=None)
                for frame in self.frames
            )
        )

    def mean_iou_interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Confidence interval of the mean IoU for other recordings of the same kind of road.

        Percentile bootstrap over recordings, not over frames: frames of one recording are not independent,
        and would make the interval too narrow. (Efron and Tibshirani, "An Introduction to the Bootstrap",
        1993, chapters 8 and 13.) With fewer than about 20 recordings it is still too narrow, and with a
        single one it has no width.
        """
        return _interval(self._resampled_mean_iou(), confidence)

    def lead_interval(self, other: Accuracy, confidence: float = CONFIDENCE) -> Interval:
        """Confidence interval of this mean IoU minus the other's, with the same resamples for both.

        Narrower than the two single intervals suggest, because a hard recording is hard for both.

        Raises:
            ValueError: if the other one was measured on other recordings, or in other classes.
        """
        if self.labels != other.labels:
            raise ValueError("networks can be compared only in the same classes: see drivable_or_not")
        if self.recordings != other.recordings:
            raise ValueError("networks can be compared only on the same recordings")
        return _interval(self._resampled_mean_iou() - other._resampled_mean_iou(), confidence)

    @cached_property
    def _by_recording(self) -> Counts:
        """(recordings, classes, classes) sums, in the order of `recordings`."""
        position = {recording: index for index, recording in enumerate(self.recordings)}
        sums = np.zeros((len(position), *self.frames[0].counts.shape), np.int64)
        for frame in self.frames:
            sums[position[frame.recording]] += frame.counts
        return sums

    def _resampled_mean_iou(self) -> NDArray[np.float64]:
        sums = self._by_recording
        recordings, classes = len(sums), sums.shape[1]
        random = np.random.default_rng(_RESAMPLING_SEED)
        # Number of times that each recording is drawn in `recordings` draws with replacement.
        times = random.multinomial(recordings, np.full(recordings, 1 / recordings), RESAMPLES)
        resampled = times @ sums.reshape(recordings, classes * classes)
        return mean_iou_of(resampled.reshape(RESAMPLES, classes, classes))


def _sum(counts: Sequence[Counts | None]) -> Counts | None:
    """Sum over all frames; None if one was not counted."""
    counted = [of_frame for of_frame in counts if of_frame is not None]
    return np.sum(counted, axis=0) if len(counted) == len(counts) else None


def _interval(values: NDArray[np.float64], confidence: float) -> Interval:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


class LabelledFrames(Protocol):
    """Labelled frames with their recordings, such as those of `train.data`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(H, W, 3) BGR image and (H, W) class map."""
        ...

    def recording(self, index: int) -> str: ...


def measure_accuracy(predict: Callable[[Frame], Prediction], labelled: LabelledFrames) -> Accuracy:
    """Count every frame at the size of its labels, in two classes if the network has only these."""
    counted = []
    for index in range(len(labelled)):
        image_bgr, truth = labelled[index]
        frame = Frame("accuracy", index, 0, 0, image_bgr, str(index))
        prediction = predict(frame)
        truth_wh = truth.shape[1], truth.shape[0]
        confidence = prediction.confidence
        counted.append(
            count_frame(
                labelled.recording(index),
                image_bgr,
                truth,
                prediction.class_map_at(truth_wh),
                prediction.labels,
                None if confidence is None else confidence_at(confidence, truth_wh),
            )
        )
    return Accuracy(tuple(counted))


def count_frame(
    recording: str,
    image_bgr: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    labels: tuple[str, ...] = LABELS,
    confidence: NDArray[np.uint8] | None = None,
) -> CountedFrame:
    """Count one frame's pixels by class, boundary and confidence, with its condition.

    Args:
        image_bgr: (H, W, 3) uint8 as recorded; padding would look like daylight.
        truth: (h, w) uint8 class ids; `IGNORE` pixels do not count.
        predicted: (h, w) uint8 class ids.
        labels: the network's classes; the truth is merged to them.
        confidence: (h, w) uint8 of the predicted class, if it is known; 255 is certain.

    Raises:
        ValueError: if the two maps differ in shape or a class id is out of range.
    """
    if labels == LABELS_OF_TWO:
        truth, predicted = row_of_two(truth), row_of_two(predicted)
    confusion = ConfusionMatrix(len(labels))
    confusion.add(truth, predicted)
    return CountedFrame(
        recording,
        condition_of(image_bgr),
        confusion.counts,
        boundary_counts(truth, predicted, len(labels)),
        None if confidence is None else calibration_counts(confidence, truth == predicted, truth != IGNORE),
    )


def row_of_two(class_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) rows of `LABELS_OF_TWO` in place of class ids, of two classes or three; `IGNORE` stays."""
    return _ROW_OF_TWO[class_map]


def condition_of(image_bgr: NDArray[np.uint8]) -> Condition:
    """Day or night by the frame's mean luma (BT.601); a dark tunnel counts as night."""
    luma = float(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY).mean())
    return "night" if luma < NIGHT_BELOW_LUMA else "day"
