"""Reader of frames with drivable-area labels: `index.csv`, `images/<id>.jpg`, `labels/<id>.png`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.labels import BACKGROUND, IGNORE

LabelledFrame = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""(H, W, 3) BGR image and (H, W) class map."""


class DataError(ValueError):
    """A data set that cannot be used; the message names the file and what is wrong with it."""


class LabelledFrames(Protocol):
    """Any indexable set of labelled frames."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledFrame: ...


@dataclass(frozen=True)
class Entry:
    """One frame of the index."""

    frame_id: str
    image_file: Path
    label_file: Path


class IndexedFrames:
    """The frames of one split. Splits are by recording and stand in the index."""

    def __init__(self, root: Path, split: str) -> None:
        """Read the index.

        Raises:
            DataError: if there is no index, no such split, or a file of the split is missing.
        """
        index = root / "index.csv"
        if not index.is_file():
            raise DataError(f"{index}: no such file; a data set needs index.csv, images/ and labels/")
        with index.open(newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows or not {"id", "split"} <= rows[0].keys():
            raise DataError(f"{index}: needs a header with the columns id and split, and at least one frame")
        self.entries = [
            Entry(row["id"], root / "images" / f"{row['id']}.jpg", root / "labels" / f"{row['id']}.png")
            for row in rows
            if row["split"] == split
        ]
        if not self.entries:
            known = ", ".join(sorted({row["split"] for row in rows}))
            raise DataError(f"{index}: no frames in split {split!r}; it has: {known}")
        for entry in self.entries:
            for file_needed in (entry.image_file, entry.label_file):
                if not file_needed.is_file():
                    raise DataError(f"{file_needed}: named in {index.name} but missing")

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> LabelledFrame:
        """Decode one frame.

        Raises:
            DataError: if a file does not decode, the sizes differ, or a label is no class.
        """
        entry = self.entries[index]
        image_bgr = cv2.imread(str(entry.image_file), cv2.IMREAD_COLOR)
        label = cv2.imread(str(entry.label_file), cv2.IMREAD_GRAYSCALE)
        if image_bgr is None or label is None:
            file = entry.image_file if image_bgr is None else entry.label_file
            raise DataError(f"{file}: does not decode as an image")
        if image_bgr.shape[:2] != label.shape:
            raise DataError(f"{entry.label_file}: is {label.shape}, its image {image_bgr.shape[:2]}")
        wrong = label[(label > BACKGROUND) & (label != IGNORE)]
        if wrong.size:
            raise DataError(f"{entry.label_file}: label {wrong[0]} is none of 0, 1, 2 and {IGNORE}")
        return np.asarray(image_bgr, np.uint8), np.asarray(label, np.uint8)

    def __iter__(self) -> Iterator[LabelledFrame]:
        return (self[index] for index in range(len(self)))
