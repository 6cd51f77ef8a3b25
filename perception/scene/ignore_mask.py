"""IgnoreMask: the pixels of a picture in which no road can be seen, such as black bars and the own bonnet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.imaging.mask_png import ignore_png

IGNORED: Final = 255
"""Of a pixel in which no road can be seen; all others are 0."""


@dataclass(frozen=True, eq=False)  # compared by identity: another mask is another object
class IgnoreMask:
    """What is ignored in the pictures of one size."""

    pixels: NDArray[np.uint8]
    """(H, W) uint8 in pixels of the frame: `IGNORED` or 0."""
    contents: str
    """What it consists of, in words."""
    _sizes: dict[tuple[int, int], NDArray[np.uint8]] = field(default_factory=dict)

    @property
    def frame_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @cached_property
    def share(self) -> float:
        """Share of the frame's area."""
        return cv2.countNonZero(self.pixels) / self.pixels.size

    @cached_property
    def png(self) -> bytes:
        """As a file: white is ignored."""
        return ignore_png(self.pixels)

    @cached_property
    def sha256(self) -> str:
        """Of the file, as `sha256sum` prints it."""
        return hashlib.sha256(self.png).hexdigest()

    def at(self, to_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """(h, w) uint8 at another size: `IGNORED` wherever it touches an ignored pixel; kept for the next."""
        if to_wh == self.frame_wh:
            return self.pixels
        if to_wh not in self._sizes:
            grows = to_wh[0] >= self.frame_wh[0] and to_wh[1] >= self.frame_wh[1]
            how = cv2.INTER_NEAREST_EXACT if grows else cv2.INTER_AREA
            resized = cv2.resize(self.pixels, to_wh, interpolation=how)
            self._sizes[to_wh] = np.asarray((resized > 0).view(np.uint8) * IGNORED, np.uint8)
        return self._sizes[to_wh]


def united(parts: list[IgnoreMask]) -> IgnoreMask | None:
    """All that the parts ignore, of one size; None without any."""
    if len(parts) < 2:
        return parts[0] if parts else None
    pixels = np.maximum.reduce([part.pixels for part in parts])
    return IgnoreMask(pixels, " and ".join(part.contents for part in parts))
