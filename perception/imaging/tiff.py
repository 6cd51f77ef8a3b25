"""TIFF directories, of which EXIF blocks and multi-picture JPEGs consist too."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Literal

_BYTES_BY_TYPE: Final = {1: 1, 3: 2, 4: 4, 16: 8}
_MOST: Final = 100_000
_BIG: Final = 43
"""Version of BigTIFF, with 64-bit offsets."""


def tiff_directories(data: bytes, *tags: int) -> Iterator[dict[int, int]]:
    """The integers under these tags in each directory, 0 where absent, the largest if one is given twice.

    Raises:
        struct.error: if a directory is incomplete.
    """
    order = "<" if data.startswith(b"II") else ">"
    byte_order: Literal["little", "big"] = "little" if order == "<" else "big"
    is_big = struct.unpack_from(order + "H", data, 2)[0] == _BIG
    offset, count_kind = (order + "Q", order + "Q") if is_big else (order + "I", order + "H")
    entry_bytes, value_at = (20, 12) if is_big else (12, 8)
    (start,) = struct.unpack_from(offset, data, 8 if is_big else 4)
    seen: set[int] = set()
    while start and start not in seen and len(seen) < _MOST:
        seen.add(start)
        (count,) = struct.unpack_from(count_kind, data, start)
        first = start + struct.calcsize(count_kind)
        end = first + count * entry_bytes
        found = dict.fromkeys(tags, 0)
        for entry in range(first, min(end, len(data)), entry_bytes):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag in found and kind in _BYTES_BY_TYPE:
                value = data[entry + value_at : entry + value_at + _BYTES_BY_TYPE[kind]]
                found[tag] = max(found[tag], int.from_bytes(value, byte_order))
        yield found
        (start,) = struct.unpack_from(offset, data, end)
