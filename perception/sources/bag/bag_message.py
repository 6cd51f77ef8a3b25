"""What every reader of bags gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

PICTURES: Final = {
    "sensor_msgs/msg/Image": "pictures",
    "sensor_msgs/msg/CompressedImage": "JPEG or PNG",
    "foxglove_msgs/msg/CompressedVideo": "video",
}
_FIELDS: Final = {
    "sensor_msgs/msg/Image": ("header", "height", "width", "encoding", "step", "data"),
    "sensor_msgs/msg/CompressedImage": ("header", "format", "data"),
    "foxglove_msgs/msg/CompressedVideo": ("timestamp", "data", "format"),
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


@dataclass(frozen=True)
class BagTopic:
    """A topic with pictures."""

    name: str
    type_name: str
    count: int


def line_of(error: Exception) -> str:
    """What a package says, in one line."""
    return " ".join(str(error).split()).rstrip(".")


def lacking(message: Any, type_name: str) -> list[str]:
    """Fields that the bag's definition of the type does not have."""
    return [field for field in _FIELDS[type_name] if not hasattr(message, field)]
