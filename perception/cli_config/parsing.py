"""From arguments to a frozen dataclass: its defaults, then YAML, then the command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from typing import Any, TypeVar, get_type_hints

import yaml
from jsonargparse import ArgumentParser, set_parsing_settings

from perception import __version__
from perception.cli_config.command_line import HELP, VERSION, read_command_line
from perception.cli_config.error import SettingsError
from perception.cli_config.files import read_config
from perception.cli_config.names import known_settings
from perception.cli_config.values import Place, made, missing, node_of, typed, typed_group
from perception.system.redaction import redacted

Settings = TypeVar("Settings")

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # a field's docstring is its help


def parse(
    kind: type[Settings], program: str, description: str, arguments: Sequence[str] | None = None
) -> Settings:
    """Fill `kind`: its defaults, then `--config FILE` (YAML), then the other arguments.

    Every field is reachable from both: `camera: {width: 1280}` in YAML is `--camera.width 1280` on
    the command line. `--config` takes a file or the name of a shipped one, such as `node/live`.

    Raises:
        SettingsError: for an unknown setting (naming what was meant, where that can be told) or an unusable
            value.
        SystemExit: once help, the version or the settings themselves were printed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    hashable: Any = kind  # which mypy does not see in a type of dataclasses
    parser = _parser(hashable, program, description)
    if any(argument in HELP for argument in given):
        parser.print_help()
        raise SystemExit(0)
    if any(argument in VERSION for argument in given):
        print(f"{program.split()[0]} {__version__}")
        raise SystemExit(0)
    known = known_settings(kind)
    line = read_command_line(given, known, program)
    values: dict[str, Any] = {}
    for name in line.configs:
        file, group_node = read_config(name, program)
        values = _over(values, typed_group(kind, group_node, Place(str(file), "", program)), kind)
    for name, node in line.values.items():
        value = typed(known[name], node, Place(None, name))
        for group in reversed(name.split(".")):
            value = {group: value}
        values = _over(values, value, kind)
    if gaps := missing(kind, values):
        one = "; name it" if len(gaps) == 1 else "; name them"
        wanted = " ".join(f"--{name} {name.upper()}" for name in gaps)
        raise SettingsError(
            f"{' and '.join(gaps)} {'is' if len(gaps) == 1 else 'are'} missing{one}: {wanted}"
        )
    settings = _made(kind, values)
    if line.asks_to_print:
        print(redacted(yaml.serialize(node_of(settings), allow_unicode=True)), end="")
        raise SystemExit(0)
    return settings


def from_values(kind: type[Settings], program: str, values: Mapping[str, Any]) -> Settings:
    """Fill `kind` from Python: names and values as in a YAML file, groups as dicts or as dataclasses.

    Args:
        program: whose settings they are.

    Raises:
        SettingsError: as of `parse`.
    """
    return _made(kind, typed_group(kind, node_of(values), Place(program=program)))


def _made(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    try:
        return made(kind, values)
    except Exception as error:  # whatever their own checks raise
        raise SettingsError(str(error)) from None  # its own text may hold a password


@cache
def _parser(kind: type[Any], program: str, description: str) -> ArgumentParser:
    usage = f"{program} [--config FILE] [--SETTING VALUE] …"
    parser = ArgumentParser(prog=program, usage=usage, description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file, or the name of a shipped one")
    parser.add_argument(*VERSION, action="version", version=__version__, help="Show which version this is.")
    parser.add_class_arguments(kind)
    return parser


def usage(program: str, *examples: str) -> str:
    """What a command says that was given nothing: its likeliest uses.

    Args:
        examples: what stands behind the command's name, and after two spaces and # what it does.
    """
    lines = [
        f"usage: {program} {example}" if not at else f"       {program} {example}"
        for at, example in enumerate(examples)
    ]
    return "\n".join([*lines, f"{program} --help lists every setting"])


def _over(before: Mapping[str, Any], later: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """What comes later has the last word: setting by setting in groups, and of lists the whole."""
    merged = dict(before)
    hints = get_type_hints(kind)
    for name, value in later.items():
        group = next((one for one in _kinds(hints[name]) if is_dataclass(one)), None)
        if isinstance(value, dict) and isinstance(merged.get(name), dict) and isinstance(group, type):
            value = _over(merged[name], value, group)
        merged[name] = value
    return merged


def _kinds(hint: Any) -> tuple[Any, ...]:
    return (hint, *getattr(hint, "__args__", ()))
