"""Settings files as YAML, within bounds: no file keeps a command busy, or has a setting twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

LARGEST_BYTES: Final = 1_000_000
DEEPEST: Final = 50
MOST_VALUES: Final = 10_000
"""Names and values, each counted as often as an alias repeats it."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of libyaml, 20 times as fast
_MERGE: Final = "tag:yaml.org,2002:merge"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_PROBLEMS: Final = (
    ("tab character", "a tab where spaces are needed"),
    ("another document", "a second document begins"),
    (
        "cannot start any token",
        "a tab or special character where none is allowed: indent with spaces, and put text in quotes",
    ),
    (
        "unknown escape character",
        "in double quotes \\ begins a control character; put the text in single quotes",
    ),
    (
        "expected hexdecimal number",
        "in double quotes \\ begins a control character; put the text in single quotes",
    ),
    ("mapping values are not allowed", "an extra colon, or lines of one group with different indentation"),
    ("could not find expected ':'", "a name without `: value`"),
    ("did not find expected key", "lines of one group with different indentation, or an extra quote"),
    ("did not find expected '-' indicator", "a list whose items have different indentation"),
    ("did not find expected ',' or ']'", "a list without its ]"),
    ("did not find expected ',' or '}'", "a group without its }"),
    ("found unexpected end of stream", "quotes that do not end"),
    ("did not find expected node content", "a list or a group that does not end"),
    ("undefined alias", "an alias (*name) of nothing; put text that begins with * in quotes"),
    ("found undefined tag", "a tag; put text that begins with ! in quotes"),
    ("did not find expected <document start>", "more than one document, or a % at the beginning of a line"),
    ("expected a single document", "more than one document"),
)
"""What libyaml says of a file, in the words of whoever writes one."""


class YamlError(ValueError):
    """A file that is no YAML, or beyond the bounds; the message says what, and in which line."""


def compose_file(file: Path) -> yaml.Node | None:
    """What a file holds, as nodes that know their lines; None of an empty one.

    The message shows no text of the file: it may hold a password.

    Raises:
        YamlError: as for `text_of` and `composed`.
    """
    return composed(text_of(file))


def text_of(file: Path) -> str:
    """The text of a file; raises YamlError if it cannot be read, is too large, or is no text."""
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise YamlError(str(error.strerror)) from None
    if len(content) > LARGEST_BYTES:
        raise YamlError(f"it is larger than {LARGEST_BYTES / 1e6:g} MB")
    return _decoded(content)


def composed(text: str) -> yaml.Node | None:
    """YAML as nodes.

    Raises:
        YamlError: if it is none, is nested deeper than 50, holds itself, or comes to more than 10,000 values;
            if a name stands twice in one group.
    """
    try:
        _check_depth(text)
        node: yaml.Node | None = yaml.compose(text, _LOADER)
        _Checks().values_of(node)
    except yaml.MarkedYAMLError as error:
        does_not_end = any(sign in str(error.problem) for sign in ("']'", "'}'", "end of stream"))
        mark = (does_not_end and error.context_mark) or error.problem_mark
        where = f"in line {mark.line + 1}: " if mark else ""
        raise YamlError(f"{where}{_in_our_words(error.problem or '')}") from None
    except (ValueError, yaml.YAMLError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError("it contains characters that are not valid in text") from None
    return node


def _decoded(content: bytes) -> str:
    """A file's text: UTF-8, or UTF-16 where a mark says so, as Windows writes it."""
    try:
        return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise YamlError(f"it is not UTF-8 text: a byte {content[error.start]:#04x} in line {line}") from None


def _in_our_words(problem: str) -> str:
    return next((ours for theirs, ours in _PROBLEMS if theirs in problem), "it is not YAML from there on")


def _check_depth(text: str) -> None:
    """Before anything is made of it: what takes it apart goes down with it, in C too."""
    depth = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                where = f" in line {event.start_mark.line + 1}" if event.start_mark else ""
                raise YamlError(f"it is nested too deep{where}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Checks:
    """Walks a file's nodes; one that aliases repeat is looked at once, and counted as often as it stands."""

    def __init__(self) -> None:
        self._values: dict[int, int | None] = {}

    def values_of(self, node: yaml.Node | None) -> int:
        """How many names and values stand in a node, with all in it; raises YamlError."""
        if node is None or isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in self._values:
            known = self._values[id(node)]
            if known is None:
                raise YamlError(f"it contains itself in line {node.start_mark.line + 1}")
            return known
        self._values[id(node)] = None
        if isinstance(node, yaml.MappingNode):
            self._check_names(node)
            inside = [part for pair in node.value for part in pair]
        else:
            inside = node.value
        total = 1 + sum(self.values_of(part) for part in inside)
        if total > MOST_VALUES:
            raise YamlError(
                f"it expands to more than {MOST_VALUES} values in line {node.start_mark.line + 1}"
            )
        self._values[id(node)] = total
        return total

    def _check_names(self, node: yaml.MappingNode) -> None:
        lines: dict[str, int] = {}
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.tag != _MERGE:
                line = name.start_mark.line + 1
                if name.value in lines:
                    raise YamlError(f"a setting occurs twice, in lines {lines[name.value]} and {line}")
                lines[name.value] = line
