"""Labelled frames to measure accuracy on: a data set's or the built-in road's, all of them or some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perception.cli_config import SettingsError
from perception.metrics.segmentation import LabelledFrames
from perception.synthetic import MIXED, DriveRenderer
from train.data.frames import INDEX_FILE, DataError, LabelledFrame, rows_of_index
from train.data.frames import LabelledFrames as NamedFrames

BUILT_IN_ROAD: Final = "built-in road"
_ROAD_WH: Final = (640, 360)
_ROAD_SEED: Final = 2_000_000  # roads that neither training nor validation has seen
_ROAD_STEP_FRAMES: Final = 30
_MOST_VALUES: Final = 12
"""Of a column, in a message."""


class BuiltInRoad:
    """Labelled frames of one drive a scene, from 1 up in all: each scene is a recording."""

    def __init__(self, frames: int) -> None:
        self._places = [
            (index, number) for index in range(len(MIXED)) for number in range((frames + index) // len(MIXED))
        ]
        self._drive: tuple[int, DriveRenderer] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> LabelledFrame:
        scene, number = self._places[index]
        if self._drive is None or self._drive[0] != scene:  # one at a time: a drive takes 8 MB
            self._drive = scene, DriveRenderer(MIXED[scene], _ROAD_WH, 30.0, _ROAD_SEED + scene)
        return self._drive[1].render(number * _ROAD_STEP_FRAMES)

    def recording(self, index: int) -> str:
        """Name of the scene."""
        return MIXED[self._places[index][0]]


@dataclass(frozen=True)
class Chosen:
    """Some of the labelled frames."""

    frames: LabelledFrames
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> LabelledFrame:
        return self.frames[self.indices[index]]

    def recording(self, index: int) -> str:
        """Name of the recording that the frame is from."""
        return self.frames.recording(self.indices[index])


def with_value(frames: NamedFrames, data: str, split: str, wanted: str) -> Chosen:
    """The frames whose row of the data set's index has a value in a column.

    Raises:
        SettingsError: if `wanted` is not COLUMN=VALUE, or no frame of the split has it.
        DataError: if the data set has no index, or it cannot be read.
    """
    column, equals, value = wanted.partition("=")
    if not (column and equals):
        raise SettingsError(f"--only {wanted}: write it as COLUMN=VALUE, such as bdd_split=val")
    file = Path(data) / INDEX_FILE
    if not file.is_file():
        raise DataError(f"{file}: no such file; --only needs a data set with an {INDEX_FILE}")
    rows = {row["id"]: row for row in rows_of_index(file)}
    columns = list(next(iter(rows.values()), {}))
    if column not in columns:
        raise SettingsError(f"--only {wanted}: {file} has no column {column}; it has: {', '.join(columns)}")
    names = [frames.name(index) for index in range(len(frames))]
    if unknown := [name for name in names if name not in rows]:
        raise DataError(f"{file}: does not name the frame {unknown[0]}; leave out --only")
    values = [rows[name][column] or "" for name in names]
    chosen = [index for index, found in enumerate(values) if found == value]
    if not chosen:
        known = sorted(set(values))
        more = f" and {len(known) - _MOST_VALUES} more" if len(known) > _MOST_VALUES else ""
        raise SettingsError(
            f"--only {wanted}: no frame of split {split} has it; known values of {column}: "
            f"{', '.join(known[:_MOST_VALUES])}{more}"
        )
    return Chosen(frames, chosen)
