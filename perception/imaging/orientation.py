"""How a decoded picture is turned and mirrored, by its display matrix: all eight ways."""

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
from perception.imaging.yuv import Plane, Yuv420

_MATRIX: Final = struct.Struct("=9i")
"""By rows: a b u, c d v, x y w; (x, y) of the picture goes to (a x + c y, b x + d y), y downwards."""


def _unnamed(cls: type[Type], number: int) -> Type:
    """A kind of side data that PyAV has no name for yet.

    It would make all side data of a frame unreadable, and the EXIF of a JPEG is one.
    """
    kind = object.__new__(cls)
    kind._name_, kind._value_ = f"NUMBER_{number}", number  # type: ignore[assignment]
    return kind


Type._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


@dataclass(frozen=True)
class Turn:
    """From the stored picture to the shown one: sides exchanged first, then mirrored.

    The nearest of the eight where a matrix turns by something else than a quarter.
    """

    is_transposed: bool = False
    flips_x: bool = False
    """Left becomes right."""
    flips_y: bool = False
    """Top becomes bottom."""

    def of_plane(self, plane: Plane) -> Plane:
        """(H, W) or (H, W, 3) uint8 as it is shown; (W, H) where sides are exchanged."""
        match self.is_transposed, self.flips_x, self.flips_y:
            case False, False, False:
                return plane
            case False, _, _:
                # OpenCV: 0 exchanges top and bottom, 1 left and right, -1 both
                return np.asarray(cv2.flip(plane, -1 if self.flips_x and self.flips_y else int(self.flips_x)))
            case _, True, False:
                return np.asarray(cv2.rotate(plane, cv2.ROTATE_90_CLOCKWISE), np.uint8)
            case _, False, True:
                return np.asarray(cv2.rotate(plane, cv2.ROTATE_90_COUNTERCLOCKWISE), np.uint8)
        transposed = np.asarray(cv2.transpose(plane), np.uint8)
        return np.asarray(cv2.flip(transposed, -1), np.uint8) if self.flips_x else transposed

    def of_aspect(self, aspect: PixelAspect) -> PixelAspect:
        """Width and height of a pixel as it is shown."""
        return (aspect[1], aspect[0]) if self.is_transposed else aspect

    def of(self, pixels: Yuv420) -> Yuv420:
        """The picture as it is shown; itself where it is shown as it is stored."""
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
    """As an EXIF block tells, a directory as of TIFF; upright where it tells nothing."""
    order = "<" if exif.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * entries, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", exif, at)
            if tag == _EXIF_ORIENTATION:
                return _BY_EXIF.get(value, UPRIGHT)
    except struct.error:  # it ends before
        pass
    return UPRIGHT


_AVIF_HEADER_BYTES: Final = 1 << 16
_AVIF_ROTATION: Final = re.compile(rb"\0\0\0\x09irot(.)", re.DOTALL)
_AVIF_MIRROR: Final = re.compile(rb"\0\0\0\x09imir(.)", re.DOTALL)
_BY_QUARTERS: Final = (UPRIGHT, _BY_EXIF[8], _BY_EXIF[3], _BY_EXIF[6])
"""Counterclockwise."""


def turn_by_avif(content: bytes) -> Turn | None:
    """As the properties of an AVIF tell (ISO/IEC 23008-12): rotated, then mirrored; None where it has none.

    They stand above its EXIF block, which often says the same once more.
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
    """How the frames of a stream are to be shown: by their container, by the stream itself (SEI), by EXIF."""

    def __init__(self) -> None:
        self._last = UPRIGHT
        self._rotation: int | None = None

    def of(self, frame: VideoFrame) -> Turn:
        """The turn of the next decoded frame; the SEI of a key frame holds up to the next one."""
        if not frame.key_frame and frame.rotation == self._rotation:
            return self._last  # to read a matrix takes ten times as long as the angle, which libav gives
        self._rotation = frame.rotation
        # not `frame.side_data`, which the frame keeps and which keeps the frame: such a pair, and its pixels,
        # stay in memory until Python looks for circles
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
    if a * d == b * c:  # nothing of the picture would be left
        return UPRIGHT
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(True, flips_x=c < 0, flips_y=b < 0)
    return Turn(False, flips_x=a < 0, flips_y=d < 0)
