"""What every reader of bags gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from perception.sources.source import SourceError

VIDEO: Final = "foxglove_msgs/msg/CompressedVideo"
PICTURES: Final = {
    "sensor_msgs/msg/Image": "pictures",
    "sensor_msgs/msg/CompressedImage": "JPEG, PNG or video",
    "foxglove_msgs/msg/RawImage": "pictures",
    "foxglove_msgs/msg/CompressedImage": "JPEG or PNG",
    VIDEO: "video",
}
_FIELDS: Final = {
    "sensor_msgs/msg/Image": ("header", "height", "width", "encoding", "step", "data"),
    "sensor_msgs/msg/CompressedImage": ("header", "format", "data"),
    "foxglove_msgs/msg/RawImage": ("timestamp", "height", "width", "encoding", "step", "data"),
    "foxglove_msgs/msg/CompressedImage": ("timestamp", "format", "data"),
    VIDEO: ("timestamp", "format", "data"),
}
"""That pictures are taken from: a bag brings its own definitions of types."""


class BagMessage(NamedTuple):
    """One message."""

    message: Any
    """By its fields; None if it cannot be decoded."""
    log_ns: int
    """When it was recorded, in UTC."""
    problem: str = ""
    """Why it cannot be decoded."""
    is_after_damage: bool = False
    """Messages before it may be lost, as a part of the file cannot be read."""


class Stored(NamedTuple):
    """One message as it is stored."""

    key: int
    """Of the connection, channel or topic of the file."""
    log_ns: int
    data: bytes


class Damage(NamedTuple):
    """Messages may be lost here."""

    what: str
    """Where and why; empty if that has been said."""


@dataclass(frozen=True)
class BagTopic:
    """A topic with pictures."""

    name: str
    type_name: str
    count: int


class BagPart(Protocol):
    """One file of a bag."""

    types: dict[str, str]
    """Type of every topic."""
    topics: list[BagTopic]
    """Those with pictures."""

    def messages(self, topic: BagTopic) -> Iterator[BagMessage]:
        """Its messages of that type, in the order of the file, with those behind a damaged part.

        Raises:
            SourceError: at the end, if something could not be read, or the file was cut off.
        """
        ...

    def close(self) -> None:
        """Close it."""
        ...


@dataclass
class Damages:
    """What of a file cannot be read."""

    path: Path
    count: int = 0
    first: str = ""
    """Where and why."""
    end: str = ""
    """Why the file ends before its end; empty if it does not."""

    def add(self, what: str) -> None:
        """Count one place."""
        self.count += 1
        self.first = self.first or what

    def check(self, messages: int, topic: str) -> None:
        """Raise SourceError if there is any; the line says how many messages of the topic were read."""
        if self.count:
            more = f", and in {self.count - 1} more places" if self.count > 1 else ""
            end = f", and it is incomplete: {self.end}" if self.end else ""
            raise SourceError(
                f"{self.path}: is damaged {self.first}{more}{end}; {messages} messages of {topic} were read"
            )
        if self.end:
            raise SourceError(f"{self.path}: is incomplete: {self.end}")


def listed_topics(counts: Mapping[tuple[str, str], int]) -> list[BagTopic]:
    """In order of their names, from counts by name and type."""
    return [BagTopic(*key, count) for key, count in sorted(counts.items())]


def line_of(error: Exception) -> str:
    """What a package says, in one line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def lacking(message: Any, type_name: str) -> list[str]:
    """Fields that the bag's definition of the type does not have."""
    return [field for field in _FIELDS[type_name] if not hasattr(message, field)]
