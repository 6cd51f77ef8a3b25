"""Rotation and mirroring of decoded pictures: display matrix, EXIF, AVIF properties."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from av.sidedata.sidedata import SideData, SideDataContainer, Type
from av.video.frame import VideoFrame

from perception.imaging.letterbox import PixelAspect
from perception.imaging.tiff import tiff_directories
from perception.imaging.yuv import Plane, Yuv420

_MATRIX: Final = struct.Struct("=9i")
"""By rows: a b u, c d v, x y w; maps (x, y) of the picture to (a x + c y, b x + d y), y downwards."""


def _unnamed(cls: type[Type], number: int) -> Type:
    """A type of side data that PyAV does not know, such as the EXIF of a JPEG.

    Without it, all side data of the frame would be unreadable.
    """
    kind = object.__new__(cls)
    kind._name_, kind._value_ = f"NUMBER_{number}", number  # type: ignore[assignment]
    return kind


Type._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


@dataclass(frozen=True)
class Turn:
    """From the stored to the displayed picture: transposed first, then mirrored.

    For other angles, the nearest of the eight orientations.
    """

    is_transposed: bool = False
    flips_x: bool = False
    """Left becomes right."""
    flips_y: bool = False
    """Top becomes bottom."""

    def of_plane(self, plane: Plane) -> Plane:
        """The displayed (H, W) or (H, W, 3) uint8 plane; (W, H) if transposed."""
        match self.is_transposed, self.flips_x, self.flips_y:
            case False, False, False:
                return plane
            case False, _, _:
                # OpenCV's codes: 0 vertically, 1 horizontally, -1 both
                return np.asarray(cv2.flip(plane, -1 if self.flips_x and self.flips_y else int(self.flips_x)))
            case _, True, False:
                return np.asarray(cv2.rotate(plane, cv2.ROTATE_90_CLOCKWISE), np.uint8)
            case _, False, True:
                return np.asarray(cv2.rotate(plane, cv2.ROTATE_90_COUNTERCLOCKWISE), np.uint8)
        transposed = np.asarray(cv2.transpose(plane), np.uint8)
        return np.asarray(cv2.flip(transposed, -1), np.uint8) if self.flips_x else transposed

    def of_aspect(self, aspect: PixelAspect) -> PixelAspect:
        """Width and height of a displayed pixel."""
        return (aspect[1], aspect[0]) if self.is_transposed else aspect

    def of(self, pixels: Yuv420) -> Yuv420:
        """The displayed picture; the same object if it is not turned."""
        if self == UPRIGHT:
            return pixels
        y, u, v = (self.of_plane(plane) for plane in (pixels.y, pixels.u, pixels.v))
        return Yuv420(y, u, v, pixels.matrix)


UPRIGHT: Final = Turn()


_BY_EXIF: Final = {
    1: UPRIGHT,
    2: Turn(False, True, False),
    3: Turn(False, True, True),
    4: Turn(False, False, True),
    5: Turn(True, False, False),
    6: Turn(True, True, False),
    7: Turn(True, True, True),
    8: Turn(True, False, True),
}
_EXIF_ORIENTATION: Final = 274


def turn_by_exif(exif: bytes) -> Turn:
    """From an EXIF block (a TIFF directory); upright if it states no orientation."""
    try:
        found = next(tiff_directories(exif, _EXIF_ORIENTATION), {})
    except struct.error:  # incomplete
        return UPRIGHT
    return _BY_EXIF.get(found.get(_EXIF_ORIENTATION, 0), UPRIGHT)


_AVIF_HEADER_BYTES: Final = 1 << 16
_AVIF_ROTATION: Final = re.compile(rb"\0\0\0\x09irot(.)", re.DOTALL)
_AVIF_MIRROR: Final = re.compile(rb"\0\0\0\x09imir(.)", re.DOTALL)
_BY_QUARTERS: Final = (UPRIGHT, _BY_EXIF[8], _BY_EXIF[3], _BY_EXIF[6])
"""Counterclockwise."""


def turn_by_avif(content: bytes) -> Turn | None:
    """From the properties of an AVIF (ISO/IEC 23008-12): rotated, then mirrored; None if it has none.

    They take precedence over its EXIF block, which often repeats them.
    """
    header = content[:_AVIF_HEADER_BYTES]
    rotation, mirror = _AVIF_ROTATION.search(header), _AVIF_MIRROR.search(header)
    if rotation is None and mirror is None:
        return None
    turn = _BY_QUARTERS[rotation[1][0] & 3] if rotation else UPRIGHT
    if mirror is None:
        return turn
    is_sideways = bool(mirror[1][0] & 1)
    flips_x, flips_y = turn.flips_x ^ is_sideways, turn.flips_y ^ (not is_sideways)
    return Turn(turn.is_transposed, flips_x, flips_y)


class Orientation:
    """Orientation of a stream's frames, from the container, the stream itself (SEI) or EXIF."""

    def __init__(self) -> None:
        self._last = UPRIGHT
        self._rotation: int | None = None

    def of(self, frame: VideoFrame) -> Turn:
        """The turn of the next decoded frame; the SEI of a key frame applies up to the next one."""
        if not frame.key_frame and frame.rotation == self._rotation:
            return self._last  # reading the matrix takes ten times as long as reading the angle
        self._rotation = frame.rotation
        # not `frame.side_data`, which refers back to its frame: the pair would keep the pixels in memory
        # until the garbage collector finds the cycle
        data = SideDataContainer(frame)  # type: ignore[call-arg]
        matrix = data.get("DISPLAYMATRIX") if len(data) else None
        if isinstance(matrix, SideData):
            self._last = _turn_by(bytes(matrix))
        elif frame.key_frame:
            self._last = UPRIGHT
        return self._last


@lru_cache(16)
def _turn_by(matrix: bytes) -> Turn:
    if len(matrix) != _MATRIX.size:
        return UPRIGHT
    a, b, _, c, d, *_ = _MATRIX.unpack(matrix)
    if a * d == b * c:  # degenerate
        return UPRIGHT
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(True, flips_x=c < 0, flips_y=b < 0)
    return Turn(False, flips_x=a < 0, flips_y=d < 0)
