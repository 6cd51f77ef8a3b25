"""The size of an image by its header, before a pixel of it is decoded: a few bytes may ask for gigabytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from perception.sources.source import SourceError

MAX_PIXELS: Final = 100_000_000
"""Far beyond any camera's picture, and decoded within 300 MB."""

Size = tuple[int, int]

_JPEG_ALONE: Final = (0x01, *range(0xD0, 0xD9))  # markers without a length
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_BYTES: Final = {1: 1, 3: 2, 4: 4, 16: 8}


def image_wh(data: bytes) -> Size | None:
    """Width and height in pixels of a JPEG, PNG, TIFF, WebP or BMP; None of anything else."""
    for signature, read in _READERS:
        if data.startswith(signature):
            try:
                return read(data)
            except (struct.error, IndexError):  # it ends within the header
                return None
    return None


def check_pixels(wh: Size, max_pixels: int, where: str) -> None:
    """Raise SourceError if a picture is too large to be decoded; `where` begins the message."""
    width, height = wh
    if width * height > max_pixels:
        raise SourceError(
            f"{where}: {width}x{height} pixels are more than {max_pixels / 1e6:g} megapixels; "
            "raise the limit (--max-megapixels of the node) if that is right"
        )


def _jpeg(data: bytes) -> Size | None:
    """Of the first frame header, as decoders find it: they pass over whatever stands between two markers."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker in (0x00, 0xFF):
            at += 1
        elif marker in _JPEG_ALONE:
            at += 2
        else:
            at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    return None


def _png(data: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", data, 16)
    return (width, height) if data[12:16] == b"IHDR" else None


def _bmp(data: bytes) -> Size | None:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # OS/2's header
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)  # lines may run from the top


def _webp(data: bytes) -> Size | None:
    """Of the canvas, where there is one: animations too."""
    match data[8:16]:
        case b"WEBPVP8X":
            width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
            return (width, height) if len(data) >= 30 else None
        case b"WEBPVP8L":
            bits = struct.unpack_from("<I", data, 21)[0]
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"WEBPVP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(data: bytes) -> Size | None:
    """Of the first directory, the largest of what it says twice."""
    order = "<" if data.startswith(b"II") else ">"
    is_big = struct.unpack_from(order + "H", data, 2)[0] == 43
    first = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)[0]
    count = struct.unpack_from(order + ("Q" if is_big else "H"), data, first)[0]
    first, entry_bytes, value_at = (first + 8, 20, 12) if is_big else (first + 2, 12, 8)
    sides = {_TIFF_WIDTH: 0, _TIFF_HEIGHT: 0}
    for entry in range(first, min(first + count * entry_bytes, len(data)), entry_bytes):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in sides and kind in _TIFF_BYTES:
            value = data[entry + value_at : entry + value_at + _TIFF_BYTES[kind]]
            sides[tag] = max(sides[tag], int.from_bytes(value, "little" if order == "<" else "big"))
    return (sides[_TIFF_WIDTH], sides[_TIFF_HEIGHT]) if all(sides.values()) else None


_READERS: Final[tuple[tuple[bytes, Callable[[bytes], Size | None]], ...]] = (
    (b"\xff\xd8", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"BM", _bmp),
    (b"RIFF", _webp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"II+\0", _tiff),
    (b"MM\0+", _tiff),
)
