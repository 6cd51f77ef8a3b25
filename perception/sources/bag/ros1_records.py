"""The records of a bag of ROS 1, over damaged places: the next sound record is looked for behind each.

The layout is that of http://wiki.ros.org/Bags/Format/2.0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from perception.sources.bag.compression import BLOCK_BYTES

MESSAGE, BAG, INDEX, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7
_HEADER_LIMIT_BYTES: Final = 1 << 16
_KIND: Final = b"\x04\0\0\0op="
"""The field by which headers are found."""
_BEFORE_KIND_BYTES: Final = 1024
"""Longest distance from a header's beginning to that field."""


class Record(NamedTuple):
    """Where one is."""

    kind: int
    fields: dict[bytes, bytes]
    """Of its header."""
    begin: int
    """Offset of its data."""
    end: int
    """Offset behind it; behind that of the file for one that was cut off."""

    def number(self, name: bytes) -> int:
        """A field of four or eight bytes; -1 without it."""
        value = self.fields.get(name, b"")
        return int.from_bytes(value, "little") if len(value) in (4, 8) else -1

    @property
    def time_ns(self) -> int:
        """When a message was recorded, in UTC."""
        value = self.fields.get(b"time", b"")
        seconds, nanoseconds = struct.unpack("<II", value) if len(value) == 8 else (0, 0)
        return int(seconds * 1_000_000_000 + nanoseconds)


class Gap(NamedTuple):
    """A part that is no record."""

    begin: int
    end: int


@dataclass
class Ros1Records:
    """Records one behind the other.

    Args:
        stream: that they are in.
        begin: offset of the first.
        end: offset behind the last.
    """

    stream: BinaryIO
    begin: int
    end: int
    is_cut: bool = False
    """They end in the middle of one; known once all are read."""

    def __iter__(self) -> Iterator[Record | Gap]:
        """Every sound record, and what lies between them; the last may be cut off."""
        at, self.is_cut = self.begin, False
        while at < self.end:
            record = self.at(at)
            if record is not None and self._is_sound(record):
                yield record
                at = record.end
                continue
            is_torn = record is not None and record.end > self.end and _is_sure(record)
            following = None if is_torn else self._next_sound(at + 4)
            if record is not None and record.end <= (self.end if following is None else following):
                yield record  # what follows it is not sound
                at = record.end
            elif following is None:
                self.is_cut = True
                if record is not None:
                    yield record
                return
            else:
                yield Gap(at, following)
                at = following

    def at(self, at: int) -> Record | None:
        """The record there; None if it has no valid header."""
        header_bytes = self._number(at)
        if not 0 < header_bytes <= _HEADER_LIMIT_BYTES:
            return None
        header, begin = self._read(at + 4, header_bytes), at + 8 + header_bytes
        fields = fields_of(header) if len(header) == header_bytes else None
        kind = b"" if fields is None else fields.get(b"op", b"")
        if fields is None or len(kind) != 1 or not MESSAGE <= kind[0] <= CONNECTION:
            return None
        size = self._number(begin - 4)
        return None if size < 0 else Record(kind[0], fields, begin, begin + size)

    def data(self, record: Record) -> bytes:
        """Its data, as far as it is there."""
        return self._read(record.begin, record.end - record.begin)

    def _is_sound(self, record: Record) -> bool:
        if record.end >= self.end:
            return record.end == self.end
        return _is_sure(record) or self.end - record.end < 8 or self.at(record.end) is not None

    def _next_sound(self, begin: int) -> int | None:
        at = begin
        while at < self.end:
            block = self._read(at, BLOCK_BYTES + len(_KIND))
            found = block.find(_KIND)
            while found >= 0:
                if (start := self._start_of(at + found, begin)) is not None:
                    return start
                found = block.find(_KIND, found + 1)
            at += BLOCK_BYTES
        return None

    def _start_of(self, kind_at: int, least: int) -> int | None:
        """Where the record is whose header has its kind there."""
        first = max(least, kind_at - _BEFORE_KIND_BYTES)
        head = self._read(first, kind_at - first)
        for at in range(kind_at - 4, first - 1, -1):
            header_bytes = int.from_bytes(head[at - first : at - first + 4], "little")
            if not kind_at - at < 4 + header_bytes <= 4 + _HEADER_LIMIT_BYTES:
                continue
            record = self.at(at)
            if record is not None and self._is_sound(record):
                return at
        return None

    def _number(self, at: int) -> int:
        """Four bytes; -1 at the end."""
        data = self._read(at, 4)
        return int.from_bytes(data, "little") if len(data) == 4 else -1

    def _read(self, at: int, count: int) -> bytes:
        self.stream.seek(at)
        return self.stream.read(max(0, min(count, self.end - at)))


def _is_sure(record: Record) -> bool:
    """Whether it states the size of its data twice, and the same."""
    size = record.end - record.begin
    return record.fields.get(b"compression") == b"none" and record.number(b"size") == size


def fields_of(header: bytes) -> dict[bytes, bytes] | None:
    """By their names; None for bytes that are no header."""
    fields, at = dict[bytes, bytes](), 0
    while at < len(header):
        size = int.from_bytes(header[at : at + 4], "little")
        name, mark, value = header[at + 4 : at + 4 + size].partition(b"=")
        if not mark or at + 4 + size > len(header):
            return None
        fields[name] = value
        at += 4 + size
    return fields
