"""The messages of one topic in a bag, whatever its form: rosbag2 (sqlite3, MCAP), one MCAP file, ROS 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from perception.sources.bag.bag_message import PICTURES, BagMessage, BagTopic, line_of
from perception.sources.bag.bag_place import MCAP_BEGINS, head_of, journal_of, place_of
from perception.sources.bag.mcap_scan import McapScan
from perception.sources.source import SourceError

_INSTALL: Final = "pip install 'drivable[mcap]'"


class BagFile:
    """An open bag.

    Args:
        path: of the file or folder.

    Raises:
        SourceError: if it is none, or the packages that read it are not installed.
    """

    def __init__(self, path: Path) -> None:
        self.place = path = place_of(path)
        """What was opened, where `path` is a folder around it."""
        is_mcap = path.is_file() and head_of(path).startswith(MCAP_BEGINS)
        files = [path] if is_mcap else sorted(path.glob("*.mcap"))
        try:
            if files:
                import mcap.reader  # noqa: F401
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise SourceError(f"{path}: bags need packages that are not installed; {_INSTALL}") from None
        self._path = path
        self._scan: McapScan | None = None
        self._refused = ""
        reader: Any = None
        try:
            reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            reader.open()
        except Exception as error:  # of the packages, for files of any content
            refused = f"{path}: cannot be read as a bag: {line_of(error)}{_hint(error, path)}"
            if len(files) != 1:
                raise SourceError(refused) from None
            self._path, self._scan = files[0], McapScan(files[0])
            self._refused = "" if is_mcap else refused
        self._reader = reader

    @property
    def topics(self) -> list[BagTopic]:
        """Those with pictures, in order of their names."""
        if self._scan is not None:
            return self._scan.topics
        found: dict[tuple[str, str], int] = {}
        for connection in self._reader.connections:
            if connection.msgtype in PICTURES:
                key = (connection.topic, connection.msgtype)
                found[key] = found.get(key, 0) + connection.msgcount
        return [BagTopic(*key, count) for key, count in sorted(found.items())]

    @property
    def all_topics(self) -> dict[str, str]:
        """Type of every topic."""
        if self._scan is not None:
            return self._scan.types
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    def messages(self, topic: BagTopic) -> Iterator[BagMessage]:
        """Its messages of that type, in the order of recording.

        Raises:
            SourceError: where the bag is damaged or ends before its end; what came before it is good.
        """
        if self._scan is not None:
            yield from self._scan.messages(topic)
            if self._refused:  # though its only file is whole
                raise SourceError(self._refused)
            return
        chosen = [
            connection
            for connection in self._reader.connections
            if (connection.topic, connection.msgtype) == (topic.name, topic.type_name)
        ]
        count = 0
        try:
            for connection, log_ns, data in self._reader.messages(connections=chosen):
                try:
                    found = BagMessage(self._reader.deserialize(data, connection.msgtype), log_ns)
                except Exception as error:  # as above
                    found = BagMessage(None, log_ns, line_of(error))
                yield found
                count += 1
        except Exception as error:  # as above
            raise SourceError(
                f"{self._path}: is damaged after {count} messages of {topic.name}: {line_of(error)}"
                f"{_hint(error, self._path)}"
            ) from None
        if journal := journal_of(self._path):
            raise SourceError(f"{self._path}: ends before its end: {journal}")

    def close(self) -> None:
        """Close it."""
        if self._scan is None:
            self._reader.close()


def _hint(error: Exception, path: Path) -> str:
    """What to do about it."""
    says = str(error).lower()
    if journal := journal_of(path):
        return f"; {journal}"
    if "index" in says:
        return "; rosbag reindex adds the index"
    if "malformed" in says:
        return "; sqlite3 FILE.db3 .recover gives what can still be read"
    return ""
