"""`drivable-train subset`: chosen frames of a data set as a smaller one, in the splits of a list of ids."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2

from perception.cli.command import say
from perception.cli_config import parse, shipped_config
from perception.system.atomic_file import write_atomically
from perception.system.process import tune_process
from perception.system.redaction import redacted
from train.data.decode import DataError
from train.data.frames import INDEX_FILE, LabelledFrames, rows_of_index
from train.data.layouts import AUTO, read_data_set

JPEG_QUALITY: Final = 95
NAMED: Final = 3
"""Of the ids that are missing."""


@dataclass(frozen=True)
class SubsetConfig:
    """Which frames, from where, and where to."""

    data: str
    """Folder of the data set that has the frames, such as the whole of BDD100K."""
    ids: str
    """CSV with the columns id and split; or data/bdd100k_drivable, what the shipped networks saw."""
    out: str
    """Folder for the frames and their index; it must be empty or not there."""
    layout: str = AUTO
    """How the data set is laid out; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""
    size_wh: tuple[int, int] | None = None
    """Width and height to bring frames and labels to; without one they stay as they are."""

    def __post_init__(self) -> None:
        """Refuse a size that no frame can have; raises ValueError."""
        if self.size_wh is not None and min(self.size_wh) < 1:
            raise ValueError(f"size_wh is {self.size_wh}; both sides must be above 0")


def main(arguments: list[str]) -> int:
    """Run the command; 0 when every frame of the list was written."""
    try:
        config = parse(SubsetConfig, "drivable-train subset", "Chosen frames as a data set.", arguments)
        subset(config, lambda line: print(redacted(line), flush=True))
    except ValueError as error:  # what settings and data raise are such
        say(f"drivable-train: {error}")
        return 1
    return 0


def subset(config: SubsetConfig, say: Callable[[str], None] = print) -> None:
    """Write the frames of the list, and an index with all columns of the list: layout `indexed`.

    Raises:
        DataError: if the list or the data set cannot be read, a frame of the list is not there or does not
            decode, or the folder is in use. The index is written last: without it nothing is complete.
    """
    tune_process()
    rows = rows_of_index(shipped_config(config.ids, ".csv") or Path(config.ids))
    out = Path(config.out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out}: is in use; name a folder that is empty or not there")
    places = _places(config)
    ids = Counter(row["id"] for row in rows)
    if len(ids) < len(rows):
        raise DataError(f"{config.ids}: names {ids.most_common(1)[0][0]} more than once")
    missing = [row["id"] for row in rows if row["id"] not in places]
    if missing:
        others = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise DataError(
            f"{config.data}: {len(missing)} of {len(rows)} frames are not there with image and label: "
            f"{', '.join(missing[:NAMED])}{others}"
        )
    with _gone_if_it_fails(out):
        for folder in (out / "images", out / "labels"):
            folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            frames, index = places[row["id"]]
            _write(out, row["id"], frames, index, config.size_wh)
        write_atomically(out / INDEX_FILE, _index(rows))
    say(f"{out}: {len(rows)} frames")


@contextmanager
def _gone_if_it_fails(out: Path) -> Iterator[None]:
    """What was written to it goes again: the command can be repeated. It was empty, or not there."""
    was_there = out.exists()
    try:
        yield
    except BaseException:
        for folder in (out / "images", out / "labels"):
            shutil.rmtree(folder, ignore_errors=True)
        if not was_there:
            with suppress(OSError):
                out.rmdir()
        raise


def _places(config: SubsetConfig) -> dict[str, tuple[LabelledFrames, int]]:
    """Where each frame of the data set is, by its name, whatever split it has there."""

    def found() -> Iterator[tuple[str, tuple[LabelledFrames, int]]]:
        for frames in read_data_set(config.data, config.layout, config.label_map).frames.values():
            for index in range(len(frames)):
                yield frames.name(index), (frames, index)

    return dict(found())


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
