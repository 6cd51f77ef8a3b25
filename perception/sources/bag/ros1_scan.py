"""A bag of ROS 1 read record by record: with or without an index, cut off or damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

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
from perception.sources.bag.bag_place import ROS1_BEGINS
from perception.sources.bag.bag_types import MESSAGE_LIMIT_BYTES, Definition, decoded
from perception.sources.bag.ros1_records import (
    BAG,
    CHUNK,
    CHUNK_INFO,
    CONNECTION,
    MESSAGE,
    Gap,
    Record,
    Ros1Records,
    fields_of,
)
from perception.sources.source import SourceError

CHUNK_LIMIT_BYTES: Final = 1 << 28
"""Of a chunk when it is decompressed: more is damage, or made to fill the memory."""
_HEAD_BYTES: Final = 4096
"""Of the bag's header with its padding."""


class Ros1Scan:
    """Messages are given in the order of the file, that of recording.

    Memory: a chunk that is compressed, or one message.

    Args:
        path: of the file.

    Raises:
        SourceError: if there is no message in it, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connections: dict[int, tuple[str, Definition]] = {}
        counted = self._counted_by_index()
        self._has_index = counted is not None
        if counted is None:
            counted = self._counted()
        self.types = {name: definition.type_name for name, definition in self._connections.values()}
        counts: dict[tuple[str, str], int] = {}
        for number, (name, definition) in self._connections.items():
            if definition.type_name in PICTURES:
                key = (name, definition.type_name)
                counts[key] = counts.get(key, 0) + counted.get(number, 0)
        self.topics: list[BagTopic] = listed_topics(counts)

    def messages(self, topic: BagTopic) -> Iterator[BagMessage]:
        """As of `BagPart`."""

        def is_wanted(number: int) -> bool:
            if number not in self._connections:
                return False
            name, definition = self._connections[number]
            return (name, definition.type_name) == (topic.name, topic.type_name)

        damages = Damages(self._path)
        stored = self._stored(is_wanted, damages)
        return decoded(stored, lambda number: self._connections[number][1], damages, topic.name)

    def close(self) -> None:
        """Nothing is open between messages."""

    def _counted_by_index(self) -> dict[int, int] | None:
        """Messages by connection; None without an index."""
        try:
            size_bytes = self._path.stat().st_size
            with self._path.open("rb") as stream:
                begin = self._index_at(stream, size_bytes)
                if begin is None:
                    return None
                counted, chunks = dict[int, int](), 0
                records = Ros1Records(stream, begin, size_bytes)
                for record in records:
                    if isinstance(record, Gap):
                        return None
                    data = records.data(record)
                    if record.kind == CONNECTION:
                        self._describe(record, data)
                    elif record.kind == CHUNK_INFO:
                        chunks += 1
                        for at in range(0, len(data) - 7, 8):
                            number = int.from_bytes(data[at : at + 4], "little")
                            count = int.from_bytes(data[at + 4 : at + 8], "little")
                            counted[number] = counted.get(number, 0) + count
                is_whole = not records.is_cut and chunks == self._stated(stream, b"chunk_count")
                return counted if is_whole else None
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be read: {error.strerror}") from None

    def _counted(self) -> dict[int, int]:
        counted: dict[int, int] = {}

        def count(number: int) -> bool:
            counted[number] = counted.get(number, 0) + 1
            return False

        damages = Damages(self._path)
        for found in self._stored(count, damages):
            if isinstance(found, Damage):
                damages.add(found.what)
        if not counted:
            end = f"{damages.end}, or it is not a bag" if damages.end else "nothing was recorded"
            why = damages.first or end
            raise SourceError(f"{self._path}: holds no message; {why}")
        return counted

    @staticmethod
    def _stated(stream: BinaryIO, name: bytes) -> int:
        """A number in the bag's header; -1 without it."""
        begin = len(ROS1_BEGINS)
        head = Ros1Records(stream, begin, begin + _HEAD_BYTES).at(begin)
        return head.number(name) if head is not None and head.kind == BAG else -1

    def _index_at(self, stream: BinaryIO, size_bytes: int) -> int | None:
        """Where the index begins; None for a bag that has none, as its recorder was killed."""
        at = self._stated(stream, b"index_pos")
        if not len(ROS1_BEGINS) < at < size_bytes:
            return None
        first = Ros1Records(stream, at, size_bytes).at(at)
        return at if first is not None and first.kind in (CONNECTION, CHUNK_INFO) else None

    def _stored(self, is_wanted: Callable[[int], bool], damages: Damages) -> Iterator[Stored | Damage]:
        """The messages of wanted connections, by their numbers, and the damage between them."""
        try:
            size_bytes = self._path.stat().st_size
            with self._path.open("rb") as stream:
                index_at = self._index_at(stream, size_bytes)
                records = Ros1Records(stream, len(ROS1_BEGINS), index_at or size_bytes)
                yield from self._of_records(records, is_wanted, 0)
                if not self._has_index:
                    why = "it was not closed" if index_at is None else "its index is damaged"
                    damages.end = "it was cut off" if records.is_cut else why
        except OSError as error:
            damages.end = f"it cannot be read: {error.strerror}"

    def _of_records(
        self, records: Ros1Records, is_wanted: Callable[[int], bool], chunk_at: int
    ) -> Iterator[Stored | Damage]:
        """Of those of a file, or of a chunk that begins there."""
        for record in records:
            if isinstance(record, Gap):
                yield _damage(chunk_at or record.begin, f"{record.end - record.begin} bytes are no records")
            elif record.kind == CONNECTION:
                self._describe(record, records.data(record))
            elif record.kind == MESSAGE and is_wanted(number := record.number(b"conn")):
                if record.end - record.begin > MESSAGE_LIMIT_BYTES:
                    yield _damage(record.begin, f"a message has more than {MESSAGE_LIMIT_BYTES} bytes")
                elif record.end <= records.end:
                    yield Stored(number, record.time_ns, records.data(record))
            elif record.kind == CHUNK and not chunk_at:
                yield from self._of_chunk(records, record, is_wanted)

    def _of_chunk(
        self, records: Ros1Records, chunk: Record, is_wanted: Callable[[int], bool]
    ) -> Iterator[Stored | Damage]:
        compression = chunk.fields.get(b"compression", b"").decode(errors="replace")
        end, is_torn = min(chunk.end, records.end), chunk.end > records.end
        if compression == "none":
            inner = Ros1Records(records.stream, chunk.begin, end)
        else:
            try:
                content = _unpacked(compression, records.data(chunk))
            except Exception as error:  # of the packages, for bytes of any kind
                yield _damage(chunk.begin, f"a chunk cannot be read: {line_of(error)}")
                return
            if len(content) != chunk.number(b"size") and not is_torn:
                yield _damage(chunk.begin, "a chunk is not as long as it says")
            inner = Ros1Records(BytesIO(content), 0, len(content))
        yield from self._of_records(inner, is_wanted, chunk.begin)
        if inner.is_cut and not is_torn:
            yield _damage(chunk.begin, "a chunk cannot be read to its end")

    def _describe(self, record: Record, data: bytes) -> None:
        """Take a connection, once: the index has been read before the chunks, which may be damaged."""
        about = fields_of(data)
        topic = record.fields.get(b"topic")
        number = record.number(b"conn")
        if number in self._connections or about is None or topic is None or b"type" not in about:
            return
        parts = topic.decode(errors="replace").split("/")
        name = "/" * topic.startswith(b"/") + "/".join(filter(None, parts))
        fields = about.get(b"message_definition", b"")
        kind = about[b"type"].decode(errors="replace")
        self._connections[number] = name, Definition(kind, "ros1", "ros1msg", fields)


def _damage(begin: int, why: str) -> Damage:
    return Damage(f"at byte {begin}: {why}")


def _unpacked(compression: str, data: bytes) -> bytes:
    """A chunk's content, as far as it is there; raises ValueError, and what the packages do."""
    if compression == "bz2":
        import bz2  # which not every Python has

        content = bz2.BZ2Decompressor().decompress(data, CHUNK_LIMIT_BYTES + 1)
    elif compression == "lz4":
        import lz4.frame

        content = lz4.frame.LZ4FrameDecompressor().decompress(data, CHUNK_LIMIT_BYTES + 1)
    else:
        raise ValueError(f"it is compressed by {compression!r}; bz2 and lz4 are read")
    if len(content) > CHUNK_LIMIT_BYTES:
        raise ValueError(f"it has more than {CHUNK_LIMIT_BYTES} bytes")
    return bytes(content)
