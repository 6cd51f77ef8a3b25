"""The position of an MP4's index: at the end of most recordings, where only a seekable input can read it."""

from __future__ import annotations

import struct
from typing import Final

_INDEXES: Final = (b"moov", b"moof")


def is_index_behind(start: bytes) -> bool:
    """Whether the media data precede the index, by the first bytes; False for anything but MP4 and MOV."""
    at = 0
    if start[4:8] not in (b"ftyp", b"wide", b"free", b"skip", b"mdat", b"moov"):
        return False
    while len(start) >= at + 8:
        size_bytes, kind = struct.unpack_from(">I4s", start, at)
        if kind in _INDEXES:
            return False
        if kind == b"mdat":
            return True
        if size_bytes < 8:
            return False
        at += int(size_bytes)
    return False


def is_broadcast(start: bytes) -> bool:
    """Whether an MP4 is fragmented and states no duration; libav then reports that of the first fragment."""
    index = start.find(b"moov")
    header, fragments = start.find(b"mvhd", index), start.find(b"mvex", index)
    if min(index, header, fragments) < 0 or len(start) < header + 36 or b"mehd" in start[fragments:]:
        return False
    form, at = (">Q", 28) if start[header + 4] else (">I", 20)
    return not struct.unpack_from(form, start, header + at)[0]
