"""Settings: a frozen dataclass filled from YAML and then the command line, by jsonargparse."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import Field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings

from perception.masking import masked
from perception.yaml_file import YamlError, read_yaml

Settings = TypeVar("Settings")

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # a field's docstring is its help


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and what to write instead.

    Parsers quote what they were given, and that may be an address: no password gets into the message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(masked(" ".join(message.split())))


class _Parser(ArgumentParser):
    """The library's, whose `--print_config` shows no password."""

    def dump(self, *arguments: Any, **options: Any) -> str:
        """Settings as YAML."""
        return masked(super().dump(*arguments, **options))


def parse(
    kind: type[Settings], program: str, description: str, arguments: Sequence[str] | None = None
) -> Settings:
    """Fill `kind`: its defaults, then `--config FILE` (YAML), then the other arguments.

    Every field is reachable from both: `camera: {width: 1280}` in YAML is `--camera.width 1280` on
    the command line. `--config` takes a file or the name of a shipped one, such as `node/live`.

    Raises:
        SettingsError: for an unknown setting (naming the nearest known one) or an unusable value.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _Parser(prog=program, description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file, or the name of a shipped one")
    parser.add_class_arguments(kind)
    options = [option for action in parser._actions for option in action.option_strings]
    given = _config_first(_as_typed(given, options, _switches(kind)))
    typed = {argument.partition("=")[0].removeprefix("--") for argument in given}
    for position, argument in enumerate(given):
        if argument == "--config" and position + 1 < len(given):
            given[position + 1] = _checked_yaml(kind, given[position + 1], typed)
        elif argument.startswith("--config="):
            given[position] = f"--config={_checked_yaml(kind, argument.removeprefix('--config='), typed)}"
        elif argument.startswith("--") and argument.split("=")[0] not in options:
            raise SettingsError(_unknown(argument.split("=")[0], options, "the command line"))
    try:
        values = parser.instantiate(parser.parse_args(given))
        return kind(**{field.name: values[field.name] for field in _fields(kind)})
    except Exception as error:  # jsonargparse raises argparse's errors and many of its own
        raise SettingsError(str(error)) from None  # its own text may hold a password


def _fields(kind: type[Any]) -> tuple[Field[Any], ...]:
    return fields(kind)


UNITS = ("_s", "_hz", "_wh", "_deg")

_SIDES = r"(?:(\d+)x(\d+)|any)"
_SIDES_IN_A_GROUP = re.compile(rf"(?<=wh: ){_SIDES}(?=[\s,}}]|$)")


def _as_typed(given: list[str], options: list[str], switches: list[str]) -> list[str]:
    """What people type, in the parser's spelling: `--max-frames 5`, `--size 640x360`, `--realtime`."""
    spelled = []
    name = ""
    for position, argument in enumerate(given):
        if not argument.startswith("--"):
            spelled.append(_spelled_out(argument, name))
            continue
        name, equals, value = argument.partition("=")
        name = "--" + name[2:].replace("-", "_")
        if name not in options:
            name = next((name + unit for unit in UNITS if name + unit in options), name)
        spelled.append(name + equals + _spelled_out(value, name))
        following = given[position + 1] if position + 1 < len(given) else "--"
        if name[2:] in switches and not equals and following.lower() not in ("true", "false"):
            spelled.append("true")
    return spelled


def _spelled_out(text: str, name: str) -> str:
    """`640x360` as the list that it stands for, where `name` is of a width and a height; `any` is no size."""
    if _is_of_sides(name):
        return _as_list(match) if (match := re.fullmatch(_SIDES, text)) else text
    return _SIDES_IN_A_GROUP.sub(_as_list, text) if text.startswith(("[", "{")) else text


def _is_of_sides(name: str) -> bool:
    """Whether a setting so named holds a width and a height."""
    return name.endswith(("_wh", ".wh")) or name == "wh"


def _as_list(sides: re.Match[str]) -> str:
    return f"[{sides[1] or 0}, {sides[2] or 0}]"


def _with_sides(value: Any, name: str = "") -> Any:
    """The same for what stands in a file, in groups and lists of groups too."""
    if isinstance(value, dict):
        return {key: _with_sides(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_sides(item, name) for item in value]
    if isinstance(value, str) and _is_of_sides(name) and (match := re.fullmatch(_SIDES, value)):
        return yaml.safe_load(_as_list(match))
    return value


def _switches(kind: type[Any], prefix: str = "") -> list[str]:
    """Names of the settings that are true or false, nested ones too."""
    names = []
    for name, hint in get_type_hints(kind).items():
        if hint is bool:
            names.append(prefix + name)
        elif is_dataclass(hint) and isinstance(hint, type):
            names += _switches(hint, f"{prefix}{name}.")
    return names


def _config_first(given: list[str]) -> list[str]:
    """`--config` before all else: the parser takes the last word, and that is the command line's."""
    configs: list[str] = []
    others: list[str] = []
    for position, argument in enumerate(given):
        is_config = argument == "--config" or argument.startswith("--config=")
        is_its_file = position > 0 and given[position - 1] == "--config"
        (configs if is_config or is_its_file else others).append(argument)
    return configs + others


def shipped_config(name: str, suffix: str = ".yaml") -> Path | None:
    """The file of a shipped config such as `train/rt_m`; None where there is none of that name."""
    package = Path(str(files("perception")))
    for folder in (package / "configs", package.parent / "configs"):  # a wheel's, a checkout's
        file = folder / f"{name}{suffix}"
        if file.is_file():
            return file
    return None


def _checked_yaml(kind: type[Any], name: str, typed: set[str]) -> str:
    """The settings of a file as YAML, without those that are `typed` anew.

    The parser would fill the gaps of a list's new items with what the file says of its old ones.
    """
    file = Path(name)
    if not _is_file(file):
        shipped = shipped_config(name)
        if shipped is None:
            raise SettingsError(f"{name}: no such config file, and no shipped config of that name")
        file = shipped
    try:
        values = read_yaml(file)
    except YamlError as error:
        raise SettingsError(f"{file}: not readable as YAML: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{file}: expected settings as `name: value`")
    _check_names(kind, values, str(file), prefix="")
    return yaml.safe_dump(
        {name: _with_sides(value, name) for name, value in values.items() if name not in typed}
    )


def _is_file(file: Path) -> bool:
    """Whether it is one; raises SettingsError if that cannot be seen."""
    try:
        return file.is_file()
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None


def _check_names(kind: type[Any], values: dict[Any, Any], where: str, prefix: str) -> None:
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name not in hints:
            raise SettingsError(_unknown(f"{prefix}{name}", [prefix + known for known in hints], where))
        if is_dataclass(hints[name]) and not isinstance(value, dict):
            raise SettingsError(f"{where}: {prefix}{name} needs settings of its own as `name: value`")
        for inner in (hints[name], *get_args(hints[name])):
            if is_dataclass(inner) and isinstance(inner, type):
                for item in value if isinstance(value, list) else [value]:
                    if isinstance(item, dict):
                        _check_names(inner, item, where, f"{prefix}{name}.")


def _unknown(name: str, known: Sequence[str], where: str) -> str:
    completions = [whole for whole in known if whole.startswith(name)]
    nearest = completions or difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"{where}: unknown setting {name}; the nearest known one is {nearest[0]}"
