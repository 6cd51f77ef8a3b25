"""BDD100K as published: 1280x720 frames, three classes, and the recording in each frame's name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT
from train.data.decode import CLASS_IDS, ByColour, ByValue, DataError, Labels, is_in_colour
from train.data.frames import DataSet, Layout, recording_of_bdd_id
from train.data.pairs import frames_and_problems, match
from train.data.plausibility import OF_2018, readable, sky_class, spread

IMAGES: Final = Path("images", "100k")

_TAILS: Final = ("", "_drivable_id", "_drivable_color")
"""Suffix of a label's stem beyond its image's: none today, one of these in 2018."""

_IDS_OF_2018: Final = ByValue({0: BACKGROUND, 1: DIRECT, 2: ALTERNATIVE})
_COLOURS: Final = ByColour(
    {
        **{(219, 94, 86): DIRECT, (86, 211, 219): ALTERNATIVE},  # https://doc.bdd100k.com/format.html
        **{(217, 83, 79): DIRECT, (91, 192, 222): ALTERNATIVE},  # of 2018
        (0, 0, 0): BACKGROUND,
    }
)

_SEEN_AS: Final[dict[Labels, str]] = {
    CLASS_IDS: "read as 0 direct, 1 alternative, 2 background, which makes the sky background",
    _IDS_OF_2018: f"read as {OF_2018}, which makes the sky background",
    _COLOURS: "colour maps, read by the colours of BDD100K",
}

FOLDERS: Final[dict[Path, Labels]] = {
    Path("labels", "drivable", "masks"): CLASS_IDS,
    Path("drivable_maps", "labels"): _IDS_OF_2018,
    Path("labels", "drivable", "colormaps"): _COLOURS,
}
"""Label folders of today's release and that of 2018, and the published meaning of the values there."""


def read_bdd100k(root: Path) -> DataSet:
    """`images/100k/<split>/<id>.jpg` and `labels/drivable/masks/<split>/<id>.png`, in the official splits.

    Label values: 0 direct, 1 alternative, 2 background (https://doc.bdd100k.com/format.html). In the
    release of 2018, `drivable_maps/labels/<split>/<id>_drivable_id.png`, they are 1, 2 and 0. Without
    either, the colour maps in `labels/drivable/colormaps` serve as well. People copy labels of 2018 and
    colour maps into today's folder: the labels themselves show which they are, and a note reports it.

    Raises:
        DataError: if one of the folders is missing.
    """
    for labels, published in FOLDERS.items():
        if (root / IMAGES).is_dir() and (root / labels).is_dir():
            return _read(root, root / labels, published)
    raise DataError(f"{root}: has no {IMAGES}/ with {' or '.join(f'{labels}/' for labels in FOLDERS)}")


LAYOUT: Final = Layout(
    "images/100k/ and labels/drivable/masks/", [[IMAGES, labels] for labels in FOLDERS], read_bdd100k
)


def _read(root: Path, labels: Path, published: Labels) -> DataSet:
    labelled = sorted(folder.name for folder in labels.iterdir() if folder.is_dir())
    tail = _tail_of([labels / split for split in labelled])
    found = {
        split: match(root / IMAGES / split, labels / split, recording_of_bdd_id, tail) for split in labelled
    }
    unlabelled = sorted(
        folder.name for folder in (root / IMAGES).iterdir() if folder.is_dir() and folder.name not in labelled
    )
    notes = [f"{root / IMAGES / split}: left out, {labels / split} is not there" for split in unlabelled]
    values = _values_of([pair.label_file for pairs, _ in found.values() for pair in pairs]) or published
    if values is not published:
        notes.append(f"{labels}: {_SEEN_AS[values]}")
    return DataSet(root, *frames_and_problems(found, values.read), notes, is_numbered=True)


def _tail_of(folders: list[Path]) -> str:
    """The suffix that most labels have."""
    stems = [file.stem for folder in folders for file in folder.glob("*.png")]
    ends = [next((tail for tail in reversed(_TAILS) if stem.endswith(tail)), "") for stem in stems]
    return max(_TAILS, key=ends.count)


def _values_of(label_files: list[Path]) -> Labels | None:
    """The label reader that fits a sample of the labels; None if the sample does not decide."""
    if any(is_in_colour(label_files[index]) for index in spread(len(label_files))):
        return _COLOURS
    sky = sky_class(readable(lambda index: CLASS_IDS.read(label_files[index]), len(label_files)))
    return {DIRECT: _IDS_OF_2018, BACKGROUND: CLASS_IDS}.get(sky) if sky is not None else None
