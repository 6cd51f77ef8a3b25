"""What a data set is: labelled frames by split. And the reader of our own layout, whose index says all."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from perception.metrics import segmentation
from train.data.decode import CLASS_IDS, DataError
from train.data.pairs import LabelledFrame, Pair, PairedFrames, by_split
from train.data.sense import NO_CLASS, nonsense, readable, spread
from train.data.splits import SPLITS

__all__ = [
    "INDEX_FILE",
    "DataError",
    "DataSet",
    "LabelledFrame",
    "LabelledFrames",
    "is_indexed",
    "read_index",
    "recording_of_bdd_id",
    "rows_of_index",
]

INDEX_FILE: Final = "index.csv"
_BDD_ID: Final = re.compile(r"([0-9a-f]{8})-[0-9a-f]{8}")


class LabelledFrames(segmentation.LabelledFrames, Protocol):
    """Any indexable set of labelled frames that have names.

    Frames of one recording, which is the drive they come from, are alike: so they share a split.
    """

    def name(self, index: int) -> str:
        """What messages and reports call the frame."""
        ...


@dataclass(frozen=True)
class DataSet:
    """What a reader found, before any image is decoded."""

    where: Path
    """The folder, or the file that lists its frames."""
    frames: Mapping[str, LabelledFrames]
    """By split, those with problems among them."""
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By split: a line for each file that has no partner, beginning with the file."""
    notes: Sequence[str] = ()
    """What was left out, or is not as published, and why: a line each."""
    torn: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By recording: the splits that its own list of frames shares it out to, where these are several."""
    is_numbered: bool = False
    """Whether its labels are bare numbers, which may be those of another numbering; elsewhere colours, or a
    map of the user's own, say what they mean."""

    @property
    def splits(self) -> list[str]:
        """Names of the splits that hold frames, or were meant to: train, val, test, then others."""
        names = [name for name in self.frames if len(self.frames[name]) or self.problems.get(name)]
        return sorted(names, key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))

    def open(self, split: str) -> LabelledFrames:
        """The frames of one split.

        Raises:
            DataError: if there is no such split (naming the others), its files do not match, or its labels
                make no sense as the classes that they are read as.
        """
        if split not in self.splits:
            known = ", ".join(self.splits) or "no frames at all"
            why = f" ({'; '.join(self.notes)})" if self.notes and split in SPLITS else ""
            raise DataError(f"{self.where}: no frames in split {split!r}; it has: {known}{why}")
        problems = self.problems.get(split, ())
        if problems:
            others = f" (and {len(problems) - 1} more; `drivable-train inspect` names them)"
            raise DataError(problems[0] + (others if len(problems) > 1 else ""))
        if (reason := self.nonsense_of(split)) and self.must_make_sense(reason):
            remedy = (
                "number them as this layout does, or say what they mean: layout folder, with labels.yaml"
                if self.is_numbered
                else "is the label map right?"
            )
            raise DataError(f"{self.where}: the labels of {split} make no sense: {reason}; {remedy}")
        return self.frames[split]

    def nonsense_of(self, split: str) -> str | None:
        """Why the labels of a split cannot mean what they are read as; None where nothing is wrong.

        Nor where one of those looked at cannot be read: what is wrong is then said of that one.
        """
        frames = self.frames[split]
        seen = list(readable(lambda index: frames[index][1], len(frames)))
        return nonsense(seen) if len(seen) == len(spread(len(frames))) else None

    def must_make_sense(self, reason: str) -> bool:
        """Whether what `nonsense_of` says is a fault: a map of the user's own is believed where it can be."""
        return self.is_numbered or reason == NO_CLASS

    def check_apart(self, *splits: str) -> None:
        """Raise DataError if the data set's own list has one recording in two of these splits."""
        shared = {name: [split for split in splits if split in among] for name, among in self.torn.items()}
        torn = [
            f"recording {name} is in {' and '.join(among)}" for name, among in shared.items() if among[1:]
        ]
        if torn:
            others = f" (and {len(torn) - 1} more; `drivable-train inspect` names them)" if torn[1:] else ""
            raise DataError(
                f"{self.where}: {torn[0]}{others}; its frames are alike, so they would be judged by what was"
                " learned from them: keep it in one split"
            )


def is_indexed(root: Path) -> bool:
    """Whether an index lies there."""
    return (root / INDEX_FILE).is_file()


def read_index(root: Path) -> DataSet:
    """`index.csv` (id, split, perhaps recording), `images/<id>.jpg` and `labels/<id>.png` of class ids.

    A frame's recording is what the column of that name says; without one, the first 8 hex digits of a
    BDD100K id, which are those of one car's trip; else the id itself.

    Raises:
        DataError: if there is no index, or it cannot be read as one.
    """
    frames, problems = {}, {}
    splits_of: dict[str, dict[str, None]] = {}
    for split, pairs in _pairs_of_index(root).items():
        files = (file for pair in pairs for file in (pair.image_file, pair.label_file))
        missing = dict.fromkeys(file for file in files if not file.is_file())
        whole = [pair for pair in pairs if missing.keys().isdisjoint((pair.image_file, pair.label_file))]
        frames[split] = PairedFrames(whole, CLASS_IDS.read)
        problems[split] = [f"{file}: named in {INDEX_FILE} but missing" for file in missing]
        for pair in pairs:
            splits_of.setdefault(pair.recording, {})[split] = None
    torn = {recording: list(splits) for recording, splits in splits_of.items() if len(splits) > 1}
    return DataSet(root / INDEX_FILE, frames, problems, torn=torn, is_numbered=True)


def rows_of_index(index: Path) -> list[dict[str, str]]:
    """The rows of an index by the names of their columns, id and split among them.

    Raises:
        DataError: if it cannot be read, or lacks these columns or any row.
    """
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{index}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{index}: cannot be read as CSV: it is no text in UTF-8, or holds what no row is"
        ) from error
    if not rows or not {"id", "split"} <= rows[0].keys():
        raise DataError(
            f"{index}: needs a header with the columns id and split, by commas, and at least one frame"
        )
    return rows


def _pairs_of_index(root: Path) -> dict[str, list[Pair]]:
    index = root / INDEX_FILE
    if not index.is_file():
        raise DataError(f"{index}: no such file; a data set needs {INDEX_FILE}, images/ and labels/")
    rows = rows_of_index(index)
    pairs: list[Pair] = []
    splits: dict[str, str] = {}
    for line, row in enumerate(rows, start=2):
        frame_id, split = row["id"], row["split"]
        if not frame_id or not split:
            raise DataError(f"{index}: line {line} lacks an id or a split")
        if frame_id in splits:
            raise DataError(f"{index}: line {line} names {frame_id} a second time")
        splits[frame_id] = split
        pairs.append(
            Pair(
                frame_id,
                row.get("recording") or recording_of_bdd_id(frame_id),
                root / "images" / f"{frame_id}.jpg",
                root / "labels" / f"{frame_id}.png",
            )
        )
    return by_split(pairs, lambda pair: splits[pair.name])


def recording_of_bdd_id(frame_id: str) -> str:
    """The recording that an id such as `0000f77c-6257be58` belongs to: `0000f77c`; of other ids, the id."""
    matched = _BDD_ID.fullmatch(frame_id)
    return matched[1] if matched else frame_id
