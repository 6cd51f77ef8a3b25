"""Whether a file is cut off, by its structure: containers consist of elements that begin with their length.

Only lengths and end marks stated by the file count. Anything after the end (padding, garbage, another
recording) is ignored, and an element of unknown type ends the check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

ENDS_BEFORE_FIRST: Final = "incomplete: 0 frames read; the file ends early"
"""For a file that was cut off before its first picture."""
MOST_READS: Final = 1_000_000
"""Elements read before the check gives up: a few seconds."""
_HEAD_BYTES: Final = 1024
_TAIL_BYTES: Final = 1 << 20

_BOXES: Final = (
    *(b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"ssix", b"emsg", b"prft"),
    *(b"free", b"skip", b"wide", b"uuid", b"udta", b"meta", b"pnot"),
)
_BOXES_WITH_PICTURES: Final = (b"moov", b"mdat", b"moof")
_MOV_BEGINS: Final = (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_LEVEL_1: Final = (0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1254C367, 0x1941A469, 0x1043A770)
_IN_CLUSTER: Final = (0xA3, 0xA0, 0xE7, 0xAB, 0xA7, 0x5854)
_ANYWHERE: Final = (0xEC, 0xBF)

_CHUNK: Final = re.compile(rb"\d\d(dc|db|wb|pc|tx)|ix\d\d|JUNK|idx1")
_CHUNK_HEAD_BYTES: Final = 8
_RIFF_SLACK_BYTES: Final = 8  # some writers include the header
_FLV_TAGS, _FLV_TAG_BYTES, _FLV_BEGIN = (8, 9, 18), 11, 13

_ASF_HEADER: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_INDEXES: Final = (
    bytes.fromhex("90080033b1e5cf1189f400a0c90349cb"),  # simple
    bytes.fromhex("d329e2d6da35d111903400a0c90349be"),
)
_ASF_OBJECTS: Final = (
    _ASF_HEADER,
    bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c"),  # data
    *_ASF_INDEXES,
)
_NUT_BEGIN: Final = b"nut/multimedia container\0"
_NUT_INDEX: Final = bytes.fromhex("4e58dd672f23e64e")
_OGG_PAGE, _OGG_HEADER_BYTES, _OGG_LAST_PAGE = b"OggS\0", 27, 4
_TS_SYNC, _TS_STRIDES = 0x47, {188: 0, 192: 4, 204: 0}
"""MPEG-TS: bytes from one packet to the next, and bytes before its sync byte."""


@dataclass(frozen=True)
class Beginning:
    """The first bytes of a file on a server."""

    start: bytes
    size_bytes: int

    def bytes(self, first: int, count: int) -> bytes:
        """As many as the file has; raises OSError if they were not received."""
        end = min(first + count, self.size_bytes)
        if end > len(self.start):
            raise OSError
        return self.start[first:end]


def is_cut_off(file: Path | Beginning, last_packet_at: int = 0) -> bool | None:
    """True if the file lacks its end, False if it has its index or end mark, None if unknown.

    Args:
        file: on disk, or its first bytes.
        last_packet_at: offset of the last packet that could be read; 0 if unknown.
    """
    try:
        if isinstance(file, Beginning):
            return _judged(file, last_packet_at)
        with file.open("rb", buffering=0) as opened:
            return _judged(_File(opened), last_packet_at)
    except OSError:
        return None


def holds_another(file: Path) -> bool:
    """Whether a second MP4 follows the first in one file; no player plays it."""
    try:
        with file.open("rb", buffering=0) as opened:
            kinds = [kind for kind, _ in _boxes(_File(opened))]
    except OSError:
        return False
    # fragments may each have a header of their own, and are played
    return min(kinds.count(kind) for kind in (b"ftyp", b"moov", b"mdat")) > 1 and b"moof" not in kinds


def is_index_behind(start: bytes) -> bool:
    """Whether the media data of an MP4 or MOV precede its index, by the first bytes.

    So it is in most recordings, which only a seekable input can read then.
    """
    kinds = (kind for kind, _ in _boxes(Beginning(start, len(start))))
    return next((kind for kind in kinds if kind in _BOXES_WITH_PICTURES), None) == b"mdat"


def is_broadcast(start: bytes) -> bool:
    """Whether an MP4 is fragmented and states no duration; libav then reports that of the first fragment."""
    index = start.find(b"moov")
    header, fragments = start.find(b"mvhd", index), start.find(b"mvex", index)
    if min(index, header, fragments) < 0 or len(start) < header + 36 or b"mehd" in start[fragments:]:
        return False
    at, size_bytes = (28, 8) if start[header + 4] else (20, 4)
    return not any(start[header + at : header + at + size_bytes])


def goes_on_in_chunks(avi: Path, begin: int, end: int) -> bool:
    """Whether chunks fill an AVI from one packet to the next, as with dropped frames."""
    try:
        with avi.open("rb", buffering=0) as opened:
            chunk_ends = _chunk_ends(_File(opened), begin + begin % 2)
            return any(at >= end - _CHUNK_HEAD_BYTES for at in chunk_ends)
    except OSError:
        return False


def _judged(file: _Bytes, last_packet_at: int) -> bool | None:
    check = _check_for(file.bytes(0, _HEAD_BYTES))
    return check(file, last_packet_at) if check else None


def is_transport_stream(data: bytes) -> bool:
    """Whether bytes from anywhere in a file are MPEG-TS packets."""
    return any(_ts_stride(data[first:]) for first in range(max(_TS_STRIDES)))


class _Bytes(Protocol):
    """Random access to a file."""

    @property
    def size_bytes(self) -> int: ...
    def bytes(self, first: int, count: int) -> bytes: ...


class _File:
    """A file on disk."""

    def __init__(self, opened: BinaryIO) -> None:
        self._opened, self._reads = opened, 0
        self.size_bytes = opened.seek(0, 2)

    def bytes(self, first: int, count: int) -> bytes:
        """As many as there are; raises OSError after `MOST_READS`."""
        self._reads += 1
        if self._reads > MOST_READS:
            raise OSError
        self._opened.seek(max(0, first))
        return self._opened.read(count)


_Check = Callable[[_Bytes, int], bool | None]


def _check_for(head: bytes) -> _Check | None:
    if head[4:8] in _MOV_BEGINS:
        return _mov
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _avi
    for begin, check in _CHECKS.items():
        if head.startswith(begin):
            return check
    return _ts if _ts_stride(head) else None


def _mov(file: _Bytes, _: int) -> bool | None:
    for kind, end in _boxes(file):
        if end > file.size_bytes:
            return kind in _BOXES_WITH_PICTURES or None
    return None


def _boxes(file: _Bytes) -> Iterator[tuple[bytes, int]]:
    """Type and end of each box, up to the first one of unknown type."""
    at = 0
    while len(head := file.bytes(at, 16)) >= 8:
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:])
        length = length or file.size_bytes - at  # 0: to the end of the file
        if kind not in _BOXES or length < 8:
            return
        at += length
        yield kind, at


def _matroska(file: _Bytes, _: int) -> bool | None:
    at, level_1 = 0, (_EBML, _SEGMENT, *_LEVEL_1, *_ANYWHERE)
    while head := file.bytes(at, 12):
        kind, kind_bytes = _vint(head, keeps_marker=True)
        length, length_bytes = _vint(head[kind_bytes:])
        if not (kind_bytes and length_bytes):
            return True if len(head) < 12 and (not kind_bytes or kind in _IN_CLUSTER) else None
        if kind not in (*level_1, _CLUSTER, *_IN_CLUSTER):
            return None
        at += kind_bytes + length_bytes
        if length is None:  # unknown: its children follow
            if kind not in (_SEGMENT, _CLUSTER):
                return None
            continue
        if at + length > file.size_bytes:
            return True
        if kind == _SEGMENT:
            return None
        at += length
    return None


def _vint(data: bytes, keeps_marker: bool = False) -> tuple[int | None, int]:
    """An EBML number (None for "unknown") and its length in bytes (0 if incomplete)."""
    if not data or not data[0]:
        return None, 0
    count = 9 - data[0].bit_length()
    if len(data) < count:
        return None, 0
    number = int.from_bytes(data[:count])
    if keeps_marker:
        return number, count
    number &= (1 << 7 * count) - 1
    return (None if number == (1 << 7 * count) - 1 else number), count


def _avi(file: _Bytes, last_packet_at: int) -> bool | None:
    at, end, has_index = 0, 0, False
    while len(head := file.bytes(at, 12)) == 12 and head[:4] == b"RIFF":
        end = at + 8 + int.from_bytes(head[4:8], "little")
        if end > file.size_bytes + _RIFF_SLACK_BYTES:
            return True
        has_index |= _avi_has_index(file, at + 12, end)
        if end <= at + 12:
            break
        at = end + end % 2
    if has_index or 0 < last_packet_at < end:  # lengths, too, are written when the file is closed
        return False
    return _is_chunk_torn(file, last_packet_at - _CHUNK_HEAD_BYTES)


def _is_chunk_torn(file: _Bytes, at: int) -> bool | None:
    is_torn = at > 0 and any(end > file.size_bytes for end in _chunk_ends(file, at))
    return is_torn or None


def _chunk_ends(file: _Bytes, at: int) -> Iterator[int]:
    """The end of each chunk, up to the first one of unknown type."""
    while len(head := file.bytes(at, _CHUNK_HEAD_BYTES)) == _CHUNK_HEAD_BYTES:
        if not _CHUNK.fullmatch(head[:4]):
            return
        at += _CHUNK_HEAD_BYTES + int.from_bytes(head[4:], "little")
        yield at
        at += at % 2


def _avi_has_index(file: _Bytes, at: int, end: int) -> bool:
    while at < end and len(head := file.bytes(at, 8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"idx1":
            return at + 8 + length <= file.size_bytes
        at += 8 + length + length % 2
    return False


def _flv(file: _Bytes, last_packet_at: int) -> bool | None:
    at = last_packet_at or _FLV_BEGIN
    while head := file.bytes(at, _FLV_TAG_BYTES):
        if head[0] not in _FLV_TAGS or any(head[8:]):  # a tag's header ends with three zeros
            return None
        at += _FLV_TAG_BYTES + int.from_bytes(head[1:4]) + 4  # the length is repeated
        if len(head) < _FLV_TAG_BYTES or at > file.size_bytes:
            return True
    return None


def _asf(file: _Bytes, _: int) -> bool | None:
    at, has_index = 0, False
    while len(head := file.bytes(at, 24)) == 24 and head[:16] in _ASF_OBJECTS:
        length = int.from_bytes(head[16:], "little")
        if length < 24:  # unbounded data of a broadcast
            return None
        at += length
        if at > file.size_bytes:
            return True
        has_index |= head[:16] in _ASF_INDEXES
    return False if has_index else None


def _ogg(file: _Bytes, last_packet_at: int) -> bool | None:
    at, is_last = last_packet_at, False
    while (head := file.bytes(at, _OGG_HEADER_BYTES + 255)).startswith(_OGG_PAGE):
        segments = head[26] if len(head) >= _OGG_HEADER_BYTES else 0
        lengths = head[_OGG_HEADER_BYTES : _OGG_HEADER_BYTES + segments]
        at += _OGG_HEADER_BYTES + segments + sum(lengths)
        if len(head) < _OGG_HEADER_BYTES or len(lengths) < segments or at > file.size_bytes:
            return True
        is_last = bool(head[5] & _OGG_LAST_PAGE)
    return not is_last


def _nut(file: _Bytes, last_packet_at: int) -> bool | None:
    """NUT ends with its index."""
    return _NUT_INDEX not in file.bytes(last_packet_at, _TAIL_BYTES)


def _ts(file: _Bytes, _: int) -> bool | None:
    stride = _ts_stride(file.bytes(0, _HEAD_BYTES))
    rest, before = file.size_bytes % stride, _TS_STRIDES[stride]
    tail = file.bytes(file.size_bytes - rest, rest)
    return (len(tail) > before and tail[before] == _TS_SYNC) or None


def _ts_stride(head: bytes) -> int:
    """Bytes from one MPEG-TS packet to the next; 0 for anything else."""
    for stride, before in _TS_STRIDES.items():
        syncs = head[before::stride][:4]
        if len(syncs) == 4 and set(syncs) == {_TS_SYNC}:
            return stride
    return 0


_CHECKS: Final[dict[bytes, _Check]] = {
    _EBML.to_bytes(4): _matroska,
    b"FLV": _flv,
    _ASF_HEADER: _asf,
    _OGG_PAGE: _ogg,
    _NUT_BEGIN: _nut,
}
