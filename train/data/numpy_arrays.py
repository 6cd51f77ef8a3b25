"""BDD100K's first 3,000 frames as two NumPy arrays, the training data of the published study."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.data.decode import CLASS_IDS, DataError
from train.data.frames import DataSet, Layout
from train.data.pairs import LabelledFrame
from train.data.splits import block_at, split_by_place

IMAGE_FILE: Final = "image_180_320.npy"
LABEL_FILE: Final = "label_180_320.npy"
_SHARES: Final = {"train": 0.7, "val": 0.2, "test": 0.1}  # the study's


class ArrayFrames:
    """A range of the arrays' frames, read from disk on access."""

    def __init__(self, root: Path, indices: range) -> None:
        self.root = root
        self.indices = indices
        self._images_rgb, self._labels = _open(root)

    def __reduce__(self) -> tuple[type[ArrayFrames], tuple[Path, range]]:
        # Another process maps the files itself: pickling the arrays would copy them.
        return ArrayFrames, (self.root, self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> LabelledFrame:
        """One frame.

        Raises:
            DataError: if a label is no class.
        """
        frame = self.indices[index]
        image_bgr = np.ascontiguousarray(self._images_rgb[frame, :, :, ::-1])
        label = np.asarray(self._labels[frame])
        where = f"{self.root / LABEL_FILE}, frame {frame}"
        outside = label[(label < 0) | (label > 255)]
        if outside.size:
            raise DataError(f"{where}: label {outside[0]} is no class")
        return image_bgr, CLASS_IDS.of(label.astype(np.uint8), where)

    def name(self, index: int) -> str:
        """`frame 12`: the arrays have no names."""
        return f"frame {self.indices[index]}"

    def recording(self, index: int) -> str:
        """Its block of ten frames: the arrays do not give the recordings."""
        return block_at(self.indices[index])


def read_numpy_arrays(root: Path) -> DataSet:
    """`image_180_320.npy`, (N, 180, 320, 3) uint8 RGB, and `label_180_320.npy`, (N, 180, 320).

    Label values: 0 direct, 1 alternative, 2 background, as the arrays' README states. Recordings are not
    named, so the splits are contiguous: the first 70 % are train, the next 20 % val, the last 10 % test.
    The study drew splits of these sizes at random.

    Raises:
        DataError: if an array is missing, cannot be read, or has another shape.
    """
    images_rgb, _ = _open(root)
    places = split_by_place(len(images_rgb), _SHARES)
    note = (
        f"{root / IMAGE_FILE}: names no recordings, so each split is a contiguous part of it"
        " and ten frames in a row count as one recording"
    )
    return DataSet(
        root,
        {split: ArrayFrames(root, part) for split, part in places.items()},
        notes=[note],
        is_numbered=True,
    )


LAYOUT: Final = Layout(f"{IMAGE_FILE} and {LABEL_FILE}", [[IMAGE_FILE, LABEL_FILE]], read_numpy_arrays)


def _open(root: Path) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    images_rgb, labels = _map(root / IMAGE_FILE), _map(root / LABEL_FILE)
    if images_rgb.ndim != 4 or images_rgb.shape[3] != 3 or images_rgb.dtype != np.uint8:
        raise DataError(
            f"{root / IMAGE_FILE}: is {images_rgb.dtype} of shape {images_rgb.shape};"
            " uint8 of (frames, height, width, 3) is expected"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images_rgb.shape[:3]:
        raise DataError(
            f"{root / LABEL_FILE}: is {labels.dtype} of shape {labels.shape};"
            f" whole numbers of shape {images_rgb.shape[:3]} are expected, to match {IMAGE_FILE}"
        )
    return images_rgb, labels


def _map(file: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file; this layout is {IMAGE_FILE} and {LABEL_FILE}") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{file}: cannot be read as a NumPy array: it is damaged, or holds Python objects"
        ) from error
    return array
