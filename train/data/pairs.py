"""Frames stored as pairs of files, an image and a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.sources.images import IMAGE_SUFFIXES
from train.data.decode import DataError, read_image_bgr
from train.data.splits import SPLITS

Item = TypeVar("Item")
LabelledFrame = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""(H, W, 3) BGR image and (H, W) class map."""

ReadLabel = Callable[[Path], NDArray[np.uint8]]
"""Label file to (H, W) class map; raises DataError if it cannot be read as one."""


@dataclass(frozen=True)
class Pair:
    """One frame in two files."""

    name: str
    recording: str
    image_file: Path
    label_file: Path


class PairedFrames:
    """Frames that are decoded on access."""

    def __init__(
        self, pairs: Sequence[Pair], read_label: ReadLabel, *, scales_pictures: bool = False
    ) -> None:
        """`scales_pictures`: to the size of their labels, where they are smaller and of the same shape."""
        self.pairs = pairs
        self.read_label = read_label
        self.scales_pictures = scales_pictures

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> LabelledFrame:
        """Decode one frame.

        Raises:
            DataError: if a file does not decode, the sizes differ, or a label is no class.
        """
        pair = self.pairs[index]
        image_bgr, class_map = read_image_bgr(pair.image_file), self.read_label(pair.label_file)
        if image_bgr.shape[:2] != class_map.shape:
            (height, width), (image_height, image_width) = class_map.shape, image_bgr.shape[:2]
            if self.scales_pictures and image_width < width and image_height * width == image_width * height:
                larger = cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_CUBIC)
                return np.asarray(larger, np.uint8), class_map
            raise DataError(
                f"{pair.label_file}: is {width}x{height} pixels, its image {image_width}x{image_height}"
            )
        return image_bgr, class_map

    def name(self, index: int) -> str:
        """The stem of the image's file."""
        return self.pairs[index].name

    def recording(self, index: int) -> str:
        """As the data set names it."""
        return self.pairs[index].recording


@dataclass(frozen=True)
class Mismatch:
    """A file that has no partner, or whose stem another file has too."""

    stem: str
    line: str
    """The message about it, beginning with the file."""


Matched = tuple[list[Pair], list[Mismatch]]
"""The matches and mismatches of two folders."""


def match(images: Path, labels: Path, recording_of: Callable[[str], str], label_tail: str = "") -> Matched:
    """Pair the files of two folders by stem.

    Args:
        recording_of: stem to recording.
        label_tail: suffix that a label's stem has beyond its image's, such as `_L`.
    """
    image_files, mismatches = files_by_stem(images)
    label_files, label_mismatches = files_by_stem(labels, label_tail)
    mismatches += label_mismatches
    for stem, file in image_files.items():
        if stem not in label_files:
            mismatches.append(Mismatch(stem, f"{file}: has no label {labels / (stem + label_tail)}.png"))
    for stem, file in label_files.items():
        if stem not in image_files:
            mismatches.append(Mismatch(stem, f"{file}: has no image {stem} in {images}"))
    pairs = [
        Pair(stem, recording_of(stem), file, label_files[stem])
        for stem, file in image_files.items()
        if stem in label_files
    ]
    return pairs, mismatches


def files_by_stem(folder: Path, tail: str = "") -> tuple[dict[str, Path], list[Mismatch]]:
    """The images of a folder by their stem without `tail`, sorted; and those whose stem is taken.

    Files whose stem does not end in `tail` are skipped; a missing folder has no files.
    """
    found: dict[str, Path] = {}
    mismatches = []
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        is_image = file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        if not is_image or not file.stem.endswith(tail):
            continue
        stem = file.stem.removesuffix(tail)
        if stem in found:
            mismatches.append(Mismatch(stem, f"{file}: has the name of {found[stem].name} too; remove one"))
        else:
            found[stem] = file
    return found, mismatches


def share_out(found: Matched, split_of: Callable[[str], str]) -> dict[str, Matched]:
    """Distribute matches and mismatches over `SPLITS`; `split_of` maps a stem to its split."""
    pairs = by_split(found[0], lambda pair: split_of(pair.name))
    mismatches = by_split(found[1], lambda mismatch: split_of(mismatch.stem))
    return {split: (pairs.get(split, []), mismatches.get(split, [])) for split in SPLITS}


def frames_and_problems(
    found: Mapping[str, Matched], read_label: ReadLabel
) -> tuple[dict[str, PairedFrames], dict[str, list[str]]]:
    """By split: the frames, and a line for each file without a partner, as `DataSet` takes them."""
    frames = {split: PairedFrames(pairs, read_label) for split, (pairs, _) in found.items()}
    problems = {split: [alone.line for alone in mismatches] for split, (_, mismatches) in found.items()}
    return frames, problems


def by_split(items: Iterable[Item], split_of: Callable[[Item], str]) -> dict[str, list[Item]]:
    """Group the items by split, each group in their order."""
    splits: dict[str, list[Item]] = {}
    for item in items:
        splits.setdefault(split_of(item), []).append(item)
    return splits
