"""BDD100K as it is published: 1280x720 frames, three classes, and the recording in the name of each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT
from train.data.decode import CLASS_IDS, ByValue, DataError, Labels
from train.data.frames import DataSet, recording_of_bdd_id
from train.data.pairs import frames_and_problems, match

IMAGES: Final = Path("images", "100k")

# Folder, what a label's stem has beyond its image's, and what its values mean: the first release, of
# 2018, counted otherwise than the masks of today.
_RELEASES: Final[list[tuple[Path, str, Labels]]] = [
    (Path("labels", "drivable", "masks"), "", CLASS_IDS),
    (
        Path("drivable_maps", "labels"),
        "_drivable_id",
        ByValue({0: BACKGROUND, 1: DIRECT, 2: ALTERNATIVE}),
    ),
]


def is_bdd100k(root: Path) -> bool:
    """Whether the folders of one of the releases lie there."""
    return (root / IMAGES).is_dir() and any((root / labels).is_dir() for labels, _, _ in _RELEASES)


def read_bdd100k(root: Path) -> DataSet:
    """`images/100k/<split>/<id>.jpg` and `labels/drivable/masks/<split>/<id>.png`, in the official splits.

    Label values: 0 direct, 1 alternative, 2 background (https://doc.bdd100k.com/format.html). In the
    release of 2018, `drivable_maps/labels/<split>/<id>_drivable_id.png`, they are 1, 2 and 0.

    Raises:
        DataError: if one of the folders is missing.
    """
    for labels, tail, values in _RELEASES:
        if (root / IMAGES).is_dir() and (root / labels).is_dir():
            return _read(root, root / labels, tail, values)
    raise DataError(
        f"{root}: has no {IMAGES}/ with {' or '.join(f'{labels}/' for labels, _, _ in _RELEASES)}"
    )


def _read(root: Path, labels: Path, tail: str, values: Labels) -> DataSet:
    labelled = sorted(folder.name for folder in labels.iterdir() if folder.is_dir())
    found = {
        split: match(root / IMAGES / split, labels / split, recording_of_bdd_id, tail) for split in labelled
    }
    unlabelled = sorted(
        folder.name for folder in (root / IMAGES).iterdir() if folder.is_dir() and folder.name not in labelled
    )
    notes = [f"{root / IMAGES / split}: left out, {labels / split} is not there" for split in unlabelled]
    return DataSet(root, *frames_and_problems(found, values.read), notes)
