"""An MCAP file read record by record: cut off, not of ROS 2's profile, or with channels of other forms."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from perception.sources.bag.bag_message import PICTURES, BagMessage, BagTopic, line_of
from perception.sources.source import SourceError

CHUNK_LIMIT_BYTES: Final = 1 << 30
"""Of a chunk when it is decompressed: more is damage, or made to fill the memory."""
_ENCODINGS: Final = {"cdr": ("ros2msg", "ros2idl", "omgidl"), "ros1": ("ros1msg",)}
"""Forms of definitions, by the encoding of messages."""


class McapScan:
    """Channels of other encodings than ROS's are none of its topics.

    Args:
        path: of the file.

    Raises:
        SourceError: if there is no message in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.types: dict[str, str] = {}
        self._problem = ""
        counts = self._counted_by_index()
        if counts is None:
            counts = self._counted()
        if not self.types:
            raise SourceError(f"{path}: holds no message; {self._problem or 'it was cut off, or is no bag'}")
        self.topics = [BagTopic(*key, count) for key, count in sorted(counts.items())]

    def messages(self, topic: BagTopic) -> Iterator[BagMessage]:
        """As of `BagFile`."""
        decoders: dict[int, Callable[[bytes], Any]] = {}
        count = 0
        try:
            for schema, channel, message in self._records():
                if channel.topic != topic.name or not _is_ros(schema, channel):
                    continue
                if _type_name(schema) != topic.type_name:
                    continue
                if channel.id not in decoders:
                    decoders[channel.id] = _decoder(schema, channel)
                try:
                    found = BagMessage(decoders[channel.id](message.data), message.log_time)
                except Exception as error:  # of the package, for bytes of any kind
                    found = BagMessage(None, message.log_time, line_of(error))
                yield found
                count += 1
        except Exception as error:  # of the packages, for files of any content
            if _is_end(error):
                raise SourceError(f"{self._path}: ends before its end: it was cut off") from None
            raise SourceError(
                f"{self._path}: is damaged after {count} messages of {topic.name}: {line_of(error)}"
            ) from None

    def _counted_by_index(self) -> dict[tuple[str, str], int] | None:
        """None without an index."""
        from mcap.reader import SeekingReader

        with self._path.open("rb") as stream:
            try:
                summary = SeekingReader(stream, record_size_limit=self._size_bytes).get_summary()
            except Exception:  # as above
                return None
        if summary is None or summary.statistics is None or not summary.channels:
            return None
        counts: dict[tuple[str, str], int] = {}
        for channel in summary.channels.values():
            count = summary.statistics.channel_message_counts.get(channel.id, 0)
            self._count(counts, summary.schemas.get(channel.schema_id), channel, count)
        return counts

    def _counted(self) -> dict[tuple[str, str], int]:
        counts: dict[tuple[str, str], int] = {}
        try:
            for schema, channel, _ in self._records():
                self._count(counts, schema, channel, 1)
        except Exception as error:  # raised again once what can be read has been
            self._problem = "" if _is_end(error) else line_of(error)
        return counts

    def _count(self, counts: dict[tuple[str, str], int], schema: Any, channel: Any, count: int) -> None:
        type_name = _type_name(schema)
        self.types[channel.topic] = type_name
        if type_name in PICTURES and _is_ros(schema, channel):
            key = (channel.topic, type_name)
            counts[key] = counts.get(key, 0) + count

    def _records(self) -> Iterator[tuple[Any, Any, Any]]:
        """Schema, channel and message of every message; raises what the package does, at a cut or damage."""
        from mcap.records import Channel, Chunk, Message, Schema
        from mcap.stream_reader import StreamReader, breakup_chunk

        schemas: dict[int, Any] = {}
        channels: dict[int, Any] = {}
        with self._path.open("rb") as stream:
            reader = StreamReader(stream, emit_chunks=True, record_size_limit=self._size_bytes)
            for outer in reader.records:
                if isinstance(outer, Chunk):
                    _check(outer)
                    records = breakup_chunk(outer, validate_crc=True)
                else:
                    records = [outer]
                for record in records:
                    if isinstance(record, Schema):
                        schemas[record.id] = record
                    elif isinstance(record, Channel):
                        channels[record.id] = record
                    elif isinstance(record, Message):
                        channel = channels[record.channel_id]
                        yield schemas.get(channel.schema_id), channel, record

    @property
    def _size_bytes(self) -> int:
        return self._path.stat().st_size


def _check(chunk: Any) -> None:
    """Raises ValueError for one that is not decompressed."""
    import zstandard

    if chunk.compression not in ("", "lz4", "zstd"):
        raise ValueError(f"chunks are compressed by {chunk.compression!r}; zstd and lz4 are read")
    size = chunk.uncompressed_size
    if chunk.compression == "zstd":
        size = max(size, zstandard.frame_content_size(chunk.data))
    if size > CHUNK_LIMIT_BYTES:
        raise ValueError(f"a chunk has {size} bytes, more than {CHUNK_LIMIT_BYTES}")


def _is_ros(schema: Any, channel: Any) -> bool:
    forms = _ENCODINGS.get(channel.message_encoding, ())
    return schema is not None and schema.encoding in forms


def _type_name(schema: Any) -> str:
    """As ROS 2 has it, `sensor_msgs/msg/Image`, of ROS 1 too."""
    if schema is None:
        return "no type"
    package, _, name = str(schema.name).partition("/")
    is_of_ros1 = schema.encoding == "ros1msg" and name and "/" not in name
    return f"{package}/msg/{name}" if is_of_ros1 else str(schema.name)


def _decoder(schema: Any, channel: Any) -> Callable[[bytes], Any]:
    """Decodes a channel's messages; raises what the package does for a definition that it cannot read."""
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    name, definition = _type_name(schema), schema.data.decode()
    store = get_typestore(Stores.EMPTY)
    if schema.encoding in ("ros2idl", "omgidl"):
        store.register(get_types_from_idl(definition))
    else:
        store.register(get_types_from_msg(definition, name))
    decode = store.deserialize_ros1 if channel.message_encoding == "ros1" else store.deserialize_cdr
    return lambda data: decode(data, name)


def _is_end(error: Exception) -> bool:
    from mcap.exceptions import EndOfFile

    return isinstance(error, EndOfFile | struct.error)
