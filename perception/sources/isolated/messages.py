"""Messages from a reader process to the node: JSON, of which every value is checked.

The process decodes bytes from a network. Whatever state it is in, its messages may cost the node that process
and nothing else.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Final, Literal, NoReturn, get_args, get_origin, get_type_hints

from perception.frame import Frame
from perception.imaging.letterbox import PixelAspect
from perception.imaging.pixel_aspect import FARTHEST
from perception.sources.isolated.shared_memory import Layout
from perception.sources.source import SourceInfo

LARGEST_MESSAGE: Final = 65_536
GENERATIONS: Final = 255
"""Rings are numbered in one byte, of which one value is left for the request to open."""
COUNTS: Final = ("decode_errors", "io_errors", "unreadable", "clock_steps", "strays", "gaps")
_LONGEST_TEXT: Final = 2_000


class MalformedMessage(ValueError):
    """Not a message that an intact process would send."""


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
    """A frame is in a slot."""

    slot: int
    layout: Layout
    values: dict[str, Any]
    """Fields of `Frame` except the pixels and the JPEG."""
    counts: dict[str, int]
    jpeg_bytes: int = 0
    """Of the JPEG behind the pixels; 0 without one."""


@dataclass(frozen=True)
class Ended:
    """A recording reached its end."""

    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The source failed; it can be opened again."""

    text: str


Message = NewRing | Opened | NewFrame | Ended | Failed


def encoded(message: Message) -> bytes:
    """The message as bytes."""
    if isinstance(message, Failed):
        message = Failed(_one_line(message.text))
    # not `asdict`, which copies deeply and takes 30 us a frame
    return json.dumps({"kind": type(message).__name__, **vars(message)}, default=vars).encode()


def decoded(data: bytes) -> Message:
    """The message in the bytes; raises MalformedMessage."""
    try:
        values = json.loads(data, parse_constant=_not_a_number)
        kind = _mapping(values).pop("kind")
        message: Message = _MESSAGES[kind](values)
    except MalformedMessage:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedMessage(f"{type(error).__name__}: {error}") from None
    return message


def _not_a_number(constant: str) -> NoReturn:
    raise MalformedMessage(constant)


Check = Callable[[Any], Any]
"""Gives the value, converted if necessary; raises MalformedMessage or what `decoded` expects."""


def _object(make: Callable[..., Any], hints: dict[str, Any]) -> Check:
    """A mapping with exactly these keys, as arguments of `make`."""
    checks = {name: _BY_NAME.get(name) or _by_type(hint) for name, hint in hints.items()}

    def check(value: Any) -> Any:
        values = _mapping(value)
        if values.keys() != checks.keys():
            raise MalformedMessage(f"fields {sorted(values)}")
        return make(**{name: checked(values[name]) for name, checked in checks.items()})

    return check


def _by_type(hint: Any) -> Check:
    if isinstance(hint, type) and is_dataclass(hint):
        return _object(hint, get_type_hints(hint))
    if get_origin(hint) is Literal:
        return _one_of(*get_args(hint))
    return {int: _count, bool: _is(bool), str: _text}[hint]


def _number(least: float, most: float, *types: type) -> Check:
    def check(value: Any) -> Any:
        if type(value) not in types or not least <= value <= most:
            raise MalformedMessage(f"not a number from {least:g} to {most:g}")
        return value

    return check


def _one_of(*known: str) -> Check:
    def check(value: Any) -> str:
        if value not in known:
            raise MalformedMessage(f"not one of {', '.join(known)}")
        return str(value)

    return check


def _is(kind: type) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise MalformedMessage(f"{type(value).__name__} instead of {kind.__name__}")
        return value

    return check


_mapping: Final = _is(dict)
_side: Final = _number(1, 1 << 20, int)
_count: Final = _number(0, 1 << 62, int)


def _wh(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    width, height = map(_side, value)
    return width, height


def _aspect(value: Any) -> PixelAspect:
    width, height = map(_side, value)
    if not 1 / FARTHEST <= width / height <= FARTHEST:
        raise MalformedMessage("pixel aspect")
    return width, height


def _text(value: Any) -> str:
    text: str = _is(str)(value)
    os.fsencode(text)  # it may become a file name; raises ValueError
    return text


def _frame_name(value: Any) -> str:
    name = _text(value)
    if not all(part.strip(".") for part in name.split("/")) or "\0" in name:  # it becomes a file name
        raise MalformedMessage("frame name")
    return name


def _past_ns(value: Any) -> Any:
    return _number(-1 << 62, time.monotonic_ns(), int)(value)  # both processes share the clock


def _counts(value: Any) -> dict[str, int]:
    return {_one_of(*COUNTS)(name): _count(count) for name, count in _mapping(value).items()}


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_TEXT].strip()


_BY_NAME: Final[dict[str, Check]] = {
    "burst_s": _number(0, 1e6, int, float),
    "captured_ns": _past_ns,
    "counts": _counts,
    "frame_wh": _wh,
    "generation": _number(0, GENERATIONS - 1, int),
    "height": _side,
    "name": _frame_name,
    "pixel_aspect": _aspect,
    "rate_hz": _number(1e-6, 1e6, int, float),
    "slot": _number(0, 254, int),
    "slot_bytes": _number(1, 1 << 40, int),
    "slots": _number(1, 255, int),
    "text": lambda text: _one_line(_text(text)),
    "width": _side,
}
"""Fields that may not have every value of their type."""
IN_MEMORY: Final = ("pixels", "jpeg")
"""Fields of `Frame` that are passed through shared memory."""
_FRAME_HINTS: Final = {name: hint for name, hint in get_type_hints(Frame).items() if name not in IN_MEMORY}
FRAME_FIELDS: Final = tuple(_FRAME_HINTS)
_BY_NAME["values"] = _object(dict, _FRAME_HINTS)
_MESSAGES: Final = {kind.__name__: _by_type(kind) for kind in (NewRing, Opened, NewFrame, Ended, Failed)}
