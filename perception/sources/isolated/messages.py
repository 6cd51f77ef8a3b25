"""What a reader's process tells the node: JSON whose every value is looked at before it is believed.

The process runs decoders over bytes from a network. Whatever state it is in, its words may cost the node
this process, and nothing else.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field, fields
from typing import Any, Final, NoReturn

from perception.frame import Frame
from perception.imaging.letterbox import PixelAspect
from perception.imaging.pixel_aspect import FARTHEST
from perception.sources.isolated.shared_memory import Layout
from perception.sources.rate import RATE_KINDS
from perception.sources.source import SourceInfo

LARGEST_MESSAGE: Final = 65_536
GENERATIONS: Final = 255  # of rings, told in a byte; the one left over asks to open
COUNTS: Final = ("decode_errors", "io_errors", "unreadable", "clock_steps", "strays", "gaps")
_LONGEST_TEXT: Final = 2_000
_LARGEST_SIDE_PX: Final = 1 << 20
_LARGEST_RING: Final = 1 << 40  # bytes
_LARGEST_COUNT: Final = 1 << 62
_RATES_HZ: Final = (1e-6, 1e6)
_LONGEST_BURST_S: Final = 1e6
_LAYOUTS: Final = ("bgr", "bt601", "bt709")


class MalformedMessage(ValueError):
    """It says nothing that a sound process would say."""


@dataclass(frozen=True)
class NewRing:
    """Memory for frames comes with this message."""

    slots: int
    slot_bytes: int
    generation: int


@dataclass(frozen=True)
class Opened:
    """The source is open."""

    info: SourceInfo


@dataclass(frozen=True)
class NewFrame:
    """A frame lies in a slot."""

    slot: int
    layout: Layout
    values: dict[str, Any]
    """Of `Frame`, all but the pixels."""
    counts: dict[str, int]


@dataclass(frozen=True)
class Ended:
    """A recording came to its end."""

    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The source failed; it can be opened again."""

    text: str


Message = NewRing | Opened | NewFrame | Ended | Failed


def encoded(message: Message) -> bytes:
    """The message on its way."""
    if isinstance(message, Failed):
        message = Failed(_one_line(message.text))
    # not `asdict`, which copies deeply and takes 30 us a frame
    return json.dumps({"kind": type(message).__name__, **vars(message)}, default=vars).encode()


def decoded(data: bytes) -> Message:
    """The message that came; raises MalformedMessage."""
    try:
        told = json.loads(data, parse_constant=_no_number)
        kind = _mapping(told).pop("kind")
        message: Message = _BY_KIND[kind](told)
    except MalformedMessage:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedMessage(f"{type(error).__name__}: {error}") from None
    if told:
        raise MalformedMessage(f"unknown fields {sorted(told)}")
    return message


def _ring(told: dict[str, Any]) -> NewRing:
    return NewRing(
        _whole(told.pop("slots"), 1, 255),
        _whole(told.pop("slot_bytes"), 1, _LARGEST_RING),
        _whole(told.pop("generation"), 0, GENERATIONS - 1),
    )


def _opened(told: dict[str, Any]) -> Opened:
    info = _mapping(told.pop("info"))
    if info.keys() != {field.name for field in fields(SourceInfo)}:
        raise MalformedMessage(f"info of {sorted(info)}")
    rate_hz, frame_wh = info["rate_hz"], info["frame_wh"]
    if type(rate_hz) not in (int, float) or not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1]:
        raise MalformedMessage("rate_hz")
    if info["rate_kind"] not in RATE_KINDS:
        raise MalformedMessage("rate_kind")
    if frame_wh is not None:
        width, height = frame_wh
        frame_wh = (_side(width), _side(height))
    return Opened(
        SourceInfo(
            source_id=_text(info["source_id"]),
            is_live=_flag(info["is_live"]),
            frame_wh=frame_wh,
            rate_hz=float(rate_hz),
            description=_text(info["description"]),
            is_replayed=_flag(info["is_replayed"]),
            pixel_aspect=_aspect(info["pixel_aspect"]),
            burst_s=_seconds(info["burst_s"]),
            rate_kind=info["rate_kind"],
            is_one_picture=_flag(info["is_one_picture"]),
        )
    )


def _frame(told: dict[str, Any]) -> NewFrame:
    layout, values, counts = (_mapping(told.pop(name)) for name in ("layout", "values", "counts"))
    if layout.keys() != {"kind", "width", "height"} or layout["kind"] not in _LAYOUTS:
        raise MalformedMessage("layout")
    if values.keys() != FRAME_FIELDS:
        raise MalformedMessage(f"frame of {sorted(values)}")
    name = _text(values["name"])
    if not all(part.strip(".") for part in name.split("/")) or "\0" in name:  # it becomes the name of a file
        raise MalformedMessage("name")
    _text(values["source_id"])
    _flag(values["is_damaged"])
    values["pixel_aspect"] = _aspect(values["pixel_aspect"])
    for count in ("frame_id", "time_ns", "missed_before"):
        _whole(values[count], 0, _LARGEST_COUNT)
    _whole(values["captured_ns"], -_LARGEST_COUNT, time.monotonic_ns())  # one clock for both of us
    _check_counts(counts)
    return NewFrame(
        _whole(told.pop("slot"), 0, 254),
        Layout(layout["kind"], _side(layout["width"]), _side(layout["height"])),
        values,
        counts,
    )


def _ended(told: dict[str, Any]) -> Ended:
    counts = _mapping(told.pop("counts"))
    _check_counts(counts)
    return Ended(counts)


def _check_counts(counts: dict[str, Any]) -> None:
    for name, count in counts.items():
        if name not in COUNTS:
            raise MalformedMessage("counts")
        _whole(count, 0, _LARGEST_COUNT)


def _failed(told: dict[str, Any]) -> Failed:
    return Failed(_one_line(_text(told.pop("text"))))


FRAME_FIELDS: Final = {field.name for field in fields(Frame)} - {"pixels"}

_BY_KIND: Final[dict[str, Any]] = {
    NewRing.__name__: _ring,
    Opened.__name__: _opened,
    NewFrame.__name__: _frame,
    Ended.__name__: _ended,
    Failed.__name__: _failed,
}


def _no_number(constant: str) -> NoReturn:
    raise MalformedMessage(constant)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedMessage(f"{type(value).__name__} for a mapping")
    return value


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise MalformedMessage(f"a number that is not from {least} to {most}")
    return value


def _side(value: Any) -> int:
    return _whole(value, 1, _LARGEST_SIDE_PX)


def _aspect(value: Any) -> PixelAspect:
    width, height = (_side(side) for side in value)
    if not 1 / FARTHEST <= width / height <= FARTHEST:
        raise MalformedMessage("pixel_aspect")
    return width, height


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= _LONGEST_BURST_S:
        raise MalformedMessage("seconds")
    return float(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise MalformedMessage(f"{type(value).__name__} for a yes or no")
    return value


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_TEXT].strip()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise MalformedMessage(f"{type(value).__name__} for a text")
    os.fsencode(value)  # what no file can be named, no file is named; raises ValueError
    return value
