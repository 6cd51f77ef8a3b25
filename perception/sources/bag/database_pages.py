"""Rows of a rosbag2 database found page by page, where SQLite cannot read it: cut off, or with damaged pages.

The layout is that of https://www.sqlite.org/fileformat2.html: every leaf of a table's tree names its rows by
themselves, so that neither the tree above them nor the file's header is needed.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from perception.sources.bag.bag_message import Damage, Stored
from perception.sources.bag.bag_place import DATABASE_BEGINS
from perception.sources.bag.bag_types import MESSAGE_LIMIT_BYTES

Value = int | str | bytes | None

_LEAF: Final = b"\x0d"
_FILE_HEADER_BYTES: Final = 100
_PAGE_SIZES: Final = (4096, 1024, 2048, 8192, 16384, 32768, 65536, 512)
_PAGES_AT_ONCE: Final = 256
_FIELDS_AT_MOST: Final = 8
_INTEGER_BYTES: Final = (0, 1, 2, 3, 4, 6, 8)
"""By serial type."""
_BLOB, _TEXT = 12, 13
"""Least serial types of a blob and a text; the larger ones, in steps of two, have more bytes."""

_NOT_THERE: Final = "in a message, which is not there to its end"


class Cell(NamedTuple):
    """A row where it lies."""

    rowid: int
    payload_bytes: int
    at: int
    """Of its payload, in its page."""
    local_bytes: int
    """Of the payload, in that page."""


class DatabasePages:
    """What is left of a database.

    Memory: 24 bytes for each message.

    Args:
        path: of the file.

    Raises:
        OSError: if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size_bytes = path.stat().st_size
        self.topics: dict[int, tuple[str, str, str]] = {}
        """Name, type and encoding by id."""
        self.definitions: dict[str, tuple[str, str]] = {}
        """Form and fields by type."""
        self.counts: dict[int, int] = {}
        """Messages by topic id."""
        for needs_topics in (True, False):
            for page_bytes, reserved_bytes in self._page_sizes():
                self._page_bytes, self._usable_bytes = page_bytes, page_bytes - reserved_bytes
                self._find()
                if self._rowids and (self.topics or not needs_topics):
                    return

    def messages(self, topic_ids: frozenset[int], after: int | None) -> Iterator[Stored | Damage]:
        """Of the topics' messages, by their row ids, with the damage where rows or parts of them are lost.

        Args:
            topic_ids: which.
            after: only rows with larger ids; None for all.
        """
        last = after
        if not self._rowids:
            return
        with self._path.open("rb") as stream:
            for index in np.argsort(np.frombuffer(self._rowids, np.int64), kind="stable").tolist():
                rowid = self._rowids[index]
                if last is not None and rowid <= last:  # found before, or the copy in a page that was freed
                    continue
                if last is not None and rowid > last + 1:  # a recorder removes none
                    yield Damage("")
                last = rowid
                page = self._page(stream, self._pages[index])
                cell = self._cell(page, self._pointers[index])
                fields = None if cell is None else self._fields(page, cell)
                if cell is None or fields is None:
                    continue
                match fields:
                    case (_, int(topic), int(log_ns), _) if topic in topic_ids:
                        data = self._blob(stream, page, cell)
                        yield Damage(_NOT_THERE) if data is None else Stored(topic, log_ns, data)

    def _page_sizes(self) -> list[tuple[int, int]]:
        """With the bytes reserved in each: as the header says, then the usual ones, as it may be damaged."""
        with self._path.open("rb") as stream:
            head = stream.read(_FILE_HEADER_BYTES)
        stated = 0
        if head.startswith(DATABASE_BEGINS) and len(head) == _FILE_HEADER_BYTES:
            (stated,) = struct.unpack_from(">H", head, 16)
            stated = 65536 if stated == 1 else stated
        first = [(stated, head[20])] if stated in _PAGE_SIZES else []
        return [*first, *((size, 0) for size in _PAGE_SIZES)]

    def _find(self) -> None:
        """All rows of messages, topics and definitions."""
        self.topics, self.definitions, self.counts = {}, {}, {}
        self._rowids, self._pages, self._pointers = array("q"), array("q"), array("q")
        size, first = self._page_bytes, 0
        with self._path.open("rb") as stream:
            while block := stream.read(size * _PAGES_AT_ONCE):
                for begin in range(0, len(block), size):
                    number = first + begin // size
                    header_at = _FILE_HEADER_BYTES if number == 0 else 0
                    if block[begin + header_at : begin + header_at + 1] == _LEAF:
                        self._find_in(stream, block[begin : begin + size], number, header_at)
                first += _PAGES_AT_ONCE
                stream.seek(first * size)

    def _find_in(self, stream: BinaryIO, page: bytes, number: int, header_at: int) -> None:
        cells = int.from_bytes(page[header_at + 3 : header_at + 5], "big")
        if header_at + 8 + 2 * cells > len(page):
            return
        for pointer in struct.unpack_from(f">{cells}H", page, header_at + 8):
            cell = self._cell(page, pointer)
            fields = None if cell is None else self._fields(page, cell)
            if cell is None or fields is None:
                continue
            match fields:
                case (None | int(), int(topic), int(), bytes()):
                    self._rowids.append(cell.rowid)
                    self._pages.append(number)
                    self._pointers.append(pointer)
                    self.counts[topic] = self.counts.get(topic, 0) + 1
                case (None | int(), str(), str(), str(), *_):
                    self._describe(cell.rowid, self._fields(self._whole(stream, page, cell), None))

    def _describe(self, rowid: int, fields: tuple[Value, ...] | None) -> None:
        if fields is None:  # a part of it is missing
            return
        first, second, third = (str(field) for field in fields[1:4])
        if "/msg/" in second:
            self.topics[rowid] = first, second, third
        elif "/msg/" in first:
            self.definitions[first] = second, third

    def _cell(self, page: bytes, pointer: int) -> Cell | None:
        """None for bytes that are none."""
        if not 8 <= pointer < len(page):
            return None
        payload_bytes, at = _varint(page, pointer)
        rowid, at = _varint(page, at)
        rowid -= (rowid >> 63) << 64  # signed
        usable = self._usable_bytes
        local = payload_bytes
        if payload_bytes > usable - 35:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (payload_bytes - least) % (usable - 4)
            local = local if local <= usable - 35 else least
        end = at + local + 4 * (local < payload_bytes)  # with the number of the next page
        if not 2 <= payload_bytes <= MESSAGE_LIMIT_BYTES or end > min(usable, len(page)):
            return None
        return Cell(rowid, payload_bytes, at, local)

    def _fields(self, page: bytes, cell: Cell | None) -> tuple[Value, ...] | None:
        """Those of a row, its blobs empty; None for bytes that are none.

        Args:
            page: with the row, or its payload alone.
            cell: where it lies in the page; None for a payload.
        """
        begin = 0 if cell is None else cell.at
        end = len(page) if cell is None else begin + cell.local_bytes
        total = len(page) if cell is None else cell.payload_bytes
        head_bytes, at = _varint(page, begin)
        if not 2 <= head_bytes <= end - begin:
            return None
        kinds: list[int] = []
        while at < begin + head_bytes:
            kind, at = _varint(page, at)
            kinds.append(kind)
        if at != begin + head_bytes or len(kinds) > _FIELDS_AT_MOST:
            return None
        if head_bytes + sum(map(_bytes_of, kinds)) != total:
            return None
        values: list[Value] = []
        for kind in kinds:
            size = _bytes_of(kind)
            values.append(_value(kind, page[at : min(at + size, end)]))
            at += size
        return tuple(values)

    def _blob(self, stream: BinaryIO, page: bytes, cell: Cell) -> bytes | None:
        """The last field of a message."""
        payload = self._whole(stream, page, cell)
        if len(payload) < cell.payload_bytes:
            return None
        head_bytes, at = _varint(payload, 0)
        kind = 0
        while at < head_bytes:
            kind, at = _varint(payload, at)
        return payload[len(payload) - _bytes_of(kind) :]

    def _whole(self, stream: BinaryIO, page: bytes, cell: Cell) -> bytes:
        """The payload with what lies in other pages, as far as these are there."""
        parts = [page[cell.at : cell.at + cell.local_bytes]]
        left = cell.payload_bytes - cell.local_bytes
        at = cell.at + cell.local_bytes
        following = struct.unpack_from(">I", page, at)[0] if left else 0
        while left > 0 and following:
            part = self._page(stream, following - 1)
            if len(part) < self._page_bytes:
                break
            (following,) = struct.unpack_from(">I", part)
            parts.append(part[4 : min(self._usable_bytes, 4 + left)])
            left -= len(parts[-1])
        return b"".join(parts)

    def _page(self, stream: BinaryIO, number: int) -> bytes:
        stream.seek(number * self._page_bytes)
        return stream.read(self._page_bytes)


def is_cut_off(path: Path) -> bool:
    """Whether a database is shorter than its header says: of its last page SQLite takes zeros for the rest.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_FILE_HEADER_BYTES)
    if len(head) < _FILE_HEADER_BYTES or head[24:28] != head[92:96]:  # the count of pages is not kept
        return False
    page_bytes = int.from_bytes(head[16:18], "big")
    pages = int.from_bytes(head[28:32], "big")
    return pages * (65536 if page_bytes == 1 else page_bytes) > path.stat().st_size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends; 0 behind the end."""
    value = 0
    for index, byte in enumerate(data[at : at + 9]):
        if index == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return 0, at + 9


def _bytes_of(kind: int) -> int:
    if kind >= _BLOB:
        return (kind - _BLOB) // 2
    return _INTEGER_BYTES[kind] if kind < len(_INTEGER_BYTES) else 8 * (kind == 7)


def _value(kind: int, data: bytes) -> Value:
    if kind >= _TEXT and kind % 2:
        return data.decode(errors="replace")
    if kind >= _BLOB:
        return b""
    if kind in (0, 7):
        return None
    return int.from_bytes(data, "big", signed=True) if kind < 8 else kind - 8
