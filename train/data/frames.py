"""`DataSet`: labelled frames by split; and the reader of our own layout, which has an index."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from perception.metrics import segmentation
from train.data.decode import CLASS_IDS
from train.data.decode import DataError as DataError
from train.data.pairs import LabelledFrame as LabelledFrame
from train.data.pairs import Pair, PairedFrames, by_split
from train.data.plausibility import NO_LABELLED_PIXEL, readable, spread, why_implausible
from train.data.splits import SPLITS

INDEX_FILE: Final = "index.csv"
_BDD_ID: Final = re.compile(r"([0-9a-f]{8})-[0-9a-f]{8}")


class LabelledFrames(segmentation.LabelledFrames, Protocol):
    """An indexable set of labelled frames with names.

    Frames of one recording (one drive) look alike, so all of them belong to one split.
    """

    def name(self, index: int) -> str:
        """The frame's name in messages and reports."""
        ...


@dataclass(frozen=True)
class DataSet:
    """A data set as found on disk, before any image is decoded."""

    where: Path
    """The folder, or the file that lists its frames."""
    frames: Mapping[str, LabelledFrames]
    """By split, including splits with problems."""
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By split: a line for each file without a partner, beginning with the file."""
    notes: Sequence[str] = ()
    """A line for each thing that was left out or differs from the publication, and why."""
    split_recordings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By recording: its splits, for each recording that the data set's own list has in several."""
    is_numbered: bool = False
    """Whether labels are bare numbers, so that another numbering is possible; otherwise colours, or the
    user's own map, define them."""

    @property
    def splits(self) -> list[str]:
        """Names of the splits with frames or problems: train, val, test, then others."""
        names = [name for name in self.frames if len(self.frames[name]) or self.problems.get(name)]
        return sorted(names, key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))

    def open(self, split: str) -> LabelledFrames:
        """The frames of one split.

        Raises:
            DataError: if there is no such split (naming the others), its files do not match, or its labels
                are implausible as the classes they are read as.
        """
        if split not in self.splits:
            known = ", ".join(self.splits) or "no frames at all"
            why = f" ({'; '.join(self.notes)})" if self.notes and split in SPLITS else ""
            raise DataError(f"{self.where}: no frames in split {split!r}; it has: {known}{why}")
        if problems := self.problems.get(split):
            raise DataError(_first_of(problems))
        if (reason := self.why_implausible(split)) and self.is_fault(reason):
            remedy = (
                "number them as this layout does, or say what they mean: layout folder, with labels.yaml"
                if self.is_numbered
                else "is the label map right?"
            )
            raise DataError(f"{self.where}: the labels of {split} make no sense: {reason}; {remedy}")
        return self.frames[split]

    def why_implausible(self, split: str) -> str | None:
        """Why the labels of a split cannot mean what they are read as; None if they are plausible.

        None too if a label of the sample cannot be read; reading that one raises an error of its own.
        """
        frames = self.frames[split]
        seen = list(readable(lambda index: frames[index][1], len(frames)))
        return why_implausible(seen) if len(seen) == len(spread(len(frames))) else None

    def is_fault(self, reason: str) -> bool:
        """Whether a reason of `why_implausible` is an error; the user's own label map overrides most."""
        return self.is_numbered or reason == NO_LABELLED_PIXEL

    def scaling_pictures(self) -> DataSet:
        """The same, with pictures that are smaller than their labels scaled to the labels' size."""
        frames = {
            split: PairedFrames(some.pairs, some.read_label, scales_pictures=True)
            if isinstance(some, PairedFrames)
            else some
            for split, some in self.frames.items()
        }
        return replace(self, frames=frames)

    def check_disjoint(self, *splits: str) -> None:
        """Raise DataError if the data set's own list has one recording in two of these splits."""
        shared = {
            name: [split for split in splits if split in among]
            for name, among in self.split_recordings.items()
        }
        lines = [f"recording {name} is in {' and '.join(both)}" for name, both in shared.items() if both[1:]]
        if lines:
            raise DataError(
                f"{self.where}: {_first_of(lines)}; its frames look alike, so validation would use what"
                " training has seen: keep it in one split"
            )


@dataclass(frozen=True)
class Layout:
    """The folder layout of one kind of data set."""

    looks_like: str
    """The files or folders it is recognised by, in words."""
    marks: Sequence[Sequence[str | Path]]
    """Groups of files or folders; a folder that has all of one group looks like this layout."""
    read: Callable[[Path], DataSet]

    def is_at(self, root: Path) -> bool:
        """Whether the folder looks like this layout."""
        return any(all((root / mark).exists() for mark in group) for group in self.marks)


def _first_of(lines: Sequence[str]) -> str:
    """The first of several messages, and the number of the others."""
    others = f" (and {len(lines) - 1} more; `drivable-train inspect` names them)"
    return lines[0] + (others if len(lines) > 1 else "")


def read_index(root: Path) -> DataSet:
    """`index.csv` (id, split, perhaps recording), `images/<id>.jpg` and `labels/<id>.png` of class ids.

    A frame's recording is the value of that column; without the column, the first 8 hex digits of a
    BDD100K id, which identify one trip of one car; otherwise the id itself.

    Raises:
        DataError: if there is no index, or it cannot be read as one.
    """
    index = root / INDEX_FILE
    if not index.is_file():
        raise DataError(f"{index}: no such file; a data set needs {INDEX_FILE}, images/ and labels/")
    listed: list[Pair] = []
    split_of: dict[str, str] = {}
    for line, row in enumerate(rows_of_index(index), start=2):
        frame_id, split = row["id"], row["split"]
        if not frame_id or not split:
            raise DataError(f"{index}: line {line} lacks an id or a split")
        if frame_id in split_of:
            raise DataError(f"{index}: line {line} names {frame_id} a second time")
        split_of[frame_id] = split
        recording = row.get("recording") or recording_of_bdd_id(frame_id)
        files = root / "images" / f"{frame_id}.jpg", root / "labels" / f"{frame_id}.png"
        listed.append(Pair(frame_id, recording, *files))
    frames, problems = {}, {}
    splits_of: dict[str, dict[str, None]] = {}
    for split, pairs in by_split(listed, lambda pair: split_of[pair.name]).items():
        both = (file for pair in pairs for file in (pair.image_file, pair.label_file))
        missing = dict.fromkeys(file for file in both if not file.is_file())
        whole = [pair for pair in pairs if missing.keys().isdisjoint((pair.image_file, pair.label_file))]
        frames[split] = PairedFrames(whole, CLASS_IDS.read)
        problems[split] = [f"{file}: named in {INDEX_FILE} but missing" for file in missing]
        for pair in pairs:
            splits_of.setdefault(pair.recording, {})[split] = None
    shared = {recording: list(splits) for recording, splits in splits_of.items() if len(splits) > 1}
    return DataSet(index, frames, problems, split_recordings=shared, is_numbered=True)


LAYOUT: Final = Layout(INDEX_FILE, [[INDEX_FILE]], read_index)


def rows_of_index(index: Path) -> list[dict[str, str]]:
    """The rows of an index by column name; the columns id and split are always there.

    Raises:
        DataError: if it cannot be read, or lacks these columns or any row.
    """
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{index}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{index}: cannot be read as CSV: it is not UTF-8 text, or not in rows") from error
    if not rows or not {"id", "split"} <= rows[0].keys():
        raise DataError(
            f"{index}: needs a header with the columns id and split, separated by commas, and one frame"
        )
    return rows


def recording_of_bdd_id(frame_id: str) -> str:
    """The recording of a BDD100K id, such as `0000f77c` for `0000f77c-6257be58`; other ids unchanged."""
    matched = _BDD_ID.fullmatch(frame_id)
    return matched[1] if matched else frame_id
