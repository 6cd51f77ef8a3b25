"""Accuracy of a model file through the node's own path, and beside networks that others trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.config import AccuracyConfig
from bench.drives import RATE_HZ, ROAD_SEED
from bench.engines import EngineName, open_engine
from bench.report.format import aligned, counted
from perception.cli_config import SettingsError
from perception.inference.predictor import Predictor
from perception.inference.zoo import model_file
from perception.labels import LABELS_OF_TWO
from perception.metrics.boundary_iou import BAND_SHARE
from perception.metrics.calibration import BINS
from perception.metrics.segmentation import (
    CONFIDENCE,
    NIGHT_BELOW_LUMA,
    Accuracy,
    LabelledFrames,
    measure_accuracy,
)
from perception.synthetic import MIXED, DriveRenderer
from perception.system.process import tune_process
from train.data.frames import INDEX_FILE, DataError, LabelledFrame, rows_of_index
from train.data.frames import LabelledFrames as NamedFrames
from train.data.layouts import open_frames

INTERVAL: Final = f"{100 * CONFIDENCE:.0f} % interval"
BUILT_IN_ROAD: Final = "built-in road"
_ROAD_WH: Final = (640, 360)
_ROAD_STEP_FRAMES: Final = 30
_MOST_VALUES: Final = 12
"""Of a column, in a message."""


def run(config: AccuracyConfig) -> tuple[list[str], int]:
    """Rows of a table: mean IoU, each class, day and night, outlines, confidence, and two classes."""
    tune_process()
    peers = {Path(name).stem: _predictor(name, "onnx") for name in config.peer}
    predict = _predictor(config.model, config.engine)
    frames, where = _frames(config)
    ours = measure_accuracy(predict, frames)
    by = "" if config.engine == "onnx" else f" by {config.engine}"
    rows = [f"{config.model}{by} on {where}, {_extent(ours)}", *_table(ours)]
    if peers:
        theirs = {name: measure_accuracy(peer, frames) for name, peer in peers.items()}
        rows += ["", "drivable or not, on the same frames"]
        rows += _comparison(Path(config.model).stem, ours, theirs)
    return rows, 0


def _predictor(model: str, engine: EngineName) -> Predictor:
    return Predictor(open_engine(engine, model_file(model)))


def _frames(config: AccuracyConfig) -> tuple[LabelledFrames, str]:
    """The frames to measure on, and what to call them."""
    if config.data is None:
        if config.only:
            raise SettingsError("--only chooses among the frames of a data set; name one with --data")
        if config.synthetic_frames < 1:
            raise SettingsError(f"--synthetic-frames must be at least 1, not {config.synthetic_frames}")
        return BuiltInRoad(config.synthetic_frames), f"the {BUILT_IN_ROAD}"
    frames = open_frames(config.data, config.split, config.layout, config.label_map)
    if config.only is None:
        return frames, f"split {config.split}"
    chosen = _with_value(frames, config.data, config.split, config.only)
    return chosen, f"split {config.split}, {config.only}"


def _table(accuracy: Accuracy) -> list[str]:
    by_recording = f"{INTERVAL} by recording {_interval(accuracy)} %"
    alone = "no interval: one recording says nothing about others"
    facts = [("mean IoU", accuracy.total.mean_iou(), by_recording if _has_interval(accuracy) else alone)]
    facts += [(name, iou, "") for name, iou in zip(accuracy.labels, accuracy.total.iou(), strict=True)]
    for condition, part in accuracy.by_condition().items():
        luma = f"below {NIGHT_BELOW_LUMA:g}" if condition == "night" else f"from {NIGHT_BELOW_LUMA:g} up"
        facts.append((condition, part.total.mean_iou(), f"{_extent(part)}, mean luma {luma}"))
    band = f"mean boundary IoU, within {100 * BAND_SHARE:g} % of the diagonal of the outlines"
    facts.append(("outlines", accuracy.mean_boundary_iou(), band))
    facts.append(("confidence", accuracy.calibration_error(), f"expected calibration error, in {BINS} bins"))
    if accuracy.labels != LABELS_OF_TWO:
        two = accuracy.drivable_or_not()
        interval = f"; {INTERVAL} {_interval(two)} %" if _has_interval(two) else ""
        facts.append(("two classes", two.total.mean_iou(), f"drivable or not{interval}"))
    return [f"{name:12}{100 * value:8.2f} %   {remark}".rstrip() for name, value, remark in facts]


def _comparison(name: str, ours: Accuracy, theirs: Mapping[str, Accuracy]) -> list[str]:
    """Two classes, direct and alternative as one: all that every network knows."""
    two = ours.drivable_or_not()
    rows = [["", "mean IoU", INTERVAL, "drivable", "day", "night", f"{name}'s lead", INTERVAL]]
    for other, measured in ((name, ours), *theirs.items()):
        accuracy = measured.drivable_or_not()
        parts = accuracy.by_condition()
        day, night = (_share(parts[it]) if it in parts else "none" for it in ("day", "night"))
        drivable = f"{100 * accuracy.total.iou()[0]:.2f}"
        lead, lead_interval = "", ""
        if measured is not ours:
            lead = f"{100 * (two.total.mean_iou() - accuracy.total.mean_iou()):+.2f}"
            if _has_interval(two):
                low, high = two.lead_interval(accuracy)
                lead_interval = f"{100 * low:+.2f} to {100 * high:+.2f}"
        shares = [_share(accuracy), _interval(accuracy), drivable, day, night]
        rows.append([other, *shares, lead, lead_interval])
    return aligned(rows)


def _extent(accuracy: Accuracy) -> str:
    frames, recordings = len(accuracy.frames), len(accuracy.recordings)
    return f"{counted(frames, 'frame')} of {counted(recordings, 'recording')}"


def _share(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.total.mean_iou():.2f}"


def _has_interval(accuracy: Accuracy) -> bool:
    """One recording alone says nothing about others: its interval would have no width."""
    return len(accuracy.recordings) > 1


def _interval(accuracy: Accuracy) -> str:
    if not _has_interval(accuracy):
        return "none"
    low, high = accuracy.mean_iou_interval()
    return f"{100 * low:.2f} to {100 * high:.2f}"


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
            self._drive = scene, DriveRenderer(MIXED[scene], _ROAD_WH, RATE_HZ, ROAD_SEED + scene)
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


def _with_value(frames: NamedFrames, data: str, split: str, wanted: str) -> Chosen:
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
