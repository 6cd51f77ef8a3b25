"""Class maps as PNG: ids as grey values or, for viewing, as indices into a palette."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.labels import COLOURS_RGB, IDS

# Run-length encoding alone makes a class map small, and filters cost most of the time (9 ms at 1280x720 with
# OpenCV's default, 1 ms without).
_ENCODING: Final = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)
_IHDR_AT, _COLOUR_TYPE_AT, _IHDR_END = 8, 25, 33
_GREY, _INDEXED = 0, 3
_BACKGROUND_RGB: Final = (0, 0, 0)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


_PALETTE: Final = _chunk(
    b"PLTE",
    b"".join(bytes(COLOURS_RGB.get(index, _BACKGROUND_RGB)) for index in range(max(IDS.values()) + 1)),
)


_MARK: Final = _chunk(b"tEXt", b"Software\0drivable")
"""Distinguishes masks from drawn labels, which may have the same ids."""
_IGNORE_MARK: Final = _chunk(b"tEXt", b"Software\0drivable ignore mask")


def mask_png(class_map: NDArray[np.uint8], *, has_palette: bool = False) -> bytes:
    """The PNG of an (H, W) class map; its samples are the ids, with or without a palette.

    With a palette, Pillow reads the ids and OpenCV the colours, as it always resolves palettes.
    """
    png = cv2.imencode(".png", class_map, _ENCODING)[1].tobytes()
    if has_palette:
        return _with_colour_type(png, _INDEXED, _PALETTE + _MARK, png[_IHDR_END:])
    return png[:_IHDR_END] + _MARK + png[_IHDR_END:]


def ignore_png(pixels: NDArray[np.uint8]) -> bytes:
    """The PNG of an (H, W) mask of 0 and 255: white is what is ignored."""
    png = cv2.imencode(".png", pixels, _ENCODING)[1].tobytes()
    return png[:_IHDR_END] + _IGNORE_MARK + png[_IHDR_END:]


def has_ignore_mark(head: bytes) -> bool:
    """Whether it is a mask that `ignore_png` made; its first 96 bytes are enough."""
    return head[_IHDR_END : _IHDR_END + len(_IGNORE_MARK)] == _IGNORE_MARK


def has_mark(head: bytes) -> bool:
    """Whether it is a mask that `mask_png` made; its first 96 bytes are enough."""
    after = _IHDR_END + len(_PALETTE) * is_indexed(head)
    return head[after : after + len(_MARK)] == _MARK


def with_ids(png: bytes) -> bytes:
    """A mask with our palette as one with grey values, which OpenCV can read; anything else unchanged."""
    after = _IHDR_END + len(_PALETTE)
    if not is_indexed(png):
        return png
    return _with_colour_type(png, _GREY, b"", png[after:])


def is_indexed(png: bytes) -> bool:
    """Whether it is a mask with our palette; its first 64 bytes are enough."""
    return png[_IHDR_END : _IHDR_END + len(_PALETTE)] == _PALETTE and png[_COLOUR_TYPE_AT] == _INDEXED


def _with_colour_type(png: bytes, colour_type: int, palette: bytes, rest: bytes) -> bytes:
    """The 8-bit samples are the same in both forms; only the header differs."""
    header = (
        png[_IHDR_AT + 8 : _COLOUR_TYPE_AT] + bytes([colour_type]) + png[_COLOUR_TYPE_AT + 1 : _IHDR_END - 4]
    )
    return png[:_IHDR_AT] + _chunk(b"IHDR", header) + palette + rest
