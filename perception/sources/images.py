"""Still images: a folder, a glob or one file, in the order a person would count them."""

from __future__ import annotations

import glob
import re
import time
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame
from perception.sources.image_size import MAX_PIXELS, check_pixels, image_wh
from perception.sources.source import EndOfSource, SourceError, SourceInfo

IMAGE_SUFFIXES: Final = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class ImagesSource:
    """Images as a recording with a fixed rate; every frame is named after its file.

    Args:
        pattern: a folder, a glob such as `trip/*.png`, or one image.
        rate_hz: images per second of the frames' own time.
        max_pixels: a larger image is refused before it is decoded.
    """

    def __init__(self, pattern: str, rate_hz: float = 10.0, max_pixels: int = MAX_PIXELS) -> None:
        self._pattern, self._max_pixels = pattern, max_pixels
        self._rate_hz = rate_hz
        self._files: list[Path] = []
        self._next_id = 0

    def open(self) -> SourceInfo:
        """List the images and decode the first one."""
        self._files, self._next_id = _images_of(self._pattern), 0
        height, width = read_image_bgr(self._files[0], self._max_pixels).shape[:2]
        description = f"{len(self._files)} images"
        return SourceInfo(self._pattern, False, (width, height), self._rate_hz, description)

    def read(self) -> Frame:
        """The next image; a corrupt one raises SourceError with its name."""
        if self._next_id >= len(self._files):
            raise EndOfSource
        frame_id, file = self._next_id, self._files[self._next_id]
        self._next_id += 1
        return Frame(
            source_id=self._pattern,
            frame_id=frame_id,
            captured_ns=time.monotonic_ns(),
            time_ns=round(frame_id * 1e9 / self._rate_hz),
            pixels=read_image_bgr(file, self._max_pixels),
            name=file.stem,
        )

    def close(self) -> None:
        """Forget the list."""
        self._files = []


def read_image_bgr(file: Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR of an image file, upright by its EXIF orientation.

    Grey becomes three equal channels, alpha is dropped, 16 bits become 8 by a fixed scale.

    Raises:
        SourceError: if it cannot be read or decoded, is larger than `max_pixels`, or holds floats, which have
            no fixed scale.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error
    wh = image_wh(content)
    if wh is None:
        raise SourceError(f"{file}: is corrupt, or not an image that can be read")
    check_pixels(wh, max_pixels, str(file))
    data = np.frombuffer(content, np.uint8)
    # not IMREAD_UNCHANGED: it leaves EXIF aside, and alpha and grey as they are
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        image = None
    if image is None:
        raise SourceError(f"{file}: is corrupt, or not an image that can be read")
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    if image.dtype != np.uint8:
        raise SourceError(f"{file}: has {image.dtype} pixels; 8 or 16 bits per channel are wanted")
    return np.asarray(image, np.uint8)


def _images_of(pattern: str) -> list[Path]:
    where = Path(pattern)
    if where.is_dir():
        found = list(where.iterdir())
    elif where.exists():
        found = [where]
    else:
        found = [Path(name) for name in glob.glob(pattern, recursive=True)]
    files = [
        file
        for file in found
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    if not files:
        problem = "holds" if where.is_dir() else "matches"
        raise SourceError(f"{pattern}: {problem} no image ({' '.join(IMAGE_SUFFIXES)})")
    files.sort(key=_natural_key)
    stems: dict[str, Path] = {}
    for file in files:
        other = stems.setdefault(file.stem, file)
        if other is not file:
            raise SourceError(
                f"{pattern}: {other} and {file} would have masks of the same name; rename one or take fewer"
            )
    return files


def _natural_key(file: Path) -> list[tuple[int, str]]:
    """Sorts "2" before "10": digits by their value, the rest as text."""
    parts = re.split(r"(\d+)", str(file))
    return [(int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in parts]
