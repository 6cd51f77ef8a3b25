"""Registry of data-set layouts, and the functions that open a data set of any of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from train.data import bdd100k, camvid, folder, frames, kitti_road, numpy_arrays
from train.data.decode import DataError
from train.data.frames import DataSet, LabelledFrames, Layout

LAYOUTS: Final[dict[str, Layout]] = {
    "indexed": frames.LAYOUT,
    "bdd100k": bdd100k.LAYOUT,
    "numpy": numpy_arrays.LAYOUT,
    "camvid": camvid.LAYOUT,
    "kitti_road": kitti_road.LAYOUT,
    "folder": folder.LAYOUT,
}
AUTO: Final = "auto"


def open_frames(
    root: str | Path, split: str, layout: str = AUTO, label_map: str | Path | None = None
) -> LabelledFrames:
    """The labelled frames of one split.

    Args:
        root: folder of the data set.
        split: such as train, val or test; no two share a recording.
        layout: a name in `LAYOUTS`, or auto to recognise it by the folder's contents.
        label_map: YAML with the class of each value; only for layout folder.

    Raises:
        DataError: if there is no such data set, layout or split, or its files do not match.
    """
    return read_data_set(root, layout, label_map).open(split)


def read_data_set(root: str | Path, layout: str = AUTO, label_map: str | Path | None = None) -> DataSet:
    """All splits of a data set, with the problems that file names show.

    Raises:
        DataError: if there is no such data set or layout, or nothing in it can be used.
    """
    root, name = Path(root), recognise(root, layout)
    if not label_map:
        return LAYOUTS[name].read(root)
    if name != "folder":
        raise DataError(f"{label_map}: a label map is for the layout folder, and {root} is read as {name}")
    return folder.read_folder(root, Path(label_map))


def recognise(root: str | Path, layout: str = AUTO) -> str:
    """The layout to read a folder as: the requested one, or the first that the folder looks like.

    Raises:
        DataError: if there is no such folder or layout, or the folder looks like none of the layouts.
    """
    root = Path(root)
    if root.is_file():
        raise DataError(
            f"{root}: is a file; the folder of a data set is expected (archives have to be unpacked)"
        )
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if layout in LAYOUTS:
        return layout
    if layout != AUTO:
        raise DataError(f"{layout}: no such layout; known: {', '.join([AUTO, *LAYOUTS])}")
    if found := _looks_like(root):
        return found
    looked_for = "; ".join(f"{known.looks_like} ({name})" for name, known in LAYOUTS.items())
    raise DataError(f"{root}: looks like no known data set{_hint(root)}; looked for {looked_for}")


def _looks_like(root: Path) -> str | None:
    return next((name for name, known in LAYOUTS.items() if known.is_at(root)), None)


def _hint(root: Path) -> str:
    """A guess at what was meant, if there is one."""
    if (root / bdd100k.IMAGES).is_dir():
        return (
            f"; {root / bdd100k.IMAGES}/ has no masks beside it (BDD100K's download Drivable Area has them)"
        )
    if not any(root.iterdir()):
        return "; it is empty"
    inside = (place for place in sorted(root.iterdir()) if place.is_dir())
    for place in (*inside, *root.resolve().parents[:3]):
        if found := _looks_like(place):
            return f", but {place} does ({found})"
    return ""
