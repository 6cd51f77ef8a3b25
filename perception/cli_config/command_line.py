"""A command line taken apart: which settings it names, each with its text as a YAML node."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, get_args, get_origin

import yaml

from perception.cli_config.error import SettingsError
from perception.cli_config.names import is_open_list, resolved, unknown
from perception.cli_config.yaml_file import YamlError, composed

log = logging.getLogger(__name__)

WHERE: Final = "the command line"
HELP: Final = ("-h", "--help")
VERSION: Final = ("-V", "--version")
PRINT: Final = "print_config"
_SWITCHED: Final = ("true", "false", "yes", "no", "on", "off")
_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_QUOTES: Final = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"
_NUMBER: Final = re.compile(r"-[\d.]+\S*")
_DIGITS: Final = re.compile(r"\d[\d.]*")
_TEXT: Final = "tag:yaml.org,2002:str"
_WHAT: Final = {"config": "a file of settings", "data": "a folder of labelled frames", "models": "a model"}
_BY_ENDING: Final = {
    **dict.fromkeys((".yaml", ".yml"), ("config",)),
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".onnx"), ("checkpoint", "weights", "model", "models")),
}
"""What a file so named is likely to be."""


@dataclass
class CommandLine:
    """What was typed."""

    configs: list[str] = field(default_factory=list)
    """Files of settings, or names of shipped ones, in their order."""
    values: dict[str, yaml.Node] = field(default_factory=dict)
    """By the setting's whole name, such as `camera.width`."""
    asks_to_print: bool = False
    """For the settings as YAML, instead of a run."""


def read_command_line(given: Sequence[str], known: Mapping[str, Any], program: str) -> CommandLine:
    """Take the arguments apart.

    Args:
        known: from `known_settings`.

    Raises:
        SettingsError: for what is no option, an unknown one, or one without its value.
    """
    line = CommandLine()
    rest = list(given)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            raise SettingsError("--: every setting has a name here; nothing stands behind two bare dashes")
        if not argument.startswith("--"):
            _refuse_word(argument, known)
        typed_name, equals, value = argument.partition("=")
        adds = typed_name.endswith("+")
        typed_name = typed_name.removesuffix("+")
        name = resolved(typed_name[2:], [*known, "config", PRINT])
        if name is None and not equals and (switch := _switched_off(typed_name[2:], known)):
            name, equals, value = switch, "=", "false"
        if name is None:
            options = [f"--{one}" for one in (*known, "config")]
            raise SettingsError(f"{WHERE}: {unknown(_in_groups(typed_name, known), options, program)}")
        if name == PRINT:
            line.asks_to_print = True
            continue
        hint = known.get(name, str)
        if hint is bool and not equals:
            says = bool(rest) and (rest[0].lower() in _SWITCHED or bool(_DIGITS.fullmatch(rest[0])))
            value = rest.pop(0) if says else "true"
            values = [value]
        elif equals:
            values = [value]
        else:
            values = _values_before_next(rest, takes_many=is_open_list(hint))
            if name == "source":
                _refuse_several(values, rest)
        if not values or not all(one.strip() for one in values):
            raise SettingsError(f"{name} has no value; {typed_name} VALUE is wanted")
        for one in values:
            _refuse_quotes(name, one)
        if name == "config":
            line.configs += values
        else:
            node = _node(values, hint, name)
            line.values[name] = _with(line.values.get(name), node, name, adds or is_open_list(hint))
    return line


def _switched_off(name: str, known: Mapping[str, Any]) -> str | None:
    """`loop` of `no-loop`, where that is a switch."""
    switch = resolved(name.replace("_", "-").removeprefix("no-"), known)
    return switch if switch and known[switch] is bool else None


def _in_groups(name: str, known: Mapping[str, Any]) -> str:
    """As it was typed; of `--stages.epochs` it is told at once that there are several."""
    group = resolved(name[2:].partition(".")[0], known)
    if "." in name and group and is_open_list(known[group]):
        raise SettingsError(
            f"{WHERE}: {group} is a list of groups; it is typed as a whole: --{group} '[{{…}}, …]'"
        )
    return name


def _values_before_next(rest: list[str], takes_many: bool) -> list[str]:
    values: list[str] = []
    while rest and not _is_option(rest[0]) and (takes_many or not values):
        values.append(rest.pop(0))
    return values


def _refuse_several(values: list[str], rest: list[str]) -> None:
    """What a shell makes of a pattern without quotes."""
    files = [*values, *itertools.takewhile(lambda argument: not _is_option(argument), rest)]
    if len(files) > 1 and all(os.path.exists(file) for file in files):
        first = Path(files[0])
        raise SettingsError(
            f"source is one, and {len(files)} files stand there, as where the shell replaces a pattern; in "
            f"quotes a pattern of images stays: --source '{first.with_name('*' + first.suffix)}' "
            f"(videos are given one at a time)"
        )


def _is_option(argument: str) -> bool:
    """Whether it begins as one; `-` alone and negative numbers do not."""
    return argument.startswith("-") and argument != "-" and not _NUMBER.fullmatch(argument)


def _node(values: list[str], hint: Any, name: str) -> yaml.Node:
    """What was typed: lists and groups as YAML writes them, all else as a text."""
    if len(values) > 1:
        return _sequence([_node([value], hint, name) for value in values])
    (text,) = values
    if _holds_more(hint) and text.lstrip().startswith(("[", "{")):
        try:
            return composed(text) or yaml.ScalarNode(_TEXT, "")
        except YamlError as error:
            raise SettingsError(f"{name} cannot be read: {error}") from None
    return yaml.ScalarNode(_TEXT, text)


def _holds_more(hint: Any) -> bool:
    inner = (hint, *get_args(hint))
    return any(is_dataclass(one) or get_origin(one) in (list, tuple, dict) for one in inner)


def _with(before: yaml.Node | None, node: yaml.Node, name: str, adds: bool) -> yaml.Node:
    """A setting that was given again: a list goes on, and of all else the last counts, which is said."""
    if before is None:
        return node
    if adds:
        return _sequence([before, node])
    if (
        isinstance(before, yaml.ScalarNode)
        and isinstance(node, yaml.ScalarNode)
        and before.value != node.value
    ):
        log.info(f"note: --{name} is given twice: {node.value} counts, and {before.value} does not")
    return node


def _sequence(nodes: list[yaml.Node]) -> yaml.SequenceNode:
    items: list[yaml.Node] = []
    for node in nodes:
        items += node.value if isinstance(node, yaml.SequenceNode) else [node]
    return yaml.SequenceNode("tag:yaml.org,2002:seq", items)


def _refuse_quotes(name: str, value: str) -> None:
    if value[0] in _QUOTES or (value[-1] in _QUOTES and value[-1] != "\u2019"):
        raise SettingsError(f"{name} is {value}: the shell takes plain quotes alone, \" or ', and not these")


def _refuse_word(argument: str, known: Mapping[str, Any]) -> NoReturn:
    """Say how what is no option would be typed."""
    word = argument.lstrip("-" + _DASHES)
    setting, equals, _ = word.partition("=")
    name = resolved(setting.strip(), [*known, "config"])
    if name and argument.startswith(tuple(_DASHES)):
        raise SettingsError(f"{argument}: begins with a typographic dash; two hyphens are wanted: --{name}")
    if argument.startswith("-") and word:
        options = [f"--{one}" for one in (*known, "config")]
        if name:
            raise SettingsError(f"{argument}: settings begin with two dashes: --{name}")
        told = unknown(f"-{setting}", options).removeprefix(f"unknown setting -{setting}").removeprefix("; ")
        raise SettingsError(
            f"{WHERE}: unknown setting -{setting}; {told or 'settings begin with two dashes'}"
        )
    if equals and name:
        raise SettingsError(f"{argument}: settings begin with two dashes: --{argument}")
    raise SettingsError(f"{argument or repr(argument)}: {bare_word(argument, known)}")


def bare_word(word: str, known: Mapping[str, Any]) -> str:
    """What a file, folder or name without an option before it may be: "a source is named by --source …"."""
    ending = Path(word).suffix.lower()
    is_address = word in ("0", "1") or word.startswith(("/dev/", "synthetic")) or "://" in word
    is_name = not (ending or "/" in word or is_address or os.path.exists(word))
    likely = ("model", "models") if is_name else ()
    for name in (*_BY_ENDING.get(ending, likely), "source", "data", "model", "models", "file"):
        if name in known or name == "config":
            what = _WHAT.get(name, f"a {name}")
            return f"no setting stands before it; {what} is named by --{name} {word}".rstrip()
    return "no setting stands before it"
