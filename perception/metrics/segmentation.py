"""Accuracy of a network through the node's own path: its resize, its engine, its class map."""

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
    merged,
)

Condition = Literal["day", "night"]
CONDITIONS: Final[tuple[Condition, ...]] = ("day", "night")

# BDD100K's frames make two hills by mean luma, around 20 and around 100, and the valley between them
# is lowest from 60 to 65: of 3,627 frames 31 % are darker than 60, and only 3 % lie within 5 of it.
NIGHT_BELOW_LUMA: Final = 60.0

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2000
_RESAMPLING_SEED: Final = 0  # the same frames give the same interval

_UNKNOWN: Final = 254
_ROW_OF_TWO: Final = np.full(256, _UNKNOWN, np.uint8)
"""Class id to its row where two classes are counted: drivable and background, as `LABELS_OF_TWO` has them."""
_ROW_OF_TWO[[DIRECT, ALTERNATIVE, DRIVABLE, BACKGROUND, IGNORE]] = (0, 0, 0, 1, IGNORE)


class Interval(NamedTuple):
    """Where a share lies, with the confidence that was asked for."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class CountedFrame:
    """What one frame adds to the measurement."""

    recording: str
    condition: Condition
    counts: Counts
    """(classes, classes) pixels by true and predicted class, in the order of the labels: three or two."""
    boundary: BoundaryCounts | None = None
    """(classes, 2) pixels of the bands along the outlines; None if they were not counted in these classes."""
    calibration: CalibrationCounts | None = None
    """(3, BINS) pixels by confidence; None if none was told, or only that of other classes."""


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The frames of one measurement; every figure follows from their sum."""

    frames: tuple[CountedFrame, ...]

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError("no frames: there is no accuracy to tell")
        if len({frame.counts.shape for frame in self.frames}) > 1:
            raise ValueError("frames counted in three classes and in two cannot be summed")

    @property
    def labels(self) -> tuple[str, ...]:
        """What the rows and columns of the counts are: all three classes, or drivable and background."""
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
        """(classes,) boundary IoU; NaN for a class that never occurred, and where none was counted."""
        counts = _sum([frame.boundary for frame in self.frames])
        return np.full(len(self.labels), np.nan) if counts is None else boundary_iou_of(counts)

    def mean_boundary_iou(self) -> float:
        """Mean of `boundary_iou()` over the classes that occurred; NaN where none was counted."""
        told = self.boundary_iou()
        told = told[np.isfinite(told)]
        return float(told.mean()) if told.size else float("nan")

    def calibration_error(self) -> float:
        """Expected calibration error, a share; NaN where a frame came without its confidence."""
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

        What was counted in two classes, since the network tells no more, is given back as it is. Of three,
        neither the outlines nor the confidence of two follow from their counts.
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
        """Where the mean IoU lies, were other recordings driven on the same kind of road.

        Percentile bootstrap over recordings, not over frames: frames of one recording are alike, and
        counting them as independent would make the interval too narrow. (Efron and Tibshirani, "An
        Introduction to the Bootstrap", 1993, chapters 8 and 13.) Below some 20 recordings it is too
        narrow all the same, and of one recording it has no width.
        """
        return _interval(self._resampled_mean_iou(), confidence)

    def lead_interval(self, other: Accuracy, confidence: float = CONFIDENCE) -> Interval:
        """Where this mean IoU minus the other one's lies, both resampled alike.

        Narrower than the two intervals side by side suggest: a hard recording is hard for both.

        Raises:
            ValueError: if the other one was measured on other recordings, or in other classes.
        """
        if self.labels != other.labels:
            raise ValueError("two networks can be compared in the same classes only: see drivable_or_not")
        if self.recordings != other.recordings:
            raise ValueError("two networks can be compared on the same recordings only")
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
        # How often each recording is drawn in `recordings` draws with replacement.
        times = random.multinomial(recordings, np.full(recordings, 1 / recordings), RESAMPLES)
        resampled = times @ sums.reshape(recordings, classes * classes)
        return mean_iou_of(resampled.reshape(RESAMPLES, classes, classes))


def _sum(counts: Sequence[Counts | None]) -> Counts | None:
    """Over all frames; None if one was not counted."""
    told = [of_frame for of_frame in counts if of_frame is not None]
    return np.sum(told, axis=0) if len(told) == len(counts) else None


def _interval(values: NDArray[np.float64], confidence: float) -> Interval:
    told = values[np.isfinite(values)]
    if not told.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(told, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


class LabelledFrames(Protocol):
    """Labelled frames that know which recording they come from; the readers of `train.data` are such."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(H, W, 3) BGR image and (H, W) class map."""
        ...

    def recording(self, index: int) -> str: ...


def measure_accuracy(predict: Callable[[Frame], Prediction], labelled: LabelledFrames) -> Accuracy:
    """Every frame counted, at the size of the labels: in two classes if the network tells no more."""
    counted = []
    for index in range(len(labelled)):
        image_bgr, truth = labelled[index]
        frame = Frame("accuracy", index, 0, 0, image_bgr, str(index))
        prediction = predict(frame)
        truth_wh = truth.shape[1], truth.shape[0]
        told = prediction.confidence
        counted.append(
            count_frame(
                labelled.recording(index),
                image_bgr,
                truth,
                prediction.class_map_at(truth_wh),
                prediction.labels,
                None if told is None else confidence_at(told, truth_wh),
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
    """One frame's pixels by class, outline and confidence, under the condition that it was taken in.

    Args:
        image_bgr: (H, W, 3) uint8 as it was recorded; padding would pass for daylight.
        truth: (h, w) uint8 class ids; `IGNORE` pixels do not count.
        predicted: (h, w) uint8 class ids.
        labels: the classes that the network tells apart; the truth is merged to them.
        confidence: (h, w) uint8 of the predicted class, if it is known; 255 is certain.

    Raises:
        ValueError: if the two maps differ in shape or a class id is out of range.
    """
    if labels == LABELS_OF_TWO:
        truth, predicted = _ROW_OF_TWO[truth], _ROW_OF_TWO[predicted]
    confusion = ConfusionMatrix(len(labels))
    confusion.add(truth, predicted)
    return CountedFrame(
        recording,
        condition_of(image_bgr),
        confusion.counts,
        boundary_counts(truth, predicted, len(labels)),
        None if confidence is None else calibration_counts(confidence, truth == predicted, truth != IGNORE),
    )


def condition_of(image_bgr: NDArray[np.uint8]) -> Condition:
    """Day or night by the frame's mean luma (BT.601): a dark tunnel counts as night."""
    luma = float(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY).mean())
    return "night" if luma < NIGHT_BELOW_LUMA else "day"
