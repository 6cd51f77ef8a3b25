"""KITTI road: the frames with labels of the ego lane."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, IGNORE
from train.data.decode import ByColour, DataError
from train.data.frames import DataSet, LabelledFrames, Layout
from train.data.pairs import Pair, PairedFrames, files_by_stem
from train.data.splits import block_at, split_by_place

IMAGES: Final = Path("training", "image_2")
LABELS: Final = Path("training", "gt_image_2")
_WITH_LANES: Final = "um_"  # urban, two-way with marked lanes

_MAGENTA, _RED, _BLACK = (255, 0, 255), (255, 0, 0), (0, 0, 0)
_ROAD: Final = ByColour({_MAGENTA: ALTERNATIVE, _RED: BACKGROUND, _BLACK: IGNORE})
_LANE: Final = ByColour({_MAGENTA: DIRECT, _RED: BACKGROUND, _BLACK: IGNORE})


def read_kitti_road(root: Path) -> DataSet:
    """`training/image_2/um_<n>.png`, with `um_road_<n>.png` and `um_lane_<n>.png` in `gt_image_2/`.

    Magenta is road, or in the lane's file the ego lane; red is neither; black is not labelled. The own
    lane becomes direct, other road alternative, red background, black `IGNORE`. Frames named uu_ (no
    markings) and umm_ (several lanes) have no lane labels, so direct and alternative cannot be
    distinguished: they are left out.

    The names give no recordings, so the splits are contiguous: the first 80 % are train, then val, then
    test.

    Raises:
        DataError: if one of the two folders is missing.
    """
    if not LAYOUT.is_at(root):
        raise DataError(f"{root}: has no {IMAGES}/ with {LABELS}/")
    image_files, twins = files_by_stem(root / IMAGES)
    label_files, more_twins = files_by_stem(root / LABELS)
    with_lanes = [file for stem, file in image_files.items() if stem.startswith(_WITH_LANES)]
    frames: dict[str, LabelledFrames] = {}
    problems: dict[str, list[str]] = {}
    for split, part in split_by_place(len(with_lanes)).items():
        pairs: list[Pair] = []
        problems[split] = []
        for index in part:
            image, (lane, road) = with_lanes[index], _label_stems(with_lanes[index].stem)
            missing = [stem for stem in (lane, road) if label_files.pop(stem, None) is None]
            problems[split] += [f"{image}: has no label {root / LABELS / stem}.png" for stem in missing]
            if not missing:
                pairs.append(Pair(image.stem, block_at(index), image, root / LABELS / f"{lane}.png"))
        frames[split] = PairedFrames(pairs, read_lane_and_road)
    alone = [mismatch.line for mismatch in twins + more_twins]
    alone += [
        f"{file}: has no image in {root / IMAGES}"
        for stem, file in label_files.items()
        if stem.startswith(_WITH_LANES)
    ]
    if alone:  # their split is unknown
        problems["train"] = [*problems.get("train", []), *alone]
        frames.setdefault("train", PairedFrames([], read_lane_and_road))
    notes = [
        f"{root / IMAGES}: names no recordings, so each split is a contiguous part of it"
        " and ten frames in a row count as one recording",
        f"{root / IMAGES}: {len(image_files) - len(with_lanes)} frames left out: they have no label of the"
        " ego lane (uu and umm)",
    ]
    return DataSet(root, frames, problems, notes)


LAYOUT: Final = Layout("training/image_2/ and training/gt_image_2/", [[IMAGES, LABELS]], read_kitti_road)


def read_lane_and_road(lane_file: Path) -> NDArray[np.uint8]:
    """(H, W) class map of a `um_lane_<n>.png` and the `um_road_<n>.png` beside it.

    Raises:
        DataError: if one does not decode or has another colour, or their sizes differ.
    """
    road_file = lane_file.with_name(lane_file.name.replace("_lane_", "_road_"))
    lane, road = _LANE.read(lane_file), _ROAD.read(road_file)
    if lane.shape != road.shape:
        (height, width), (road_height, road_width) = lane.shape, road.shape
        raise DataError(
            f"{lane_file}: is {width}x{height} pixels, {road_file.name} {road_width}x{road_height}"
        )
    return np.where(lane == DIRECT, lane, road)


def _label_stems(stem: str) -> tuple[str, str]:
    """`um_000000` to `um_lane_000000` and `um_road_000000`."""
    return stem.replace("_", "_lane_", 1), stem.replace("_", "_road_", 1)
