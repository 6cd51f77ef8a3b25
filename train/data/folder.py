"""Layout `folder`: images and masks of the same names, and a map from mask values to classes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml

from perception.cli_config.yaml_file import YamlError, compose_file
from perception.labels import IGNORE, LABELS
from train.data.decode import ByColour, ByValue, DataError, Labels, Rgb
from train.data.frames import DataSet, Layout
from train.data.pairs import frames_and_problems, match, share_out
from train.data.splits import SPLITS, split_by_name

IMAGES: Final = "images"
MASKS: Final = "masks"
LABEL_MAP: Final = "labels.yaml"

_CLASSES: Final = {name: label for label, name in enumerate(LABELS)} | {"ignore": IGNORE}
_COLOUR: Final = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
_EXAMPLE: Final = 'lines such as `7: direct` or `"#00ff00": direct`'


def read_folder(root: Path, label_map: Path | None = None) -> DataSet:
    """`images/` and `masks/` with files of the same stems, and `labels.yaml`, which maps each value.

    The map goes from grey values or from colours to direct, alternative, background and ignore:
    `{0: background, 7: direct, 8: alternative, 255: ignore}` or `{"#00ff00": direct, ...}`.

    If `train/`, `val/` and `test/` contain both folders, or both folders contain them, these are the
    splits. Otherwise recordings are split 80 : 10 : 10 by a hash of their names. A frame's recording is
    the part of its stem before the last `_` or `-`: `monday-2_000120` belongs to `monday-2`.

    Args:
        label_map: the map, if it is not `labels.yaml` in the folder.

    Raises:
        DataError: if a folder or the map is missing, the map cannot be used, or the splits are to be made
            by recording and a stem names none.
    """
    folders = _folders(root)
    if not folders:
        raise DataError(f"{root}: has no {IMAGES}/ with {MASKS}/")
    labels = read_label_map(label_map or root / LABEL_MAP)
    if list(folders) == [""]:
        return _shared_out(root, labels)
    found = {split: match(images, masks, recording_of_stem) for split, (images, masks) in folders.items()}
    notes = [
        f"{images}: left out: there is no {masks}" for images, masks in _places(root) if not masks.is_dir()
    ]
    return DataSet(root, *frames_and_problems(found, labels.read), notes)


LAYOUT: Final = Layout(
    "images/ and masks/",
    [[IMAGES, MASKS], *([Path(split, IMAGES), Path(split, MASKS)] for split in SPLITS)],
    read_folder,
)


def recording_of_stem(stem: str) -> str:
    """The part of a stem before its last `_` or `-`; the whole stem if it has neither."""
    return re.split(r"[_-](?=[^_-]*$)", stem)[0] or stem


def read_label_map(file: Path) -> Labels:
    """The label reader that a YAML map defines.

    Raises:
        DataError: naming the file, and the value that cannot be used.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such label map; it gives the class of each mask value, in {_EXAMPLE}")
    values: dict[int, int] = {}
    colours: dict[Rgb, int] = {}
    for value, name in _entries(file):
        if isinstance(value, str) and value in _CLASSES:
            raise DataError(f"{file}: {value}: {name} is the wrong way round: `{name}: {value}` is expected")
        if not isinstance(name, str) or name not in _CLASSES:
            raise DataError(f"{file}: {value}: {name} is not a class; known: {', '.join(_CLASSES)}")
        colour = _COLOUR.fullmatch(value) if isinstance(value, str) else None
        if colour:
            red, green, blue = (int(part, 16) for part in colour.groups())
            is_twice = (red, green, blue) in colours
            colours[red, green, blue] = _CLASSES[name]
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255:
            is_twice = value in values
            values[value] = _CLASSES[name]
        else:
            raise DataError(
                f"{file}: {value!r} is neither a value from 0 to 255 nor a colour such as '#00ff00'"
            )
        if is_twice:
            raise DataError(f"{file}: {value} occurs twice; keep one line for it")
    if values and colours:
        raise DataError(f"{file}: has values and colours; masks have one or the other")
    return ByColour(colours) if colours else ByValue(values)


def _entries(file: Path) -> list[tuple[Any, Any]]:
    """The keys and values of a YAML mapping, repeated keys included."""
    try:
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        entries = loader.construct_pairs(node, deep=True) if isinstance(node, yaml.MappingNode) else []
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file}: not readable as YAML: {_why_not(file)}") from error
    if not entries:
        raise DataError(f"{file}: expected {_EXAMPLE} (a colour needs its quotes)")
    return entries


def _why_not(file: Path) -> str:
    """Why a file is not valid YAML, in our words."""
    try:
        compose_file(file)
    except YamlError as error:
        return str(error)
    return "it holds an invalid value"


def _folders(root: Path) -> dict[str, tuple[Path, Path]]:
    """Images and masks by split; by "" if they are not split."""
    split_up = {
        images.name if images.name in SPLITS else images.parent.name: (images, masks)
        for images, masks in _places(root)
        if masks.is_dir()
    }
    whole = root / IMAGES, root / MASKS
    return split_up or ({"": whole} if whole[0].is_dir() and whole[1].is_dir() else {})


def _places(root: Path) -> list[tuple[Path, Path]]:
    """The image folders of splits that exist, and where their masks belong."""
    places = [
        place
        for split in SPLITS
        for place in (
            (root / split / IMAGES, root / split / MASKS),
            (root / IMAGES / split, root / MASKS / split),
        )
    ]
    return [(images, masks) for images, masks in places if images.is_dir()]


def _shared_out(root: Path, labels: Labels) -> DataSet:
    pairs, mismatches = match(root / IMAGES, root / MASKS, recording_of_stem)
    for pair in pairs:
        if pair.recording == pair.name:
            raise DataError(
                f"{pair.image_file}: the name gives no recording (RECORDING_NUMBER would), and frames are not"
                " split at random; rename the files, or sort them into train/, val/ and test/"
            )
    found = share_out((pairs, mismatches), lambda stem: split_by_name(recording_of_stem(stem)))
    counts = {split: len({pair.recording for pair in pairs}) for split, (pairs, _) in found.items()}
    note = ", ".join(f"{split} has {count}" for split, count in counts.items())
    notes = [f"{root}: its recordings are split by their names' hash: {note}"]
    return DataSet(root, *frames_and_problems(found, labels.read), notes)
