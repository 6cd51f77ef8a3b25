"""Statistics of a split's frames: each is decoded, none is kept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from perception.labels import IGNORE, LABELS
from perception.metrics.segmentation import condition_of
from train.data.decode import DataError
from train.data.duplicates import Fingerprint, digest_of, fingerprint_of
from train.data.frames import LabelledFrames


@dataclass(frozen=True, eq=False)
class SurveyedFrame:
    """Statistics of one readable frame."""

    index: int
    name: str
    recording: str
    frame_wh: tuple[int, int]
    pixels: NDArray[np.int64]
    """(classes + 1,) pixels of each class, and of `IGNORE`."""
    is_night: bool
    digest: bytes
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Survey:
    """All frames of a split."""

    seen: Sequence[SurveyedFrame]
    broken: Sequence[str]
    """A line for each unusable frame, beginning with its file."""

    @property
    def recordings(self) -> set[str]:
        """Their names."""
        return {frame.recording for frame in self.seen}

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """Number of frames of each width and height."""
        return Counter(frame.frame_wh for frame in self.seen)

    @property
    def class_shares(self) -> NDArray[np.float64]:
        """(classes + 1,) shares of all pixels; the last is `IGNORE`'s. All zero without frames."""
        pixels = sum((frame.pixels for frame in self.seen), np.zeros(len(LABELS) + 1, np.int64))
        return np.asarray(pixels / max(1, pixels.sum()), np.float64)

    @property
    def night_share(self) -> float:
        """Share of night frames; 0 without frames."""
        return sum(frame.is_night for frame in self.seen) / max(1, len(self.seen))


def survey(frames: LabelledFrames, problems: Sequence[str], what: str) -> Survey:
    """Read every frame, on all cores.

    Args:
        problems: lines about files without a partner, reported as broken too.
        what: named beside the count of frames done, which a terminal shows.
    """
    seen: list[SurveyedFrame] = []
    broken = list(problems)
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        results = pool.map(lambda index: _surveyed(frames, index), range(len(frames)))
        for result in tqdm(results, what, len(frames), leave=False, unit="frame", disable=None):
            if isinstance(result, SurveyedFrame):
                seen.append(result)
            else:
                broken.append(result)
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt must not wait for the rest of the frames
    return Survey(seen, broken)


def _surveyed(frames: LabelledFrames, index: int) -> SurveyedFrame | str:
    try:
        image_bgr, class_map = frames[index]
    except DataError as error:
        return str(error)
    values = cv2.calcHist([class_map], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return SurveyedFrame(
        index,
        frames.name(index),
        frames.recording(index),
        (image_bgr.shape[1], image_bgr.shape[0]),
        np.append(values[: len(LABELS)], values[IGNORE]),
        condition_of(image_bgr) == "night",
        digest_of(image_bgr),
        fingerprint_of(image_bgr),
    )
