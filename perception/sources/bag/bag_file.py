"""The messages of one topic in a bag, whatever its form: rosbag2 (sqlite3, MCAP), one MCAP file, ROS 1."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from perception.sources.bag.bag_message import BagMessage, BagPart, BagTopic, listed_topics
from perception.sources.bag.bag_place import (
    DATABASE_BEGINS,
    MCAP_BEGINS,
    ROS1_BEGINS,
    head_of,
    parts_of,
    place_of,
)
from perception.sources.bag.compression import unpack_file
from perception.sources.bag.mcap_scan import McapScan
from perception.sources.bag.ros1_scan import Ros1Scan
from perception.sources.source import SourceError

_INSTALL: Final = "pip install 'drivable[mcap]'"
_PACKAGES: Final = ("mcap", "rosbags", "zstandard")
_PROBLEMS_LISTED: Final = 3
_COMPRESSED: Final = ".zstd"


class BagFile:
    """An open bag.

    Args:
        path: of the file or folder.

    Raises:
        SourceError: if nothing of it can be read, or the packages that read it are not installed.
    """

    def __init__(self, path: Path) -> None:
        self.place = path = place_of(path)
        """What was opened, where `path` is a folder around it."""
        if missing := [package for package in _PACKAGES if importlib.util.find_spec(package) is None]:
            raise SourceError(f"{path}: a bag needs the package {missing[0]}; {_INSTALL}")
        files, self._problems = parts_of(path)
        self._parts: list[BagPart] = []
        self._unpacked: TemporaryDirectory[str] | None = None
        try:
            for file in files:
                self._open(file)
        except BaseException:
            self.close()
            raise
        if not self._parts:
            self.close()
            raise SourceError(self._all_problems(self._problems) or f"{path}: holds no file of a bag")

    @property
    def topics(self) -> list[BagTopic]:
        """Those with pictures, in order of their names."""
        counts: dict[tuple[str, str], int] = {}
        for part in self._parts:
            for topic in part.topics:
                key = (topic.name, topic.type_name)
                counts[key] = counts.get(key, 0) + topic.count
        return listed_topics(counts)

    @property
    def all_topics(self) -> dict[str, str]:
        """Type of every topic."""
        return {name: type_name for part in self._parts for name, type_name in part.types.items()}

    def messages(self, topic: BagTopic) -> Iterator[BagMessage]:
        """Its messages of that type, in the order of recording, over what is damaged.

        Raises:
            SourceError: at the end, if the bag is damaged or ends before its end; what came is good.
        """
        problems = list(self._problems)
        for part in self._parts:
            try:
                yield from part.messages(topic)
            except SourceError as error:
                problems.append(str(error))
        if problems:
            raise SourceError(self._all_problems(problems))

    def close(self) -> None:
        """Close it."""
        for part in self._parts:
            part.close()
        self._parts = []
        unpacked, self._unpacked = self._unpacked, None
        if unpacked is not None:
            unpacked.cleanup()

    def _open(self, file: Path) -> None:
        """Add a file to the parts, or say why it is none."""
        try:
            if file.suffix == _COMPRESSED:
                file = self._unpack(file)
            self._parts.append(_part(file))
        except SourceError as error:
            self._problems.append(str(error))

    def _unpack(self, file: Path) -> Path:
        if self._unpacked is None:
            self._unpacked = TemporaryDirectory()
        to = Path(self._unpacked.name) / file.stem
        try:
            problem = unpack_file(file, to)
        except OSError as error:
            raise SourceError(f"{file}: cannot be decompressed to {to.parent}: {error.strerror}") from None
        if problem:
            self._problems.append(f"{file}: {problem}")
        return to

    @staticmethod
    def _all_problems(problems: list[str]) -> str:
        """In one line."""
        more = len(problems) - _PROBLEMS_LISTED
        return "; ".join(problems[:_PROBLEMS_LISTED]) + (f"; and {more} more" if more > 0 else "")


def _part(file: Path) -> BagPart:
    """The reader of a file, by its first bytes, or its name where these are damaged; raises SourceError."""
    head = head_of(file)
    is_known = head.startswith((MCAP_BEGINS, ROS1_BEGINS, DATABASE_BEGINS))
    if head.startswith(MCAP_BEGINS) or (not is_known and file.suffix == ".mcap"):
        return McapScan(file)
    if head.startswith(ROS1_BEGINS) or (not is_known and file.suffix == ".bag"):
        return Ros1Scan(file)
    from perception.sources.bag.database_scan import DatabaseScan  # not every Python has sqlite3

    return DatabaseScan(file)
