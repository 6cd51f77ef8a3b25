"""The records of an MCAP file, over damaged places: the next sound record is looked for behind each."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from perception.sources.bag.bag_place import MCAP_BEGINS
from perception.sources.bag.compression import BLOCK_BYTES

FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
HEADER_BYTES: Final = 9
MESSAGE_HEADER_BYTES: Final = 22
_LEAST_BYTES: Final = {
    **{0x01: 8, FOOTER: 20, SCHEMA: 14, CHANNEL: 16, MESSAGE: MESSAGE_HEADER_BYTES, CHUNK: 40, 0x07: 6},
    **{0x08: 64, 0x09: 36, 0x0A: 40, 0x0B: 46, 0x0C: 8, 0x0D: 20, 0x0E: 17, DATA_END: 4},
}
"""Of a record's content, by its kind."""
_PRIVATE: Final = 0x80
"""And above: kinds of others, which readers skip."""
_MOST_BYTES: Final = 1 << 36
"""No record is larger."""
_OPEN: Final = (1 << 64) - 1
"""Size of a chunk that some writers would have filled in when they closed it."""
_NAME_BYTES: Final = 64
"""Longest name of a compression."""
_BEGINS: Final = re.compile(rb"(?=[\x01-\x0f].{5}\0\0\0)", re.DOTALL)


class Record(NamedTuple):
    """Where one is."""

    kind: int
    begin: int
    """Offset of its content."""
    end: int
    """Offset behind it, which may be behind the end of the file for a chunk that was cut off."""


class Chunk(NamedTuple):
    """The header of one."""

    compression: str
    size_bytes: int
    """Of its content before compression."""
    crc: int
    """Of its content before compression; 0 if unknown."""
    begin: int
    """Offset of its data."""
    end: int


class Gap(NamedTuple):
    """A part that is no record."""

    begin: int
    end: int


@dataclass
class McapRecords:
    """The records of a file's data section.

    Args:
        stream: of the file.
        size_bytes: of the file.
    """

    stream: BinaryIO
    size_bytes: int
    is_cut: bool = False
    """The file ends before its end; known once all are read."""

    def __iter__(self) -> Iterator[Record | Gap]:
        """Every sound record of the data, what lies between them, and the descriptions behind the data."""
        at = len(MCAP_BEGINS) if self._read(0, len(MCAP_BEGINS)) == MCAP_BEGINS else 0
        is_data, self.is_cut = True, True
        while at < self.size_bytes:
            if (record := self._sound(at)) is not None:
                if record.kind == FOOTER:
                    self.is_cut = False
                    return
                is_data &= record.kind != DATA_END
                if is_data or record.kind in (SCHEMA, CHANNEL):
                    yield record
                at = record.end
            elif (torn := self._torn_chunk(at)) is not None:
                yield torn
                return
            else:
                following = self._next_sound(at + 1)
                alone = self._plausible(at)
                if alone is not None and self._is_before(alone, following):
                    if is_data:
                        yield alone
                    at = alone.end
                elif following is None:
                    return
                else:
                    if is_data:
                        yield Gap(at, following)
                    at = following

    def chunk(self, record: Record) -> Chunk | None:
        """Its header; None if its parts contradict each other."""
        head = self._read(record.begin, 32 + _NAME_BYTES + 8)
        if len(head) < 40:
            return None
        size_bytes, crc, name_bytes = struct.unpack_from("<QII", head, 16)
        if name_bytes > _NAME_BYTES or len(head) < 40 + name_bytes:
            return None
        begin = record.begin + 40 + name_bytes
        (data_bytes,) = struct.unpack_from("<Q", head, 32 + name_bytes)
        if begin + data_bytes != record.end and record.end - record.begin != _OPEN:
            return None
        name = head[32 : 32 + name_bytes].decode(errors="replace")
        return Chunk(name, size_bytes, crc, begin, min(record.end, self.size_bytes))

    def content(self, record: Record) -> bytes:
        """All of it."""
        return self._read(record.begin, record.end - record.begin)

    def _sound(self, at: int) -> Record | None:
        """The record there, if it is plausible by what it says and by what follows it."""
        record = self._plausible(at)
        if record is None or record.end > self.size_bytes:
            return None
        if record.kind == CHUNK:
            return record if self.chunk(record) is not None else None
        left = self._read(record.end, HEADER_BYTES)
        if record.kind == FOOTER:
            return record if left.startswith(MCAP_BEGINS) else None
        is_last = len(left) < HEADER_BYTES
        return record if is_last or self._plausible(record.end) is not None else None

    def _is_before(self, record: Record, following: int | None) -> bool:
        """Whether it may be sound, and what follows it is not: it ends before the next one, or the file."""
        end = self.size_bytes if following is None else following
        return record.kind not in (CHUNK, DATA_END, FOOTER) and record.end <= end

    def _plausible(self, at: int) -> Record | None:
        header = self._read(at, HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return None
        kind, size = struct.unpack("<BQ", header)
        is_size = _LEAST_BYTES.get(kind, 0) <= size < _MOST_BYTES or (kind, size) == (CHUNK, _OPEN)
        is_kind = kind in _LEAST_BYTES or kind >= _PRIVATE
        begin = at + HEADER_BYTES
        return Record(kind, begin, begin + size) if is_kind and is_size else None

    def _torn_chunk(self, at: int) -> Record | None:
        """The one in which the file ends."""
        record = self._plausible(at)
        is_chunk = record is not None and record.kind == CHUNK and self.chunk(record) is not None
        return record if is_chunk else None

    def _next_sound(self, begin: int) -> int | None:
        """Where the next record of a known kind is."""
        while begin < self.size_bytes:
            block = self._read(begin, BLOCK_BYTES + HEADER_BYTES)
            for match in _BEGINS.finditer(block):
                if self._sound(begin + match.start()) is not None:
                    return begin + match.start()
            begin += BLOCK_BYTES
        return None

    def _read(self, at: int, count: int) -> bytes:
        if at < 0:
            return b""
        self.stream.seek(at)
        return self.stream.read(count)
