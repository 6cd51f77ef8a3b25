"""An MCAP file: chunks that are whole on the disk one by one, and an index at the end even of a full disk."""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
)
from mcap.writer import MCAP0_MAGIC

from perception.sinks.claim import Claim
from perception.sinks.open_file import CheckpointedFile, OpenMode

CHUNK_BYTES: Final = 256 * 1024
"""Of a chunk before it is compressed; a larger message has one of its own."""
CHUNK_S: Final = 0.5
"""Longest time that a chunk stays open, and may be lost with the process."""
_FASTEST: Final = 1
_CHUNKS_TO_GIVE_UP: Final = 64


@dataclass(frozen=True)
class Topic:
    """What a channel holds."""

    name: str
    type_name: str
    definition: str
    """Fields of the type, as ros2msg."""


class McapFile(CheckpointedFile):
    """Memory: one chunk, and about 110 bytes of index for each that is written."""

    def __init__(self, file: Path, opening: OpenMode, claim: Claim) -> None:
        """Create the file; raises as `CheckpointedFile` does."""
        super().__init__(file, opening, claim)
        self._compressor = zstandard.ZstdCompressor(level=_FASTEST)
        self._described = b""
        self._channels: dict[str, int] = {}
        self._metadata: MetadataIndex | None = None
        self._chunk, self._messages = RecordBuilder(), dict[int, MessageIndex]()
        self._chunk_began_s = 0.0
        self._chunks = bytearray()
        self._statistics = Statistics(0, 0, {}, 0, 0, 0, 0, 0, 0)
        self._before: deque[tuple[int, int, Statistics]] = deque(maxlen=_CHUNKS_TO_GIVE_UP)

    @property
    def has_begun(self) -> bool:
        """Whether its header is written."""
        return self._metadata is not None

    def begin(self, library: str, topics: Sequence[Topic], metadata: Mapping[str, str]) -> None:
        """Write the header.

        Args:
            library: what wrote it.
            topics: of all channels.
            metadata: of the whole file, named `drivable`.
        """
        header, described = RecordBuilder(), RecordBuilder()
        header.write(MCAP0_MAGIC)
        Header("ros2", library).write(header)
        offset = header.count
        Metadata("drivable", dict(metadata)).write(header)
        self._metadata = MetadataIndex(offset, header.count - offset, "drivable")
        self.write(_taken(header))
        if self.error is None:
            self.mark_whole()
        types = {topic.type_name: topic.definition for topic in topics}
        schemas = {name: number for number, name in enumerate(types, 1)}
        for name, definition in types.items():
            Schema(id=schemas[name], data=definition.encode(), encoding="ros2msg", name=name).write(described)
        for number, topic in enumerate(topics, 1):
            self._channels[topic.name] = number
            Channel(
                id=number,
                topic=topic.name,
                message_encoding="cdr",
                metadata={},
                schema_id=schemas[topic.type_name],
            ).write(described)
        self._described = _taken(described)
        self._chunk.write(self._described)  # so that a file without its end can be read
        self._statistics = replace(
            self._statistics, schema_count=len(schemas), channel_count=len(topics), metadata_count=1
        )

    def add(self, topic: str, data: bytes, log_ns: int, publish_ns: int) -> None:
        """Add a message; `error` says whether the disk took what it completed.

        Args:
            topic: one of those it began with.
            data: in CDR.
            log_ns: UTC by which players play.
            publish_ns: UTC.
        """
        if self._messages and self._chunk.count + len(data) > CHUNK_BYTES:
            self.end_chunk()
        if not self._messages:
            self._chunk_began_s = time.monotonic()
        number = self._channels[topic]
        index = self._messages.setdefault(number, MessageIndex(number, []))
        index.records.append((log_ns, self._chunk.count))
        Message(number, log_ns, data, publish_ns, self.frames).write(self._chunk)

    def end_frame(self) -> None:
        """Count a frame, whose messages are all added."""
        self.frames += 1
        if self._messages and time.monotonic() - self._chunk_began_s >= CHUNK_S:
            self.end_chunk()

    def end_chunk(self) -> None:
        """Write the open chunk, if there is one."""
        if not self._messages:
            return
        content, messages = _taken(self._chunk), self._messages
        self._messages = {}
        times_ns = [log_ns for index in messages.values() for log_ns, _ in index.records]
        data, begin = self._compressor.compress(content), self.tell()
        chunk = Chunk("zstd", data, max(times_ns), min(times_ns), zlib.crc32(content), len(content))
        written, offsets = RecordBuilder(), dict[int, int]()
        chunk.write(written)
        chunk_bytes = written.count
        for number, index in messages.items():
            offsets[number] = begin + written.count
            index.write(written)
        index_bytes = written.count - chunk_bytes
        self.write(_taken(written))
        if self.error is not None:
            return
        self.mark_whole()
        self._before.append((begin, len(self._chunks), self._statistics))
        ChunkIndex(
            chunk_length=chunk_bytes,
            chunk_start_offset=begin,
            compression="zstd",
            compressed_size=len(data),
            message_end_time=chunk.message_end_time,
            message_index_length=index_bytes,
            message_index_offsets=offsets,
            message_start_time=chunk.message_start_time,
            uncompressed_size=len(content),
        ).write(written)
        self._chunks += _taken(written)
        self._statistics = _with(self._statistics, chunk, messages)

    def close(self) -> None:
        """Finish the file. On a full disk its last chunks make room for the index.

        Raises:
            OSError: if the disk took no more.
        """
        try:
            if self.has_begun and self.presence != "removed":
                self.end_chunk()
                if self.is_stopped:
                    self.go_back(self.whole_bytes)
                self._end()
                while self.is_stopped and self._before:
                    end, chunks, self._statistics = self._before.pop()
                    del self._chunks[chunks:]
                    self.go_back(end)
                    self._end()
                self._metadata = None
        finally:
            super().close()

    def _end(self) -> None:
        end = RecordBuilder()
        DataEnd(0).write(end)
        begin = self.tell() + end.count
        data_end, summary = _taken(end), RecordBuilder()
        summary.write(self._described)
        self._statistics.write(summary)
        summary.write(self._chunks)
        assert self._metadata is not None
        self._metadata.write(summary)
        content = _taken(summary)
        Footer(begin, 0, 0).write(end)
        self.write(data_end + content + _taken(end) + MCAP0_MAGIC)
        if not self.is_stopped:
            self.mark_whole()


def _taken(builder: Any) -> bytes:
    """What was written to a `RecordBuilder`, which is empty then."""
    return bytes(builder.end())


def _with(statistics: Statistics, chunk: Any, messages: Mapping[int, MessageIndex]) -> Statistics:
    """Those of the file with one more chunk."""
    counts = dict(statistics.channel_message_counts)
    for number, index in messages.items():
        counts[number] = counts.get(number, 0) + len(index.records)
    start_ns, end_ns = chunk.message_start_time, chunk.message_end_time
    if statistics.chunk_count:
        start_ns = min(start_ns, statistics.message_start_time)
        end_ns = max(end_ns, statistics.message_end_time)
    return replace(
        statistics,
        channel_message_counts=counts,
        chunk_count=statistics.chunk_count + 1,
        message_count=sum(counts.values()),
        message_start_time=start_ns,
        message_end_time=end_ns,
    )
