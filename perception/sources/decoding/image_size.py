"""Image headers: size and number of pictures before any pixel is decoded (decompression bombs)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from perception.imaging.tiff import tiff_directories
from perception.sources.source import SourceError

MAX_PIXELS: Final = 100_000_000
"""Far beyond any camera; takes 300 MB to decode."""

Size = tuple[int, int]

JPEG: Final = b"\xff\xd8"
PNG: Final = b"\x89PNG\r\n\x1a\n"
"""File signatures."""

_JPEG_ALONE: Final = (0x01, *range(0xD0, 0xD9))  # markers without a length
_JPEG_CODES: Final = 0xC4
_JPEG_PROGRESSIVE: Final = (0xC2, 0xC6, 0xCA, 0xCE)
_JPEG_SCAN: Final = 0xDA
_JPEG_APP2: Final = 0xE2
_MPF_COUNT: Final = 0xB001
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TIFF_SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_SUBFILE, _TIFF_WIDTH, _TIFF_HEIGHT = 254, 256, 257
_HEIF_BRANDS: Final = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))


def image_wh(data: bytes) -> Size | None:
    """Width and height in pixels of a JPEG, PNG, TIFF, WebP, AVIF or BMP; None for anything else.

    Neither is 0: what says so has no picture.
    """
    for signature, read in _READERS:
        if data.startswith(signature):
            try:
                wh = read(data)
            except (struct.error, IndexError):  # the header is incomplete
                return None
            return None if wh is None or 0 in wh else wh
    return None


def check_pixels(wh: Size, max_pixels: int, where: str) -> None:
    """Raise SourceError if a picture exceeds `max_pixels`; the message begins with `where`."""
    width, height = wh
    if width * height > max_pixels:
        raise SourceError(
            f"{where}: {width}x{height} pixels are more than {max_pixels / 1e6:g} megapixels; "
            "raise the limit (--max-megapixels of the node) if that is right"
        )


def _jpeg(data: bytes) -> Size | None:
    """From the first frame header."""
    for marker, at in _jpeg_markers(data):
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
    return None


def jpeg_scan_at(data: bytes) -> int:
    """Offset of the first scan, after all headers and the thumbnail in them; 0 if there is none."""
    return next((at for marker, at in _jpeg_markers(data) if marker == _JPEG_SCAN), 0)


def jpeg_pictures(data: bytes) -> int:
    """Number of pictures in a multi-picture JPEG (MPF, CIPA DC-007); 0 for other files."""
    if not data.startswith(JPEG):
        return 0
    try:
        for marker, at in _jpeg_markers(data):
            if marker == _JPEG_APP2 and data[at + 4 : at + 8] == b"MPF\0":
                segment = data[at + 8 : at + 2 + struct.unpack_from(">H", data, at + 2)[0]]
                return next(tiff_directories(segment, _MPF_COUNT), {}).get(_MPF_COUNT, 0)
            if marker == _JPEG_SCAN:
                break
    except struct.error:  # the segment is incomplete
        pass
    return 0


def jpeg_is_progressive(headers: bytes) -> bool:
    """Whether the JPEG is progressive."""
    return any(marker in _JPEG_PROGRESSIVE for marker, _ in _jpeg_markers(headers))


def jpeg_codes_zeros(headers: bytes) -> bool:
    """Whether a valid scan may contain long runs of zeros: it has a one-bit Huffman code."""
    for marker, at in _jpeg_markers(headers):
        if marker != _JPEG_CODES:
            continue
        end = at + 2 + struct.unpack_from(">H", headers, at + 2)[0]
        table = at + 4
        while table + 17 <= end:
            counts = headers[table + 1 : table + 17]  # number of codes with 1 bit, 2 bits, …
            if counts[0]:
                return True
            table += 17 + sum(counts)
    return False


def jpeg_for_others(data: bytes) -> bytes | None:
    """A JPEG as any program reads it: up to its end marker; None without one, or without Huffman tables.

    Webcams may leave out the tables, which their drivers' format defines.
    """
    end = data.rfind(b"\xff\xd9") + 2
    for marker, at in _jpeg_markers(data):
        if marker == _JPEG_CODES:
            return data[:end] if end > at else None
        if marker == _JPEG_SCAN:
            break
    return None


def _jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Each marker and its offset; like decoders, it skips anything between segments."""
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 3:
        marker = data[at + 1]
        if marker in (0x00, 0xFF):
            at += 1
            continue
        yield marker, at
        at += 2 if marker in _JPEG_ALONE else 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])


def _png(data: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", data, 16)
    return (width, height) if data[12:16] == b"IHDR" else None


def _bmp(data: bytes) -> Size | None:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # OS/2's header
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)  # negative for top-down rows


def _webp(data: bytes) -> Size | None:
    """Of the canvas, if there is one (animations)."""
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
    """From the first directory."""
    return next((page.wh for page in _pages(data)), None)


@dataclass(frozen=True)
class TiffPage:
    """One picture of a TIFF."""

    number: int
    """Index of its directory, from 0."""
    wh: Size
    """Width and height in pixels."""
    is_reduced: bool
    """A reduced-resolution copy of another page."""


def tiff_pages(data: bytes) -> list[TiffPage]:
    """The pages of a TIFF in order, without reduced copies; empty for other files."""
    if not data.startswith(_TIFF_SIGNATURES):
        return []
    pages = []
    try:
        for page in _pages(data):
            pages.append(page)
    except (struct.error, IndexError):  # a directory is incomplete
        pass
    return [page for page in pages if not page.is_reduced] or pages


def _pages(data: bytes) -> Iterator[TiffPage]:
    for number, found in enumerate(tiff_directories(data, _TIFF_SUBFILE, _TIFF_WIDTH, _TIFF_HEIGHT)):
        wh = found[_TIFF_WIDTH], found[_TIFF_HEIGHT]
        if not all(wh):
            return
        yield TiffPage(number, wh, bool(found[_TIFF_SUBFILE] & 1))


def is_avif(data: bytes) -> bool:
    """Whether it is an AVIF picture or animation."""
    return b"avif" in _brands(data) or b"avis" in _brands(data)


def is_heif(data: bytes) -> bool:
    """Whether it is another HEIF, such as HEIC."""
    return bool(set(_brands(data)) & _HEIF_BRANDS) and not is_avif(data)


def _brands(data: bytes) -> list[bytes]:
    if data[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return [data[at : at + 4] for at in (8, *range(16, end - 3, 4))]


def _avif(data: bytes) -> Size | None:
    """The largest of its items."""
    if not is_avif(data):
        return None
    sizes = [struct.unpack_from(">II", data, found.end() + 4) for found in re.finditer(b"ispe", data[:65536])]
    return max(sizes, key=lambda wh: wh[0] * wh[1], default=None)


_READERS: Final[tuple[tuple[bytes, Callable[[bytes], Size | None]], ...]] = (
    (JPEG, _jpeg),
    (PNG, _png),
    (b"BM", _bmp),
    (b"\0\0\0", _avif),
    (b"RIFF", _webp),
    *((signature, _tiff) for signature in _TIFF_SIGNATURES),
)
