"""CamVid: 701 frames of four drives through Cambridge, labelled as road and other classes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from perception.labels import BACKGROUND, DIRECT, IGNORE
from train.data.decode import ByColour, ByValue, DataError, Labels
from train.data.frames import DataSet, Layout
from train.data.pairs import Mismatch, Pair, frames_and_problems, match, share_out
from train.data.splits import SPLITS

# The four recordings, and their splits here.
RECORDINGS: Final = {"0001TP": "train", "0016E5": "train", "0006R0": "val", "Seq05VD": "test"}

# Class ids of the copy published with SegNet: sky, building, pole, road (with its markings),
# pavement, tree, sign, fence, car, pedestrian, bicyclist, and 11 for unlabelled.
_ROAD_ID, _VOID_ID = 3, 11
_BY_ID: Final = ByValue(dict.fromkeys(range(12), BACKGROUND) | {_ROAD_ID: DIRECT, _VOID_ID: IGNORE})

_ROAD_RGB: Final = {
    "Road": (128, 64, 128),
    "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64),
}
_VOID_RGB: Final = (0, 0, 0)
_OTHER_RGB: Final = {
    "Animal": (64, 128, 64),
    "Archway": (192, 0, 128),
    "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64),
    "Building": (128, 0, 0),
    "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192),
    "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128),
    "Misc_Text": (128, 128, 64),
    "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64),
    "ParkingBlock": (64, 192, 128),
    "Pedestrian": (64, 64, 0),
    "RoadShoulder": (128, 128, 192),
    "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128),
    "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64),
    "TrafficLight": (0, 64, 64),
    "Train": (192, 64, 128),
    "Tree": (128, 128, 0),
    "Truck_Bus": (192, 128, 192),
    "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0),
    "Wall": (64, 192, 0),
}
_BY_COLOUR: Final = ByColour(
    dict.fromkeys(_OTHER_RGB.values(), BACKGROUND)
    | dict.fromkeys(_ROAD_RGB.values(), DIRECT)
    | {_VOID_RGB: IGNORE}
)

# Folders of images and labels, suffix of a label's stem beyond its image's, and meaning of its pixels.
_COPIES: Final[list[tuple[list[tuple[str, str]], str, Labels]]] = [
    ([(split, f"{split}annot") for split in SPLITS], "", _BY_ID),
    ([(split, f"{split}_labels") for split in SPLITS], "_L", _BY_COLOUR),
    ([("701_StillsRaw_full", "LabeledApproved_full")], "_L", _BY_COLOUR),
]


def _folders(root: Path, names: list[tuple[str, str]]) -> list[tuple[Path, Path]]:
    """The pairs of folders of a copy that exist."""
    folders = [(root / images, root / labels) for images, labels in names]
    return [(images, labels) for images, labels in folders if images.is_dir() and labels.is_dir()]


def read_camvid(root: Path) -> DataSet:
    """`train/` and `trainannot/` of class ids (and val, test), or the original 960x720 with colour labels.

    Colour labels lie in `LabeledApproved_full/<id>_L.png` beside `701_StillsRaw_full/`, or in
    `train_labels/` beside `train/`. CamVid labels no lanes: road and its markings become direct, void
    becomes `IGNORE`, everything else background. A network trained on this alone cannot distinguish its
    own lane from the next.

    The published splits share recordings: 0001TP is in train and test, 0016E5 in train and val. So all
    frames are pooled and split by recording, and results do not compare with papers on CamVid.

    Raises:
        DataError: if none of the copies is there, or a file belongs to no CamVid recording.
    """
    for names, tail, labels in _COPIES:
        folders = _folders(root, names)
        if folders:
            return _read(root, folders, tail, labels)
    raise DataError(f"{root}: has none of the folders of CamVid, such as train/ with trainannot/")


LAYOUT: Final = Layout(
    "train/ and trainannot/, or 701_StillsRaw_full/",
    [pair for folders, _, _ in _COPIES for pair in folders],
    read_camvid,
)


def _read(root: Path, folders: list[tuple[Path, Path]], tail: str, labels: Labels) -> DataSet:
    pairs: list[Pair] = []
    mismatches: list[Mismatch] = []
    for images, label_folder in folders:
        found, alone = match(images, label_folder, _recording_of, tail)
        pairs += found
        mismatches += alone
    for stem in [pair.name for pair in pairs] + [mismatch.stem for mismatch in mismatches]:
        if _recording_of(stem) not in RECORDINGS:
            raise DataError(f"{root}: {stem} is of none of CamVid's recordings {', '.join(RECORDINGS)}")
    shared = share_out((pairs, mismatches), lambda stem: RECORDINGS[_recording_of(stem)])
    split_of = ", ".join(f"{recording} is {split}" for recording, split in RECORDINGS.items())
    notes = [f"{root}: split by recording, not as published: {split_of}"]
    return DataSet(root, *frames_and_problems(shared, labels.read), notes)


def _recording_of(stem: str) -> str:
    return stem.partition("_")[0]
