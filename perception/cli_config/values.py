"""Values as their settings want them, from text: what a setting is says how its text is read, and not YAML.

So `source: 0` is a text, `duration: 1:30` are seconds, `1e3` is a number, and `name: on` stays what it says.
"""

from __future__ import annotations

import math
import os
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from os import name as system
from pathlib import Path, PurePath
from typing import Any, Final, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from perception.cli_config.error import SettingsError
from perception.cli_config.names import known_settings, resolved, unknown
from perception.system.plugins import SWITCH

Settings = TypeVar("Settings")

_LONGEST_SHOWN: Final = 60
_LONGEST_NUMBER: Final = 40
_NULL: Final = ("", "~", "null", "Null", "NULL")
_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")
_WHOLE: Final = re.compile(r"[+-]?\d[\d_]*")
_HEX: Final = re.compile(r"0[xX][0-9A-Fa-f]+")
_NUMBER: Final = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z°]*)")
_CLOCK: Final = re.compile(r"(?:(\d+):)?(\d+):([0-5]?\d(?:\.\d*)?)")
_SIDES: Final = re.compile(r"(\d+)\s*[xX×]\s*(\d+)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_WINDOWS_PATH: Final = re.compile(r"[A-Za-z]:\\")
_OURS: Final = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq")
)
_PLAIN: Final = (None, "")
"""Styles of a scalar without quotes."""
_MEASURES: Final[Mapping[str, Mapping[str, float]]] = {
    "_s": {"s": 1, "sec": 1, "ms": 1e-3, "m": 60, "min": 60, "h": 3600, "d": 86400},
    "_ms": {"ms": 1, "s": 1e3, "us": 1e-3},
    "_hz": {"hz": 1, "fps": 1, "khz": 1e3},
    "_mb": {"mb": 1, "m": 1, "gb": 1e3, "g": 1e3, "kb": 1e-3, "k": 1e-3, "tb": 1e6},
    "_m": {"m": 1, "cm": 1e-2, "mm": 1e-3},
    "_deg": {"deg": 1, "°": 1},
}
_SUCH_AS: Final = {
    "_s": "a number of seconds is expected, such as 90, 90s, 1.5min or 1:30",
    "_ms": "a number of milliseconds is expected, such as 200 or 200ms",
    "_hz": "a number per second is expected, such as 30",
    "_mb": "a number of megabytes is expected, such as 200, 200MB or 2GB",
    "_m": "a number of metres is expected, such as 1.45, 145cm or 25mm",
    "_deg": "a number of degrees is expected",
}


class _Mismatch(Exception):
    """A value that is not of the kind that was tried."""


@dataclass(frozen=True)
class Place:
    """Where a value stands."""

    file: str | None = None
    """None for the command line."""
    name: str = ""
    program: str = ""
    """Whose settings they are."""

    def inside(self, name: str) -> Place:
        """Of a setting of this group."""
        return replace(self, name=f"{self.name}.{name}" if self.name else name)

    def refuse(self, node: yaml.Node, problem: str) -> NoReturn:
        """Raise SettingsError, with the line where it is a file's."""
        raise SettingsError(f"{self._where(node)}{self.name} {problem}".strip())

    def unknown(self, node: yaml.Node, known: list[str]) -> NoReturn:
        """The same for a name that no setting has."""
        raise SettingsError(f"{self._where(node)}{unknown(self.name, known, self.program)}")

    def _where(self, node: yaml.Node) -> str:
        return f"{self.file}: line {node.start_mark.line + 1}: " if self.file else ""


def typed_group(kind: type[Any], node: yaml.Node, place: Place) -> dict[str, Any]:
    """The settings of a dataclass that a mapping names, and no others, each as its field wants it.

    `true` or `false` in place of a group that can be turned on or off does that.

    Raises:
        SettingsError: for an unknown name, one that stands twice, or a value that cannot be used.
    """
    hints = get_type_hints(kind)
    if hints.get(SWITCH) is bool and isinstance(node, yaml.ScalarNode) and not _is_null(node):
        return {SWITCH: typed(bool, node, place)}
    if not isinstance(node, yaml.MappingNode):
        place.refuse(node, "needs settings of its own as `name: value`")
    values: dict[str, Any] = {}
    for key, value in _pairs(node, place):
        name = resolved(key.value, hints)
        if name is None:
            place.inside(key.value).unknown(key, list(known_settings(kind, place.name)))
        if name in values:
            place.inside(name).refuse(key, "occurs twice")
        values[name] = typed(hints[name], value, place.inside(name))
    return values


def node_of(value: Any) -> yaml.Node:
    """A value from Python as it would stand in a file; dataclasses are groups.

    Raises:
        SettingsError: for what no file can hold.
    """
    try:
        node: yaml.Node = _Representer(sort_keys=False).represent_data(value)
    except yaml.representer.RepresenterError as error:
        kind = type(error.args[-1]).__name__
        raise SettingsError(
            f"a setting has a value of type {kind}; numbers, texts, lists and groups are expected"
        ) from None
    return node


class _Representer(yaml.representer.SafeRepresenter):
    def represent_data(self, data: Any) -> Any:
        if is_dataclass(data) and not isinstance(data, type):
            data = {field.name: getattr(data, field.name) for field in fields(data)}
        elif isinstance(data, PurePath):
            data = str(data)
        return super().represent_data(data)


def missing(kind: type[Any], values: Mapping[str, Any]) -> list[str]:
    """The names of what has no default and was not given."""
    return [
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING and field.name not in values
    ]


def made(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The dataclass of these values, of `typed_group`; raises what its own checks do."""
    if gaps := missing(kind, values):
        raise SettingsError(f"{' and '.join(gaps)} {'is' if len(gaps) == 1 else 'are'} missing")
    hints = get_type_hints(kind)
    return kind(**{name: _made_as(hints[name], value) for name, value in values.items()})


def _made_as(hint: Any, value: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        fitting = [one for one in get_args(hint) if _holds(one, value)]
        return _made_as(fitting[0], value) if fitting else value
    inner = get_args(hint)
    if isinstance(value, list):
        kinds = inner if get_origin(hint) is tuple and inner[-1] is not Ellipsis else (inner[0],) * len(value)
        items = [_made_as(kind, item) for kind, item in zip(kinds, value, strict=True)]
        return tuple(items) if get_origin(hint) is tuple else items
    if isinstance(value, dict):
        if is_dataclass(hint) and isinstance(hint, type):
            return made(hint, value)
        return {name: _made_as(inner[1], item) for name, item in value.items()}
    return value


def _holds(hint: Any, value: Any) -> bool:
    """Whether a value that is a list or a group is one of this type."""
    if isinstance(value, list):
        return get_origin(hint) in (list, tuple)
    return isinstance(value, dict) and (is_dataclass(hint) or get_origin(hint) is dict)


def typed(hint: Any, node: yaml.Node, place: Place) -> Any:
    """A value as `hint` wants it: text, number, list, group as a dict, or None.

    Raises:
        SettingsError: saying what is expected.
    """
    if node.tag not in _OURS:
        place.refuse(node, f"has the tag {_cut(node.tag)}; tags are not supported")
    try:
        return _tried(hint, node, place)
    except _Mismatch:
        comma = ""
        if _is_number(hint) and re.fullmatch(r"\d+,\d+", _text(node)):
            comma = f", with a point: {_text(node).replace(',', '.')}"
        place.refuse(node, f"{_shown(node)}; {_wanted(hint, place)}{comma}")


def _tried(hint: Any, node: yaml.Node, place: Place) -> Any:
    """Raises _Mismatch."""
    kind = get_origin(hint)
    if kind in (Union, types.UnionType):
        return _one_of(get_args(hint), node, place)
    if is_dataclass(hint) and isinstance(hint, type):
        return typed_group(hint, node, place)
    if kind in (list, tuple):
        return _items(hint, node, place)
    if kind is dict:
        if not isinstance(node, yaml.MappingNode):
            raise _Mismatch
        inner = get_args(hint)[1]
        return {key.value: typed(inner, value, place.inside(key.value)) for key, value in _pairs(node, place)}
    if not isinstance(node, yaml.ScalarNode):
        raise _Mismatch
    if kind is Literal:
        return _choice(get_args(hint), node.value)
    if _is_null(node):
        raise _Mismatch
    if hint is str:
        return _as_text(node, place)
    return _READ[hint](node.value.strip(), place.name)


def _one_of(kinds: tuple[Any, ...], node: yaml.Node, place: Place) -> Any:
    if type(None) in kinds and _is_null(node):
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others[:-1]:
        try:
            return _tried(kind, node, place)
        except _Mismatch:
            continue
    return _tried(others[-1], node, place)


def _items(hint: Any, node: yaml.Node, place: Place) -> list[Any]:
    inner = get_args(hint)
    if _is_sides(hint, place.name) and isinstance(node, yaml.ScalarNode):
        return _sides(node.value.strip())
    is_of_any_length = get_origin(hint) is list or inner[-1] is Ellipsis
    if isinstance(node, yaml.SequenceNode):
        nodes = node.value
    elif is_dataclass(inner[0]) and isinstance(node, yaml.MappingNode):
        nodes = [node]  # one of them alone
    elif isinstance(node, yaml.ScalarNode) and not _is_null(node) and not is_dataclass(inner[0]):
        nodes = _parts(node) if node.style in _PLAIN or not is_of_any_length else [node]
    else:
        raise _Mismatch
    if not is_of_any_length and len(nodes) != len(inner):
        raise _Mismatch
    kinds = [inner[0]] * len(nodes) if is_of_any_length else list(inner)
    values = []
    for kind, part in zip(kinds, nodes, strict=True):
        values.append(typed(kind, part, place))
        if is_dataclass(kind) and isinstance(kind, type) and (gaps := missing(kind, values[-1])):
            place.refuse(part, f"has a group without {', '.join(gaps)}")
    return values


def _parts(node: yaml.ScalarNode) -> list[yaml.Node]:
    """`a,b` as two."""
    return [
        yaml.ScalarNode(node.tag, part.strip(), node.start_mark, node.end_mark, node.style)
        for part in node.value.split(",")
    ]


def _pairs(node: yaml.MappingNode, place: Place) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """Names and values, with those of merged groups; what stands in the group itself has the last word."""
    try:
        yaml.constructor.SafeConstructor().flatten_mapping(node)  # merged ones come first
    except yaml.constructor.ConstructorError:
        place.refuse(node, "merges (<<) something that is not a group")
    merged = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            place.refuse(key, "contains something that is not a name; `name: value` is expected")
        merged[key.value] = (key, value)
    yield from merged.values()


def _as_text(node: yaml.ScalarNode, place: Place) -> str:
    value: str = node.value
    if not value.strip():
        place.refuse(node, "has no value")
    if node.style == '"' and place.file and _CONTROL.search(value):
        place.refuse(
            node, "contains a control character: \\ begins one in double quotes, but not in single quotes"
        )
    if "\0" in value or not _is_encodable(value):
        place.refuse(node, "contains a character that no name can have")
    if _WINDOWS_PATH.match(value) and system != "nt":
        place.refuse(node, f"is {_cut(value)}, a Windows path; on this system paths are written with /")
    return str(Path(value).expanduser()) if value.startswith("~/") else value


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _as_bool(text: str, name: str) -> bool:
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise _Mismatch


def _as_int(text: str, name: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise _Mismatch
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _WHOLE.fullmatch(text):
        return int(text.replace("_", ""))
    number = _as_float(text, name)
    if not number.is_integer():
        raise _Mismatch
    return int(number)


def _as_float(text: str, name: str) -> float:
    """A finite number, in the setting's own unit."""
    if len(text) > _LONGEST_NUMBER:
        raise _Mismatch
    if _HEX.fullmatch(text):
        return float(int(text, 16))
    unit = _unit_of(name)
    if unit == "_s" and (clock := _CLOCK.fullmatch(text)):
        hours, minutes, seconds = clock.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds)
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise _Mismatch
    factor = _MEASURES.get(unit, {}).get(match[2].lower()) if match[2] else 1
    number = float(match[1].replace("_", ""))
    if factor is None or not math.isfinite(number):
        raise _Mismatch
    return number * factor


_READ: Final[Mapping[Any, Any]] = {bool: _as_bool, int: _as_int, float: _as_float}


def _choice(choices: tuple[Any, ...], text: str) -> Any:
    for choice in choices:
        if text.strip().lower() == str(choice).lower():
            return choice
    raise _Mismatch


def _sides(text: str) -> list[int]:
    """`640x360` or `640,360`; `any` is no size."""
    if text.lower() == "any":
        return [0, 0]
    match = _SIDES.fullmatch(text) or re.fullmatch(r"(\d+)\s*,\s*(\d+)", text)
    if match is None or max(map(len, match.groups())) > _LONGEST_NUMBER:
        raise _Mismatch
    return [int(match[1]), int(match[2])]


def _is_sides(hint: Any, name: str) -> bool:
    """Whether a setting so named holds a width and a height."""
    last = name.rpartition(".")[2]
    return get_args(hint) == (int, int) and (last == "wh" or last.endswith("_wh"))


def _is_null(node: yaml.Node) -> bool:
    """Whether it says that there is no value; what stands in quotes is a text."""
    return isinstance(node, yaml.ScalarNode) and node.style in _PLAIN and node.value in _NULL


def _is_number(hint: Any) -> bool:
    return any(kind in (int, float) for kind in (hint, *get_args(hint)))


def _unit_of(name: str) -> str:
    return next((unit for unit in _MEASURES if name.endswith(unit)), "")


def _text(node: yaml.Node) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _shown(node: yaml.Node) -> str:
    """What was given, without what may be secret: of lists and groups nothing."""
    if isinstance(node, yaml.ScalarNode):
        return f"is {_cut(node.value)}" if node.value.strip() else "has no value"
    return "is a list" if isinstance(node, yaml.SequenceNode) else "is a group"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _wanted(hint: Any, place: Place) -> str:
    """What to write instead."""
    name = place.name
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    if get_origin(hint) in (Union, types.UnionType):
        if len(kinds) == 1:
            return _wanted(kinds[0], place)
        alone = [_wanted(kind, place).removesuffix(" is expected") for kind in kinds]
        return f"{' or '.join(alone)} is expected"
    if get_origin(hint) is Literal:
        return (
            f"it must be one of {', '.join(map(str, kinds))}" if len(kinds) > 1 else f"{kinds[0]} is expected"
        )
    if _is_sides(hint, name):
        return "a width and a height are expected, such as 1280x720"
    if get_origin(hint) is tuple and kinds[-1] is not Ellipsis:
        return f"{len(kinds)} values are expected, such as [{', '.join(['0'] * len(kinds))}]"
    if get_origin(hint) in (list, tuple):
        if is_dataclass(kinds[0]):
            return "groups are expected, such as [{" + f"{fields(kinds[0])[0].name}: …" + "}]"
        return "values are expected, such as [first, second]"
    if hint is float:
        return _SUCH_AS.get(_unit_of(name), "a number is expected")
    return {
        bool: "true or false is expected",
        int: "a whole number is expected",
        str: "a text is expected",
    }.get(hint, "`name: value` is expected")
