"""The messages of one topic in a bag, whatever its form: rosbag2 (sqlite3, MCAP), one MCAP file, ROS 1."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from perception.sources.source import SourceError

PICTURES: Final = {
    "sensor_msgs/msg/Image": "pictures",
    "sensor_msgs/msg/CompressedImage": "JPEG or PNG",
    "foxglove_msgs/msg/CompressedVideo": "video",
}
MCAP_BEGINS: Final = b"\x89MCAP0\r\n"
ROS1_BEGINS: Final = b"#ROSBAG V2.0\n"
DATABASE_BEGINS: Final = b"SQLite format 3\0"
_INSTALL: Final = "pip install 'drivable[mcap]'"


class BagMessage(NamedTuple):
    """One message."""

    message: Any
    """By its fields."""
    log_ns: int
    """When it was recorded, in UTC."""


@dataclass(frozen=True)
class BagTopic:
    """A topic with pictures."""

    name: str
    type_name: str
    count: int


class BagFile:
    """An open bag.

    Args:
        path: of the file or folder.

    Raises:
        SourceError: if it is none, or the packages that read it are not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise SourceError(f"{path}: bags need packages that are not installed; {_INSTALL}") from None
        self._path = path
        self._cut: _CutFile | None = None
        reader: Any = None
        try:
            reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            reader.open()
        except Exception as error:  # of the packages, for files of any content
            if not (path.is_file() and _head(path).startswith(MCAP_BEGINS)):
                raise SourceError(f"{path}: cannot be read as a bag: {_line(error)}{_hint(error)}") from None
            self._cut = _CutFile(path)
        self._reader = reader

    @property
    def topics(self) -> list[BagTopic]:
        """Those with pictures, in order of their names."""
        if self._cut is not None:
            return self._cut.topics
        found: dict[tuple[str, str], int] = {}
        for connection in self._reader.connections:
            if connection.msgtype in PICTURES:
                key = (connection.topic, connection.msgtype)
                found[key] = found.get(key, 0) + connection.msgcount
        return [BagTopic(*key, count) for key, count in sorted(found.items())]

    @property
    def all_topics(self) -> dict[str, str]:
        """Type of every topic."""
        if self._cut is not None:
            return self._cut.types
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    def messages(self, topic: str) -> Iterator[BagMessage]:
        """Its messages, in the order of recording.

        Raises:
            SourceError: where the bag is damaged or ends before its end; what came before it is good.
        """
        if self._cut is not None:
            yield from self._cut.messages(topic)
            return
        chosen = [connection for connection in self._reader.connections if connection.topic == topic]
        count = 0
        try:
            for connection, log_ns, data in self._reader.messages(connections=chosen):
                yield BagMessage(self._reader.deserialize(data, connection.msgtype), log_ns)
                count += 1
        except Exception as error:  # as above
            raise SourceError(
                f"{self._path}: is damaged after {count} messages of {topic}: {_line(error)}"
            ) from None

    def close(self) -> None:
        """Close it."""
        if self._cut is None:
            self._reader.close()


class _CutFile:
    """An MCAP file without its end: what is in it is found by reading it."""

    def __init__(self, path: Path) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._path = path
        self._store = get_typestore(Stores.EMPTY)
        counts: dict[tuple[str, str], int] = {}
        self.types: dict[str, str] = {}
        definitions: dict[str, str] = {}
        try:
            for schema, channel, _ in self._records():
                self.types[channel.topic] = schema.name
                definitions[schema.name] = schema.data.decode()
                if schema.name in PICTURES:
                    key = (channel.topic, schema.name)
                    counts[key] = counts.get(key, 0) + 1
        except SourceError:
            pass  # reported once what can be read has been
        if not self.types:
            raise SourceError(f"{path}: holds no message; it was cut off, or is no bag")
        self.topics = [BagTopic(*key, count) for key, count in sorted(counts.items())]
        self._register(definitions)

    def _register(self, definitions: dict[str, str]) -> None:
        from rosbags.typesys import get_types_from_msg

        types: dict[str, Any] = {}
        for name, definition in definitions.items():
            types.update(get_types_from_msg(definition, name))
        self._store.register(types)

    def messages(self, topic: str) -> Iterator[BagMessage]:
        """As of `BagFile`."""
        for schema, channel, message in self._records():
            if channel.topic == topic:
                yield BagMessage(self._store.deserialize_cdr(message.data, schema.name), message.log_time)

    def _records(self) -> Iterator[tuple[Any, Any, Any]]:
        """Schema, channel and message of every message; raises SourceError at the cut."""
        from mcap.exceptions import McapError
        from mcap.reader import NonSeekingReader

        with self._path.open("rb") as stream:
            try:
                yield from NonSeekingReader(stream).iter_messages(log_time_order=False)
            except (McapError, EOFError, struct.error, ValueError, MemoryError) as error:
                raise SourceError(
                    f"{self._path}: ends before its end: {_line(error) or 'it was cut off'}"
                ) from None
        raise SourceError(f"{self._path}: has no index, as it was cut off")


def is_bag(path: Path) -> bool:
    """Whether a file's first bytes, or what is in a folder, are a bag's; raises SourceError."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() and any(
            file.suffix in (".db3", ".mcap", ".zstd") for file in path.iterdir()
        )
    head = _head(path)
    is_database = path.suffix == ".db3" and head.startswith(DATABASE_BEGINS)
    return head.startswith((MCAP_BEGINS, ROS1_BEGINS)) or is_database


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(len(DATABASE_BEGINS))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _hint(error: Exception) -> str:
    return "; rosbag reindex adds the index" if "index" in str(error).lower() else ""
