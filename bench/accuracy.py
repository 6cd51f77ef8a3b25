"""Accuracy of a model file through the node's own path, and beside networks that others trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.config import AccuracyConfig
from bench.engines import EngineName, open_engine
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

BUILT_IN_ROAD = "built-in road"
SYNTHETIC_FRAME_WH = (640, 360)
SYNTHETIC_SEED = 2_000_000  # roads that neither training nor validation has seen
SYNTHETIC_STEP_FRAMES = 30
KNOWN_VALUES_TOLD = 12
NO_INTERVAL = "no interval: one recording says nothing about others"


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
        rows += ["", *_comparison(Path(config.model).stem, ours, theirs)]
    return rows, 0


def _predictor(model: str, engine: EngineName) -> Predictor:
    return Predictor(open_engine(engine, model_file(model)))


def _table(accuracy: Accuracy) -> list[str]:
    interval = f"{100 * CONFIDENCE:.0f} % interval"
    told = f"{interval} by recording {_interval(accuracy)} %" if _has_interval(accuracy) else NO_INTERVAL
    rows = [f"{'mean IoU':12}{_share(accuracy)} %   {told}"]
    per_class = zip(accuracy.labels, accuracy.total.iou(), strict=True)
    rows += [f"{name:12}{100 * iou:8.2f} %" for name, iou in per_class]
    for condition, part in accuracy.by_condition().items():
        luma = f"below {NIGHT_BELOW_LUMA:g}" if condition == "night" else f"from {NIGHT_BELOW_LUMA:g} up"
        rows.append(f"{condition:12}{_share(part)} %   {_extent(part)}, mean luma {luma}")
    band = f"mean boundary IoU, within {100 * BAND_SHARE:g} % of the diagonal of the outlines"
    rows.append(f"{'outlines':12}{100 * accuracy.mean_boundary_iou():8.2f} %   {band}")
    error = 100 * accuracy.calibration_error()
    rows.append(f"{'confidence':12}{error:8.2f} %   expected calibration error, in {BINS} bins")
    if accuracy.labels != LABELS_OF_TWO:
        two = accuracy.drivable_or_not()
        told = f"; {interval} {_interval(two)} %" if _has_interval(two) else ""
        rows.append(f"{'two classes':12}{_share(two)} %   drivable or not{told}")
    return rows


def _comparison(name: str, ours: Accuracy, theirs: Mapping[str, Accuracy]) -> list[str]:
    """Two classes, direct and alternative as one: all that every network can tell."""
    percent = f"{100 * CONFIDENCE:.0f} %"
    width = max(len(name), *(len(peer) for peer in theirs)) + 2
    two = ours.drivable_or_not()
    rows = [
        "drivable or not, on the same frames",
        f"{'':{width}}{'mean IoU':>10}{f'{percent} interval':>17}{'drivable':>10}{'day':>9}{'night':>9}"
        f"   {name}'s lead, {percent} interval",
    ]
    for other, counted in ((name, ours), *theirs.items()):
        accuracy = counted.drivable_or_not()
        parts = accuracy.by_condition()
        day, night = (_share(parts[it]) if it in parts else "none" for it in ("day", "night"))
        row = (
            f"{other:{width}}{_share(accuracy):>10}"
            f"{_interval(accuracy):>17}{100 * accuracy.total.iou()[0]:10.2f}"
            f"{day:>9}{night:>9}"
        )
        if counted is not ours:
            lead = 100 * (two.total.mean_iou() - accuracy.total.mean_iou())
            row += f"   {lead:+.2f}"
            if _has_interval(two):
                low, high = two.lead_interval(accuracy)
                row += f"  {100 * low:+.2f} to {100 * high:+.2f}"
        rows.append(row)
    return rows


def _extent(accuracy: Accuracy) -> str:
    frames, recordings = len(accuracy.frames), len(accuracy.recordings)
    return f"{frames} frame{'s' * (frames != 1)} of {recordings} recording{'s' * (recordings != 1)}"


def _share(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.total.mean_iou():8.2f}"


def _has_interval(accuracy: Accuracy) -> bool:
    """One recording alone says nothing about others: its interval would have no width."""
    return len(accuracy.recordings) > 1


def _interval(accuracy: Accuracy) -> str:
    if not _has_interval(accuracy):
        return "none"
    low, high = accuracy.mean_iou_interval()
    return f"{100 * low:.2f} to {100 * high:.2f}"


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
    index_file = Path(config.data) / INDEX_FILE
    return _only(frames, index_file, config.split, config.only), f"split {config.split}, {config.only}"


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
            drive = DriveRenderer(MIXED[scene], SYNTHETIC_FRAME_WH, 30.0, SYNTHETIC_SEED + scene)
            self._drive = scene, drive
        return self._drive[1].render(number * SYNTHETIC_STEP_FRAMES)

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


def evenly(count: int, at_most: int) -> Sequence[int]:
    """At most so many of `count` indices, evenly spread; all where there are no more."""
    return range(count) if count <= at_most else [number * count // at_most for number in range(at_most)]


def _only(frames: NamedFrames, index_file: Path, split: str, wanted: str) -> Chosen:
    """The frames whose row of the index has a value in a column.

    Raises:
        SettingsError: if `wanted` is not COLUMN=VALUE, or no frame of the split has it.
        DataError: if the data set has no index, or it cannot be read.
    """
    column, equals, value = wanted.partition("=")
    if not (column and equals):
        raise SettingsError(f"--only {wanted}: write it as COLUMN=VALUE, such as bdd_split=val")
    if not index_file.is_file():
        raise DataError(f"{index_file}: no such file; --only needs a data set with an {INDEX_FILE}")
    rows = {row["id"]: row for row in rows_of_index(index_file)}
    columns = list(next(iter(rows.values()), {}))
    if column not in columns:
        raise SettingsError(
            f"--only {wanted}: {index_file} has no column {column}; it has: {', '.join(columns)}"
        )
    names = [frames.name(index) for index in range(len(frames))]
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise DataError(f"{index_file}: does not name the frame {unknown[0]}; leave out --only")
    values = [rows[name][column] or "" for name in names]
    chosen = [index for index, found in enumerate(values) if found == value]
    if not chosen:
        known = sorted(set(values))
        more = f" and {len(known) - KNOWN_VALUES_TOLD} more" if len(known) > KNOWN_VALUES_TOLD else ""
        raise SettingsError(
            f"--only {wanted}: no frame of split {split} has it; known values of {column}: "
            f"{', '.join(known[:KNOWN_VALUES_TOLD])}{more}"
        )
    return Chosen(frames, chosen)
