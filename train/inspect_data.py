"""`drivable-train inspect`: statistics of a data set, and its faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

import cv2

from perception.cli.collisions import Input, Target, check_apart
from perception.cli_config import config_files, parse
from perception.labels import LABELS
from perception.system.process import tune_process
from perception.system.set_aside import write_outputs
from train.data.contact_sheet import contact_sheet
from train.data.decode import DataError
from train.data.duplicates import alike, same
from train.data.frames import DataSet
from train.data.layouts import AUTO, read_data_set, recognise
from train.data.splits import SPLITS
from train.data.survey import Survey, survey

LINES_A_KIND: Final = 10
"""Lines printed of each kind of fault."""


@dataclass(frozen=True)
class InspectConfig:
    """Settings of `drivable-train inspect`."""

    data: str
    """Folder of the data set."""
    layout: str = AUTO
    """Its layout; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""
    out: str = "inspect"
    """Folder for the contact sheets: OUT/SPLIT.png."""
    overwrite: bool = False
    """Replace existing sheets; without it, they are kept as OUT/SPLIT.1.png."""


def run(arguments: list[str], say: Callable[[str], None]) -> None:
    """Read every frame of every split, report the findings, and write the contact sheets.

    Raises:
        SettingsError: if the arguments cannot be used.
        DataError: if the data set cannot be read at all; or, after the findings, if it has faults: broken
            pairs, or frames or recordings in more than one split.
    """
    config = parse(InspectConfig, "drivable-train inspect", "Statistics and faults of a data set.", arguments)
    inputs = [Input("the settings (--config)", file) for file in config_files(arguments)]
    inputs.append(Input("the data", Path(config.data), is_data_set=True))
    sheets = rf"({'|'.join(SPLITS)})(\.\d+)?\.png"
    check_apart(inputs, [Target("--out", Path(config.out), is_folder=True, names=sheets)])
    tune_process()
    root, layout = Path(config.data), recognise(config.data, config.layout)
    data_set = read_data_set(root, layout, config.label_map)
    say(f"{root}: layout {layout}")
    for note in data_set.notes:
        say(f"note: {note}")
    if not data_set.splits:
        raise DataError(f"{root}: holds no frames in the folders of layout {layout}")
    surveys = {
        split: survey(data_set.frames[split], data_set.problems.get(split, ()), split)
        for split in data_set.splits
    }
    for row in _table(surveys):
        say(row)
    for file in _write_sheets(config, data_set, surveys):
        say(f"contact sheet: {file}")
    implausible = []
    for split in (split for split, found in surveys.items() if found.seen):
        if why := data_set.why_implausible(split):
            if data_set.is_fault(why):
                implausible.append(f"{split}: {why}")
            else:
                say(f"warning: {split}: {why}; is the label map right?")
    same_frames, alike_frames = _duplicates(surveys)
    faults = {
        "splits whose labels make no sense": implausible,
        "splits of unknown names": list(_misnamed(data_set)),
        "broken pairs": [f"{split}: {line}" for split, found in surveys.items() for line in found.broken],
        "frames in two splits": same_frames,
        "pairs of frames alike across splits": alike_frames,
        "recordings in two splits": list(_split_recordings(surveys)),
    }
    for kind, lines in faults.items():
        say(f"{kind}: {len(lines)}")
        for line in lines[:LINES_A_KIND]:
            say(f"  {line}")
        if len(lines) > LINES_A_KIND:
            say(f"  and {len(lines) - LINES_A_KIND} more")
    if any(faults.values()):
        raise DataError(
            f"{root}: not to be trusted: "
            + ", ".join(f"{kind}: {len(lines)}" for kind, lines in faults.items() if lines)
        )


def _table(surveys: dict[str, Survey]) -> Iterator[str]:
    """The rows of a table with one column per split."""

    def row(title: str, cells: Iterable[str]) -> str:
        return f"{title:14}" + "".join(f"{cell:>10}" for cell in cells)

    found = surveys.values()
    yield row("", surveys)
    yield row("frames", (str(len(each.seen)) for each in found))
    yield row("recordings", (str(len(each.recordings)) for each in found))
    for width, height in sorted({size for each in found for size in each.sizes}):
        yield row(f"{width}x{height}", (str(each.sizes[width, height]) for each in found))
    for place, label in enumerate([*LABELS, "ignore"]):
        yield row(label, (f"{100 * each.class_shares[place]:.2f} %" for each in found))
    yield row("night", (f"{100 * each.night_share:.1f} %" for each in found))
    yield row("broken", (str(len(each.broken)) for each in found))


def _misnamed(data_set: DataSet) -> Iterator[str]:
    for split in data_set.splits:
        if split not in SPLITS:
            frames = len(data_set.frames[split]) + len(data_set.problems.get(split, ()))
            yield f"{split}: its {frames} frames are not used in training; known names: {', '.join(SPLITS)}"


def _duplicates(surveys: dict[str, Survey]) -> tuple[list[str], list[str]]:
    """Frames that two splits share, and others that show one view."""
    shared, similar = [], []
    for (split, found), (other_split, other) in combinations(surveys.items(), 2):
        digests, other_digests = ([frame.digest for frame in each.seen] for each in (found, other))
        for index, other_index in same(digests, other_digests):
            shared.append(f"{_place(found, index, split)} is {_place(other, other_index, other_split)}")
        prints, other_prints = ([frame.fingerprint for frame in each.seen] for each in (found, other))
        for index, other_index in alike(prints, other_prints):
            if digests[index] != other_digests[other_index]:
                similar.append(
                    f"{_place(found, index, split)} is like {_place(other, other_index, other_split)}"
                )
    return shared, similar


def _split_recordings(surveys: dict[str, Survey]) -> Iterator[str]:
    splits: dict[str, list[str]] = {}
    for split, found in surveys.items():
        for recording in sorted(found.recordings):
            splits.setdefault(recording, []).append(split)
    for recording, among in splits.items():
        if len(among) > 1:
            yield f"{recording} is in {' and '.join(among)}"


def _place(found: Survey, index: int, split: str) -> str:
    return f"{found.seen[index].name} of {split}"


def _write_sheets(config: InspectConfig, data_set: DataSet, surveys: dict[str, Survey]) -> list[Path]:
    folder, sheets = Path(config.out), {}
    for split, found in surveys.items():
        if found.seen:
            sheet_bgr = contact_sheet(data_set.frames[split], [frame.index for frame in found.seen])
            file = folder / f"{re.sub(r'[^0-9A-Za-z_.-]', '_', split)}.png"
            sheets[file] = cv2.imencode(".png", sheet_bgr)[1].tobytes()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_outputs(sheets, overwrite=config.overwrite)
    except OSError as error:
        raise DataError(f"{folder}: the contact sheets cannot be written: {error.strerror}") from error
    return list(sheets)
