"""From arguments to a frozen dataclass: its defaults, then YAML, then the command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar, get_type_hints

import yaml

from perception import __version__
from perception.cli_config.command_line import VERSION, help_topic, read_command_line
from perception.cli_config.error import SettingsError
from perception.cli_config.files import read_config
from perception.cli_config.help import Program, help_text
from perception.cli_config.names import group_in, known_settings
from perception.cli_config.values import Place, made, missing, node_of, typed, typed_group
from perception.system.redaction import redacted

Settings = TypeVar("Settings")


def parse(
    kind: type[Settings],
    program: str,
    description: str,
    arguments: Sequence[str] | None = None,
    *,
    positional: Sequence[str] = (),
    daily: Sequence[str] = (),
) -> Settings:
    """Fill `kind`: its defaults, then `--config FILE` (YAML), then the other arguments.

    Every field is reachable from both: `camera: {width: 1280}` in YAML is `--camera.width 1280` on
    the command line. `--config` takes a file or the name of a shipped one, such as `node/live`.

    Args:
        positional: settings that may be typed without their names, in this order.
        daily: settings that --help explains, leaving the others to --help GROUP; without any it explains all.

    Raises:
        SettingsError: for an unknown setting (naming what was meant, where that is clear) or an unusable
            value.
        SystemExit: once help, the version or the settings themselves were printed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if (topic := help_topic(given)) is not None:
        _print_and_end(help_text(kind, Program(program, description, positional, daily), topic))
    if any(argument in VERSION for argument in given):
        _print_and_end(f"{program.split()[0]} {__version__}")
    known = known_settings(kind)
    line = read_command_line(given, known, program, positional)
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
        raise SettingsError(_missing(gaps, values, program, positional))
    settings = _made(kind, values)
    if line.asks_to_print:
        _print_and_end(yaml.serialize(node_of(settings), allow_unicode=True).rstrip("\n"))
    return settings


def from_values(kind: type[Settings], program: str, values: Mapping[str, Any]) -> Settings:
    """Fill `kind` from Python: names and values as in a YAML file, groups as dicts or as dataclasses.

    Args:
        program: whose settings they are.

    Raises:
        SettingsError: as of `parse`.
    """
    return _made(kind, typed_group(kind, node_of(values), Place(program=program)))


def usage(program: str, *examples: str) -> str:
    """What a command prints that was given nothing: its likeliest uses.

    Args:
        examples: what stands behind the command's name, and after two spaces and # what it does.
    """
    lines = [
        f"usage: {program} {example}" if not at else f"       {program} {example}"
        for at, example in enumerate(examples)
    ]
    return "\n".join([*lines, f"{program} --help all lists every setting"])


def _missing(gaps: Sequence[str], values: Mapping[str, Any], program: str, positional: Sequence[str]) -> str:
    many = len(gaps) > 1
    problem = f"{' and '.join(gaps)} {'are' if many else 'is'} missing"
    if set(gaps) <= set(positional):
        words = " ".join(str(values.get(name, name.upper())) for name in positional)
        return f"{problem}; expected: {program} {words}"
    wanted = " ".join(f"--{name} {name.upper()}" for name in gaps)
    return f"{problem}; name {'them' if many else 'it'}: {wanted}"


def _print_and_end(text: str) -> NoReturn:
    print(redacted(text))
    raise SystemExit(0)


def _made(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    try:
        return made(kind, values)
    except Exception as error:  # whatever their own checks raise
        raise SettingsError(str(error)) from None  # its own text may hold a password


def _over(before: Mapping[str, Any], later: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """What comes later has the last word: setting by setting in groups, and of lists the whole."""
    merged = dict(before)
    hints = get_type_hints(kind)
    for name, value in later.items():
        group = group_in(hints[name])
        if isinstance(value, dict) and isinstance(merged.get(name), dict) and group is not None:
            value = _over(merged[name], value, group)
        merged[name] = value
    return merged
