"""An MCAP file read record by record, of any profile: whole, cut off or damaged."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Generator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from perception.sources.bag.bag_message import (
    PICTURES,
    BagMessage,
    BagTopic,
    Damage,
    Damages,
    Stored,
    line_of,
    listed_topics,
)
from perception.sources.bag.bag_types import MESSAGE_LIMIT_BYTES, Definition, decoded
from perception.sources.bag.compression import FileRange, Readable, blocks, exactly, opened_zstd, skipped
from perception.sources.bag.mcap_records import (
    CHANNEL,
    CHUNK,
    HEADER_BYTES,
    MESSAGE,
    MESSAGE_HEADER_BYTES,
    SCHEMA,
    Chunk,
    Gap,
    McapRecords,
)
from perception.sources.source import SourceError

CHUNK_IN_MEMORY_BYTES: Final = 1 << 25
"""A chunk with more is decompressed as it is read, once before for its checksum."""


class Channel(NamedTuple):
    """A topic, as one of its writers describes it."""

    topic: str
    definition: Definition


class McapScan:
    """Channels of other encodings than ROS's and Foxglove's are none of its topics.

    Memory: a chunk of at most `CHUNK_IN_MEMORY_BYTES`, or one message.

    Args:
        path: of the file.

    Raises:
        SourceError: if there is no message in it, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channels: dict[int, Channel] = {}
        self._schemas: dict[int, Any] = {}
        self._chunks: dict[int, frozenset[int]] = {}
        """Channels with messages in the chunks, by their offsets, where an index has them."""
        self._unknown: set[int] = set()
        self.types: dict[str, str] = {}
        counts = self._counted_by_index()
        if counts is None:
            counts = self._counted()
        self.topics: list[BagTopic] = listed_topics(counts)

    def messages(self, topic: BagTopic) -> Iterator[BagMessage]:
        """As of `BagPart`."""

        def is_wanted(number: int) -> bool:
            channel = self._channels.get(number)
            if channel is None or not channel.definition.is_read:
                return False
            return (channel.topic, channel.definition.type_name) == (topic.name, topic.type_name)

        damages = Damages(self._path)
        stored = self._stored(is_wanted, damages)
        return decoded(stored, lambda number: self._channels[number].definition, damages, topic.name)

    def close(self) -> None:
        """Nothing is open between messages."""

    def _counted_by_index(self) -> dict[tuple[str, str], int] | None:
        """None without an index."""
        from mcap.reader import SeekingReader

        with self._path.open("rb") as stream:
            try:
                size_bytes = self._path.stat().st_size
                summary = SeekingReader(stream, record_size_limit=size_bytes).get_summary()
            except Exception:  # of the package, for files of any content
                return None
        if summary is None or summary.statistics is None or not summary.channels:
            return None
        self._schemas = dict(summary.schemas)
        for channel in summary.channels.values():
            self._take_channel(channel)
        self._chunks = {
            index.chunk_start_offset: frozenset(index.message_index_offsets)
            for index in summary.chunk_indexes
            if index.message_index_offsets
        }
        counted = summary.statistics.channel_message_counts
        return self._by_topic({number: counted.get(number, 0) for number in self._channels})

    def _counted(self) -> dict[tuple[str, str], int]:
        counted, damages = self._counted_once()
        if self._unknown & self._channels.keys():  # described behind the data alone: their chunk is damaged
            counted, damages = self._counted_once()
        if not counted:
            end = f"{damages.end}, or it is not a bag" if damages.end else "nothing was recorded"
            why = damages.first or end
            raise SourceError(f"{self._path}: holds no message; {why}")
        return self._by_topic(counted)

    def _counted_once(self) -> tuple[dict[int, int], Damages]:
        """Messages by channel, and what is damaged."""
        counted: dict[int, int] = {}

        def count(number: int) -> bool:
            if number in self._channels:
                counted[number] = counted.get(number, 0) + 1
            return False

        damages = Damages(self._path)
        for found in self._stored(count, damages):
            if isinstance(found, Damage):
                damages.add(found.what)
        return counted, damages

    def _by_topic(self, counted: dict[int, int]) -> dict[tuple[str, str], int]:
        counts: dict[tuple[str, str], int] = {}
        for number, count in counted.items():
            topic, definition = self._channels[number]
            self.types[topic] = definition.type_name or "no type"
            if definition.type_name in PICTURES and definition.is_read:
                key = (topic, definition.type_name)
                counts[key] = counts.get(key, 0) + count
        return counts

    def _stored(self, is_wanted: Callable[[int], bool], damages: Damages) -> Iterator[Stored | Damage]:
        """The messages of wanted channels, by their numbers, and the damage between them."""
        self._unknown.clear()
        try:
            size_bytes = self._path.stat().st_size
            with self._path.open("rb") as stream:
                records = McapRecords(stream, size_bytes)
                for record in records:
                    if isinstance(record, Gap):
                        size = record.end - record.begin
                        yield _damage(record.begin, f"{size} bytes are no records")
                    elif record.kind == CHUNK:
                        chunk, begin = records.chunk(record), record.begin - HEADER_BYTES
                        is_needed = begin not in self._chunks or any(map(is_wanted, self._chunks[begin]))
                        if chunk is not None and is_needed:
                            yield from self._of_chunk(stream, chunk, record.end > size_bytes, is_wanted)
                    elif record.kind in (SCHEMA, CHANNEL, MESSAGE):
                        content = FileRange(stream, record.begin - HEADER_BYTES, record.end)
                        yield from self._of_stream(content, record.begin, is_wanted)
                damages.end = "it was cut off" if records.is_cut else ""
        except OSError as error:
            damages.end = f"it cannot be read: {error.strerror}"

    def _of_chunk(
        self, stream: BinaryIO, chunk: Chunk, is_torn: bool, is_wanted: Callable[[int], bool]
    ) -> Iterator[Stored | Damage]:
        if chunk.compression not in ("", "lz4", "zstd"):
            why = f"a chunk is compressed by {chunk.compression!r}; zstd and lz4 are read"
            yield _damage(chunk.begin, why)
            return
        if not is_torn and chunk.crc:
            try:
                content = self._checked(stream, chunk)
            except Exception as error:  # of the packages, for bytes of any kind
                yield _damage(chunk.begin, f"a chunk cannot be read: {line_of(error)}")
                return
        else:
            content = _unpacked(stream, chunk)
        try:
            size_bytes = yield from self._of_stream(content, chunk.begin, is_wanted, is_torn)
            if not chunk.crc and size_bytes not in (None, chunk.size_bytes) and not is_torn:
                yield _damage(chunk.begin, "a chunk is not as long as it says")
        except Exception as error:  # as above
            if not is_torn:
                yield _damage(chunk.begin, f"a chunk cannot be read to its end: {line_of(error)}")

    @staticmethod
    def _checked(stream: BinaryIO, chunk: Chunk) -> Readable:
        """Its content, in memory unless it is large; raises ValueError if the checksum is another's."""
        kept: list[bytes] | None = []
        crc = size = 0
        for block in blocks(_unpacked(stream, chunk)):
            crc, size = zlib.crc32(block, crc), size + len(block)
            if size > CHUNK_IN_MEMORY_BYTES:
                kept = None
            if kept is not None:
                kept.append(block)
        if crc != chunk.crc:
            raise ValueError("its checksum (CRC) is not that of its content")
        return _unpacked(stream, chunk) if kept is None else BytesIO(b"".join(kept))

    def _of_stream(
        self, content: Readable, begin: int, is_wanted: Callable[[int], bool], is_torn: bool = False
    ) -> Generator[Stored | Damage, None, int | None]:
        """Of records one behind the other; gives their length, or None if the last is not whole.

        Raises:
            Exception: of the packages, where they are damaged.
        """
        size_bytes = 0
        while header := exactly(content, HEADER_BYTES):
            if len(header) < HEADER_BYTES or not header[0]:  # zeros, which may be any number of them
                break
            kind, size = struct.unpack("<BQ", header)
            size_bytes += HEADER_BYTES + size
            if kind == MESSAGE and size >= MESSAGE_HEADER_BYTES:
                head = exactly(content, MESSAGE_HEADER_BYTES)
                size -= len(head)
                if len(head) < MESSAGE_HEADER_BYTES:
                    break
                number, _, log_ns, _ = struct.unpack("<HIQQ", head)
                if number not in self._channels and number not in self._unknown:
                    self._unknown.add(number)
                    yield _damage(begin, f"messages of channel {number}, which is not described")
                if is_wanted(number) and size > MESSAGE_LIMIT_BYTES:
                    yield _damage(begin, f"a message has more than {MESSAGE_LIMIT_BYTES} bytes")
                elif is_wanted(number):
                    data = exactly(content, size)
                    if len(data) < size:
                        break
                    yield Stored(number, log_ns, data)
                    continue
            elif kind in (SCHEMA, CHANNEL) and size <= MESSAGE_LIMIT_BYTES:
                self._describe(kind, exactly(content, size))
                continue
            if not skipped(content, size):
                break
        else:
            return size_bytes
        if not is_torn:
            yield _damage(begin, "a record goes on behind its chunk")
        return None

    def _describe(self, kind: int, content: bytes) -> None:
        from mcap.data_stream import ReadDataStream
        from mcap.records import Channel as McapChannel
        from mcap.records import Schema

        fields = ReadDataStream(BytesIO(content))
        try:
            if kind == SCHEMA:
                schema = Schema.read(fields)
                self._schemas[schema.id] = schema
            else:
                self._take_channel(McapChannel.read(fields))
        except Exception:  # of the package, for bytes of any kind: its messages are of no known topic
            return

    def _take_channel(self, channel: Any) -> None:
        schema = self._schemas.get(channel.schema_id)
        name, form, fields = ("", "", b"") if schema is None else (schema.name, schema.encoding, schema.data)
        definition = Definition(str(name), str(channel.message_encoding), str(form), bytes(fields))
        self._channels[channel.id] = Channel(str(channel.topic), definition)


def _damage(begin: int, why: str) -> Damage:
    return Damage(f"at byte {begin}: {why}")


def _unpacked(stream: BinaryIO, chunk: Chunk) -> Readable:
    data = FileRange(stream, chunk.begin, chunk.end)
    if chunk.compression == "zstd":
        return opened_zstd(data)
    if chunk.compression == "lz4":
        import lz4.frame

        unpacked: Readable = lz4.frame.open(data, "rb")
        return unpacked
    return data
