"""Reads image and label files; an error names the file and what is wrong with it, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.mask_png import with_ids
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, IGNORE
from perception.sources.decoding import image_file
from perception.sources.decoding.image_file import whole_png
from perception.sources.decoding.image_size import JPEG, MAX_PIXELS, PNG, check_pixels, image_wh
from perception.sources.source import SourceError

Rgb = tuple[int, int, int]

_NO_CLASS: Final = 254


class DataError(ValueError):
    """A data set cannot be used; the message names the file and what is wrong with it."""


def read_image_bgr(file: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR, read by the node's own decoder.

    Raises:
        DataError: if it does not decode.
    """
    try:
        return image_file.read_image_bgr(file)
    except SourceError as error:
        raise DataError(str(error)) from error


class ByValue:
    """Labels that encode the class as the value of a pixel."""

    def __init__(self, classes: Mapping[int, int]) -> None:
        """`classes`: label value (0 to 255) to class id or `IGNORE`."""
        self.classes = dict(classes)
        self._table = np.full(256, _NO_CLASS, np.uint8)
        self._table[list(self.classes)] = list(self.classes.values())

    def read(self, file: Path) -> NDArray[np.uint8]:
        """(H, W) class map of a label file.

        Raises:
            DataError: if it does not decode, is not 8-bit grey, or has a value without a class.
        """
        label = _read_as_it_is(file)
        if _has_colours(label):
            raise DataError(
                f"{file}: is in colour, but its classes are expected as grey values 0 to 255"
                " (save an image with a palette as greyscale)"
            )
        if label.ndim == 3:
            label = label[:, :, 0]
        if label.dtype != np.uint8:
            raise DataError(f"{file}: has {8 * label.dtype.itemsize} bits a pixel; labels need 8")
        return self.of(np.ascontiguousarray(label), str(file))

    def of(self, label: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        """(H, W) class map of (H, W) label values; `where` begins the message of a DataError."""
        class_map = np.asarray(cv2.LUT(label, self._table), np.uint8)
        wrong = label[class_map == _NO_CLASS]
        if wrong.size:
            known = ", ".join(map(str, sorted(self.classes)))
            raise DataError(f"{where}: label {wrong[0]} is not one of {known}")
        return class_map


class ByColour:
    """Labels that encode the class as the colour of a pixel."""

    def __init__(self, classes: Mapping[Rgb, int]) -> None:
        """`classes`: colour to class id or `IGNORE`."""
        by_code = sorted(
            (red << 16 | green << 8 | blue, found) for (red, green, blue), found in classes.items()
        )
        self._codes = np.array([code for code, _ in by_code], np.int32)
        self._classes = np.array([found for _, found in by_code], np.uint8)

    def read(self, file: Path) -> NDArray[np.uint8]:
        """(H, W) class map of a label file.

        Raises:
            DataError: if it does not decode, or has a colour without a class.
        """
        _refuse_jpeg(file, _read(file, 2))
        label_bgr = read_image_bgr(file).astype(np.int32)
        codes = label_bgr[:, :, 2] << 16 | label_bgr[:, :, 1] << 8 | label_bgr[:, :, 0]
        nearest = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        wrong = codes[self._codes[nearest] != codes]
        if wrong.size:
            raise DataError(f"{file}: the colour #{wrong[0]:06x} is not a class of this data set")
        return self._classes[nearest]


Labels = ByValue | ByColour

CLASS_IDS: Final = ByValue({DIRECT: DIRECT, ALTERNATIVE: ALTERNATIVE, BACKGROUND: BACKGROUND, IGNORE: IGNORE})
"""Our own: the value is the class."""


def is_in_colour(file: Path) -> bool:
    """Whether a label encodes its classes as colours; False if it cannot be read."""
    try:
        return _has_colours(_read_as_it_is(file))
    except DataError:
        return False


def _has_colours(label: NDArray[np.generic]) -> bool:
    """OpenCV gives a palette's colours, not its indices; three equal channels are grey, with alpha too."""
    return label.ndim == 3 and bool((label[:, :, 1:3] != label[:, :, :1]).any())


def _read_as_it_is(file: Path) -> NDArray[np.generic]:
    """(H, W) or (H, W, channels) pixels of any depth; of the node's masks with a palette the ids.

    Raises:
        DataError: for a JPEG, a truncated or damaged PNG, and what does not decode.
    """
    content, label = _read(file), None
    _refuse_jpeg(file, content)
    try:
        if content.startswith(PNG):
            content = with_ids(whole_png(content, str(file)))
        if (wh := image_wh(content)) is not None:
            check_pixels(wh, MAX_PIXELS, str(file))
            label = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except SourceError as error:
        raise DataError(str(error)) from error
    except cv2.error:
        pass
    if label is None:
        raise DataError(f"{file}: is corrupt, or not a readable image")
    return label


def _read(file: Path, bytes_wanted: int = -1) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(bytes_wanted)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error


def _refuse_jpeg(file: Path, content: bytes) -> None:
    if content.startswith(JPEG):
        raise DataError(f"{file}: is a JPEG, which blurs the borders of classes; labels must be PNG")
