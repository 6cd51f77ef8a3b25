"""`drivable-train subset`: copies the frames of a list of ids, in the list's splits, as a data set."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2

from perception.cli_config import parse, shipped_config
from perception.system.atomic_file import write_atomically
from perception.system.process import tune_process
from train.data.decode import DataError
from train.data.frames import INDEX_FILE, LabelledFrames, rows_of_index
from train.data.layouts import AUTO, read_data_set

JPEG_QUALITY: Final = 95
MISSING_NAMED: Final = 3
"""Missing ids that the error lists."""


@dataclass(frozen=True)
class SubsetConfig:
    """Settings of `drivable-train subset`."""

    data: str
    """Folder of the data set to copy from, such as the whole of BDD100K."""
    ids: str
    """CSV with the columns id and split; or data/bdd100k_drivable, the frames of the shipped networks."""
    out: str
    """Folder for the frames and their index; it must be empty or not exist."""
    layout: str = AUTO
    """Layout of the data set; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""
    size_wh: tuple[int, int] | None = None
    """Width and height to resize frames and labels to; without one they keep theirs."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.size_wh is not None and min(self.size_wh) < 1:
            raise ValueError(f"size_wh is {self.size_wh}; both sides must be above 0")


def run(arguments: list[str], say: Callable[[str], None]) -> None:
    """Write the frames of the list, and an index with all columns of the list: layout `indexed`.

    Raises:
        SettingsError: if the arguments cannot be used.
        DataError: if the list or the data set cannot be read, a frame of the list is missing or does not
            decode, or the folder is in use. The index is written last: without it the copy is incomplete.
    """
    config = parse(SubsetConfig, "drivable-train subset", "Copy frames of a list as a data set.", arguments)
    tune_process()
    rows = rows_of_index(shipped_config(config.ids, ".csv") or Path(config.ids))
    out = Path(config.out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out}: is not empty; name a folder that is empty or does not exist")
    places = _places(config)
    ids = Counter(row["id"] for row in rows)
    if len(ids) < len(rows):
        raise DataError(f"{config.ids}: names {ids.most_common(1)[0][0]} more than once")
    missing = [row["id"] for row in rows if row["id"] not in places]
    if missing:
        others = f" and {len(missing) - MISSING_NAMED} more" if len(missing) > MISSING_NAMED else ""
        raise DataError(
            f"{config.data}: {len(missing)} of {len(rows)} frames are not there with image and label: "
            f"{', '.join(missing[:MISSING_NAMED])}{others}"
        )
    folders = [out / "images", out / "labels"]
    with ExitStack() as undo:  # on an error, so that the command can be repeated
        for made in folders if out.exists() else [out]:
            undo.callback(shutil.rmtree, made, ignore_errors=True)
        for folder in folders:
            folder.mkdir(parents=True)
        for row in rows:
            frames, index = places[row["id"]]
            _write(out, row["id"], frames, index, config.size_wh)
        write_atomically(out / INDEX_FILE, _index(rows))
        undo.pop_all()
    say(f"{out}: {len(rows)} frames")


def _places(config: SubsetConfig) -> dict[str, tuple[LabelledFrames, int]]:
    """Each frame of the data set by name, in whatever split it is there: its frame set and index."""
    data_set = read_data_set(config.data, config.layout, config.label_map)
    return {
        frames.name(index): (frames, index)
        for frames in data_set.frames.values()
        for index in range(len(frames))
    }


def _write(
    out: Path, frame_id: str, frames: LabelledFrames, index: int, size_wh: tuple[int, int] | None
) -> None:
    image_bgr, class_map = frames[index]
    wh = size_wh or (image_bgr.shape[1], image_bgr.shape[0])
    resized_bgr = cv2.resize(image_bgr, wh, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", resized_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    png = cv2.imencode(".png", cv2.resize(class_map, wh, interpolation=cv2.INTER_NEAREST))[1]
    for file, content in (
        (out / "images" / f"{frame_id}.jpg", jpeg),
        (out / "labels" / f"{frame_id}.png", png),
    ):
        write_atomically(file, content.tobytes(), waits_for_disk=False)


def _index(rows: Sequence[Mapping[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
