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


class YamlError(ValueError):
    """A file that is no YAML, or beyond the bounds; the message says what, and in which line."""


def read_yaml(file: Path) -> Any:
    """What a file holds.

    The message shows no text of the file: it may hold a password.

    Raises:
        YamlError: if it cannot be read, or is no YAML; if it is larger than a megabyte, is nested deeper than
            50, holds itself, or comes to more than 10,000 values; if a name stands twice in one group.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise YamlError(f"it is larger than {LARGEST_BYTES / 1e6:g} MB")
        text = content.decode()
        _check_depth(text)
        node = yaml.compose(text, _LOADER)
        _Checks().values_of(node)
        return yaml.load(text, _LOADER)
    except OSError as error:
        raise YamlError(error.strerror) from None
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise YamlError(f"{error.problem}{where}") from None
    except (ValueError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or no day of any month
        raise YamlError(" ".join(str(error).split())) from None


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
                raise YamlError(f"it holds itself in line {node.start_mark.line + 1}")
            return known
        self._values[id(node)] = None
        if isinstance(node, yaml.MappingNode):
            self._check_names(node)
            inside = [part for pair in node.value for part in pair]
        else:
            inside = node.value
        total = 1 + sum(self.values_of(part) for part in inside)
        if total > MOST_VALUES:
            raise YamlError(f"it comes to more than {MOST_VALUES} values in line {node.start_mark.line + 1}")
        self._values[id(node)] = total
        return total

    def _check_names(self, node: yaml.MappingNode) -> None:
        lines: dict[str, int] = {}
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.tag != _MERGE:
                line = name.start_mark.line + 1
                if name.value in lines:
                    raise YamlError(f"a setting stands twice, in lines {lines[name.value]} and {line}")
                lines[name.value] = line
