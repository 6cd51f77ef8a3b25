"""A command line taken apart: which settings it names, each with its text as a YAML node."""

from __future__ import annotations

import logging
import mimetypes
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, get_args, get_origin

import yaml

from perception.cli_config.error import SettingsError
from perception.cli_config.names import is_open_list, nearest, resolved, switch_of, unknown
from perception.cli_config.yaml_file import YamlError, composed

log = logging.getLogger(__name__)

WHERE: Final = "the command line"
HELP: Final = ("-h", "--help")
VERSION: Final = ("-V", "--version")
PRINT: Final = "print_config"
LOG_LEVELS: Final = {"--verbose": logging.DEBUG, "--quiet": logging.WARNING}
"""Options of every command that say what it logs, and the lowest level that each leaves."""
SEVERAL: Final = "sources"
"""The setting that several values of `source` are put into, where there is one."""
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


def help_topic(given: Sequence[str]) -> str | None:
    """What stands behind --help, such as `all`; empty where nothing does, None where nobody asks for help."""
    for at, argument in enumerate(given):
        option, equals, topic = argument.partition("=")
        if option in HELP:
            following = given[at + 1] if at + 1 < len(given) else ""
            return topic if equals else following if not following.startswith("-") else ""
    return None


def log_level(given: Sequence[str]) -> int:
    """Of `logging`, as --verbose or --quiet ask for it; raises SettingsError if both do."""
    asked = [option for option in LOG_LEVELS if option in given]
    if len(asked) > 1:
        raise SettingsError(f"{' and '.join(asked)} contradict each other; leave one out")
    return LOG_LEVELS[asked[0]] if asked else logging.INFO


def read_command_line(
    given: Sequence[str], known: Mapping[str, Any], program: str, positional: Sequence[str] = ()
) -> CommandLine:
    """Take the arguments apart.

    Args:
        known: from `known_settings`.
        positional: settings that may be typed without their names, in this order; a list as the last one
            takes all further words.

    Raises:
        SettingsError: for what is no option, an unknown one, one without its value, or a setting that is
            given with and without its name, and differently.
    """
    line = CommandLine()
    words: list[str] = []
    rest = list(given)
    switch_before = ""
    after_switch: dict[str, str] = {}  # words that may be meant as a switch's value
    last_of_list: dict[str, str] = {}  # of several words that a list took
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") and switch_before:
            after_switch[argument] = switch_before
        switch_before = ""
        if argument == "--" and positional:
            words += rest
            break
        if argument == "--":
            raise SettingsError("--: every setting here has a name; nothing can follow two bare dashes")
        if argument in LOG_LEVELS:
            continue
        if not argument.startswith("--"):
            _refuse_mistyped_option(argument, known)
            words.append(argument)
            continue
        typed_name, equals, value = argument.partition("=")
        adds = typed_name.endswith("+")
        typed_name = typed_name.removesuffix("+")
        name = resolved(typed_name[2:], [*known, "config", PRINT])
        if name is None and not equals and (switch := _switched_off(typed_name[2:], known)):
            name, equals, value = switch, "=", "false"
        if name is None:
            _refuse_dots_in_list(typed_name, known)
            raise SettingsError(f"{WHERE}: {unknown(typed_name, _options(known), program)}")
        if name == PRINT:
            line.asks_to_print = True
            continue
        following = value if equals else "".join(rest[:1])
        if not following.lstrip().startswith("{"):
            name = switch_of(name, known) or name
        hint = known.get(name, str)
        if equals:
            values = [value]
        elif hint is bool:
            says = bool(rest) and (rest[0].lower() in _SWITCHED or bool(_DIGITS.fullmatch(rest[0])))
            values = [rest.pop(0) if says else "true"]
            switch_before = "" if says else name
        else:
            values = _values_before_next(rest, takes_many=is_open_list(hint))
            if len(values) > 1:
                last_of_list[name] = values[-1]
        if not values or not all(one.strip() for one in values):
            raise SettingsError(f"{name} has no value; {typed_name} VALUE is expected")
        for one in values:
            _refuse_quotes(name, one)
        if name == "config":
            line.configs += values
        else:
            node = _node(values, hint, name)
            if name == "source" and SEVERAL in known and _has_other_source(line, values[0]):
                _add_source(line, values[0])
                continue
            line.values[name] = _with(line.values.get(name), node, name, adds or is_open_list(hint))
    if len(words) + ("source" in line.values) > len(positional):
        _refuse_switch_values(words, after_switch)
    _add_words(line, words, known, positional)
    if "source" in positional and "source" not in line.values:
        _refuse_source_in_list(last_of_list)
    return line


def _has_other_source(line: CommandLine, typed: str) -> bool:
    """Whether this is not the first source that is named."""
    first = line.values.get("source")
    return SEVERAL in line.values or (isinstance(first, yaml.ScalarNode) and first.value != typed)


def _add_source(line: CommandLine, typed: str) -> None:
    """One source more, of several."""
    if (first := line.values.pop("source", None)) is not None:
        line.values[SEVERAL] = _sequence([_source_node(first)])
    line.values[SEVERAL] = _sequence([line.values[SEVERAL], _source_node(yaml.ScalarNode(_TEXT, typed))])


def _source_node(node: yaml.Node) -> yaml.Node:
    return yaml.MappingNode("tag:yaml.org,2002:map", [(yaml.ScalarNode(_TEXT, "source"), node)])


def _options(known: Mapping[str, Any]) -> list[str]:
    """All that may be typed."""
    return [*(f"--{name}" for name in (*known, "config")), *LOG_LEVELS]


def _switched_off(name: str, known: Mapping[str, Any]) -> str | None:
    """`loop` of `no-loop`, where that is a switch."""
    setting = resolved(name.replace("_", "-").removeprefix("no-"), known)
    return switch_of(setting, known) if setting else None


def _refuse_dots_in_list(name: str, known: Mapping[str, Any]) -> None:
    """`--stages.epochs` names no setting, as there are several stages."""
    group = resolved(name[2:].partition(".")[0], known)
    if "." in name and group and is_open_list(known[group]):
        raise SettingsError(
            f"{WHERE}: {group} is a list of groups and has to be given as a whole: --{group} '[{{…}}, …]'"
        )


def _values_before_next(rest: list[str], takes_many: bool) -> list[str]:
    values: list[str] = []
    while rest and not _is_option(rest[0]) and (takes_many or not values):
        values.append(rest.pop(0))
    return values


def _add_words(
    line: CommandLine, words: Sequence[str], known: Mapping[str, Any], positional: Sequence[str]
) -> None:
    """Take words that follow no option for the settings that need none, and refuse all others."""
    if "source" in known:
        before = line.values.get("source")
        _refuse_several(
            [*([before.value] if isinstance(before, yaml.ScalarNode) else []), *words], SEVERAL in known
        )
    takes_rest = bool(positional) and is_open_list(known[positional[-1]])
    for at, word in enumerate(words):
        is_source = bool(word.strip()) and not _by_ending(word, known)
        if at >= len(positional) and positional[-1:] == ("source",) and SEVERAL in known and is_source:
            _refuse_quotes("source", word)
            _add_source(line, word)
            continue
        place = min(at, len(positional) - 1) if takes_rest else at
        name = positional[place] if place < len(positional) else None
        is_other = "source" in positional and bool(_by_ending(word, known))
        if name and not word.strip():
            raise SettingsError(f"{name} is {word!r}; it must not be empty")
        if not word.strip() or is_other or not positional:
            raise SettingsError(f"{word or repr(word)}: {bare_word(word, known)}")
        if name is None:
            one = "one is expected" if len(positional) == 1 else f"{len(positional)} are expected"
            raise SettingsError(f"{word} is one too many after {' '.join(words[:at])}; {one}")
        _refuse_quotes(name, word)
        before = line.values.get(name)
        if is_open_list(known[name]):
            line.values[name] = _with(before, yaml.ScalarNode(_TEXT, word), name, adds=True)
            continue
        if isinstance(before, yaml.ScalarNode) and before.value != word:
            raise SettingsError(f"{name} is given twice: {word} and --{name} {before.value}; leave one out")
        line.values[name] = yaml.ScalarNode(_TEXT, word)


def _refuse_several(files: Sequence[str], may_be_several: bool) -> None:
    """Where a shell has expanded a pattern that had no quotes, or has split a name with blanks."""
    if len(files) < 2:
        return
    if os.path.exists(whole := " ".join(files)):
        raise SettingsError(f"{files[0]}: a file name with spaces needs quotes: '{whole}'")
    if may_be_several and not any(
        (mimetypes.guess_type(file)[0] or "").startswith("image/") for file in files
    ):
        return
    if all(os.path.exists(file) for file in files):
        first = Path(files[0])
        raise SettingsError(
            f"there can be one source, and {len(files)} files are given; if the shell expanded a pattern of "
            f"images, put it in quotes: '{first.with_name('*' + first.suffix)}'"
        )


def _refuse_switch_values(words: Sequence[str], after_switch: Mapping[str, str]) -> None:
    """Where a word too many stands behind a switch, and is neither of its values nor like a source."""
    for word in words:
        if word in after_switch and not _may_be_source(word):
            raise SettingsError(f"{after_switch[word]} is {word}; true or false is expected")


def _refuse_source_in_list(last_of_list: Mapping[str, str]) -> None:
    """Where a list has taken the source for one of its values."""
    for name, word in last_of_list.items():
        kind = (mimetypes.guess_type(word)[0] or "").partition("/")[0]
        if kind in ("video", "image") or _is_address(word) or os.path.exists(word):
            raise SettingsError(
                f"{name} takes all words up to the next option, {word} among them; name the source before "
                f"it, or with --source"
            )


def _is_address(word: str) -> bool:
    return word in ("0", "1") or word.startswith(("/dev/", "synthetic")) or "://" in word


def _may_be_source(word: str) -> bool:
    return bool(Path(word).suffix) or "/" in word or _is_address(word) or os.path.exists(word)


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
    """A setting that was given again: a list goes on, and of all else the last counts, which is logged."""
    if before is None:
        return node
    if adds:
        return _sequence([before, node])
    if (
        isinstance(before, yaml.ScalarNode)
        and isinstance(node, yaml.ScalarNode)
        and before.value != node.value
    ):
        log.info(f"note: --{name} is given twice: {node.value} is used, {before.value} is ignored")
    return node


def _sequence(nodes: list[yaml.Node]) -> yaml.SequenceNode:
    items: list[yaml.Node] = []
    for node in nodes:
        items += node.value if isinstance(node, yaml.SequenceNode) else [node]
    return yaml.SequenceNode("tag:yaml.org,2002:seq", items)


def _refuse_quotes(name: str, value: str) -> None:
    if value[0] in _QUOTES or (value[-1] in _QUOTES and value[-1] != "\u2019"):
        raise SettingsError(f"{name} is {value}: the shell understands only plain quotes, \" or '")


def _refuse_mistyped_option(argument: str, known: Mapping[str, Any]) -> None:
    """Refuse what is an option all but for its dashes; a plain word is left alone."""
    word = argument.lstrip("-" + _DASHES)
    setting, equals, _ = word.partition("=")
    name = resolved(setting.strip(), [*known, "config"])
    if name and argument.startswith(tuple(_DASHES)):
        raise SettingsError(f"{argument}: begins with a typographic dash; use two hyphens: --{name}")
    if _is_option(argument):
        if name:
            raise SettingsError(f"{argument}: settings begin with two dashes: --{name}")
        problem = unknown(f"-{setting}", _options(known))
        has_hint = problem != f"unknown setting -{setting}"
        raise SettingsError(f"{WHERE}: {problem}{'' if has_hint else '; settings begin with two dashes'}")
    if equals and name:
        raise SettingsError(f"{argument}: settings begin with two dashes: --{argument}")


def _by_ending(word: str, known: Mapping[str, Any]) -> str | None:
    """The setting that a file with this ending is likely meant for, where it is no source."""
    names = _BY_ENDING.get(Path(word).suffix.lower(), ())
    return next((name for name in names if name in known or name == "config"), None)


def bare_word(word: str, known: Mapping[str, Any]) -> str:
    """What a file, folder or name without an option before it may be: "a source is named by --source …"."""
    likely = () if _may_be_source(word) else ("model", "models")
    for name in (_by_ending(word, known), *likely, "source", "data", "model", "models", "file"):
        if name and (name in known or name == "config"):
            what = _WHAT.get(name, f"a {name}")
            return f"no option precedes it; {what} is named by --{name} {word}".rstrip()
    return "no option precedes it"


def refuse_command(word: str, commands: Sequence[str], known: Mapping[str, Any]) -> NoReturn:
    """Raise SettingsError for a first word that is no command: with the nearest one, or the setting meant."""
    if meant := nearest(word, commands):
        raise SettingsError(f"{word}: no such command; the nearest known one is {meant}")
    _refuse_mistyped_option(word, known)
    raise SettingsError(f"{word}: {bare_word(word, known)}")
