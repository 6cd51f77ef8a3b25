"""What a data set is: labelled frames by split. And the reader of our own layout, whose index says all."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from train.data.decode import CLASS_IDS, DataError
from train.data.pairs import LabelledFrame, Pair, PairedFrames, by_split
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
]

INDEX_FILE: Final = "index.csv"
_BDD_ID: Final = re.compile(r"([0-9a-f]{8})-[0-9a-f]{8}")


class LabelledFrames(Protocol):
    """Any indexable set of labelled frames."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledFrame: ...

    def name(self, index: int) -> str:
        """What messages and reports call the frame."""
        ...

    def recording(self, index: int) -> str:
        """The drive it comes from: frames of one recording are alike, so they share a split."""
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

    @property
    def splits(self) -> list[str]:
        """Names of the splits that hold frames, or were meant to: train, val, test, then others."""
        names = [name for name in self.frames if len(self.frames[name]) or self.problems.get(name)]
        return sorted(names, key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))

    def open(self, split: str) -> LabelledFrames:
        """The frames of one split.

        Raises:
            DataError: if there is no such split (naming the others), or its files do not match.
        """
        if split not in self.splits:
            known = ", ".join(self.splits) or "no frames at all"
            why = f" ({'; '.join(self.notes)})" if self.notes and split in SPLITS else ""
            raise DataError(f"{self.where}: no frames in split {split!r}; it has: {known}{why}")
        problems = self.problems.get(split, ())
        if problems:
            others = f" (and {len(problems) - 1} more; `drivable-train inspect` names them)"
            raise DataError(problems[0] + (others if len(problems) > 1 else ""))
        return self.frames[split]


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
    for split, pairs in _pairs_of_index(root).items():
        missing = [
            f"{file}: named in {INDEX_FILE} but missing"
            for pair in pairs
            for file in (pair.image_file, pair.label_file)
            if not file.is_file()
        ]
        whole = [pair for pair in pairs if pair.image_file.is_file() and pair.label_file.is_file()]
        frames[split], problems[split] = PairedFrames(whole, CLASS_IDS.read), missing
    return DataSet(root / INDEX_FILE, frames, problems)


def _pairs_of_index(root: Path) -> dict[str, list[Pair]]:
    index = root / INDEX_FILE
    if not index.is_file():
        raise DataError(f"{index}: no such file; a data set needs {INDEX_FILE}, images/ and labels/")
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{index}: cannot be read as CSV: {error}") from error
    if not rows or not {"id", "split"} <= rows[0].keys():
        raise DataError(f"{index}: needs a header with the columns id and split, and at least one frame")
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
