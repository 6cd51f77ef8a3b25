"""Registries: dicts of our own entries, to which other packages add by entry points; settings by entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class PluginError(Exception):
    """An entry of another package that cannot be used; one line that names it and the package."""


class Checked:
    """Root of settings that are combined by inheritance: each `__post_init__` ends with that of `super()`."""

    def __post_init__(self) -> None:
        """Refuse values that no run can be made from; raises ValueError."""


@dataclass(frozen=True)
class NoSettings:
    """Of an entry that has none."""


@dataclass(frozen=True, kw_only=True)
class Entry(Generic[S]):
    """What a registry knows of one kind of source, engine, sink or refine step."""

    settings: type[S]
    """Frozen dataclass of its settings: each has a default, and a docstring for --help."""
    group: str = ""
    """What its settings are named under, such as `camera`; without one their names stand alone. Those of
    another package are named under the name of its entry point."""

    def own(self, settings: object) -> S:
        """Its settings among those of a run, flat or as a group; its defaults where they are not there."""
        group = getattr(settings, self.group, None) if self.group else None
        return group if isinstance(group, self.settings) else part_of(settings, self.settings)


def part_of(settings: object, kind: type[S]) -> S:
    """Those of one dataclass, of one that inherits it; its defaults where none does."""
    if not isinstance(settings, kind):
        return kind()
    parts: Any = kind
    return kind(**{each.name: getattr(settings, each.name) for each in fields(parts)})


E = TypeVar("E", bound=Entry[Any])


class Registry(dict[str, E]):
    """Entries by name: our own, and those of installed packages once they were asked for.

    Args:
        points: group of entry points by which packages add theirs, such as "drivable.sinks".
        kind: of which every entry is.
        ours: by name.
    """

    def __init__(self, points: str, kind: type[E], ours: Mapping[str, E]) -> None:
        super().__init__(ours)
        self.points, self._kind, self._ours = points, kind, tuple(ours)

    @cached_property
    def plugins(self) -> dict[str, EntryPoint]:
        """Of other packages, by name; only their metadata is read."""
        found = entry_points(group=self.points)
        return {point.name.replace("-", "_"): point for point in found if point.name not in self._ours}

    def names(self) -> list[str]:
        """All that there are, loaded or not."""
        return [*self._ours, *self.plugins]

    def __missing__(self, name: str) -> E:
        """Load the entry of another package; raises KeyError if there is none, or PluginError."""
        point = self.plugins[name]
        try:
            entry = point.load()
        except Exception as error:  # whatever its import raises
            why = " ".join(str(error).split())
            raise PluginError(f"{self._where(point)} does not load: {type(error).__name__}: {why}") from error
        if not isinstance(entry, self._kind):
            raise PluginError(f"{self._where(point)} is no {self._kind.__name__}: {point.value}")
        if not point.name.replace("-", "_").isidentifier():
            raise PluginError(f"{self._where(point)} has a name that no option can have; letters are wanted")
        self[name] = replace(entry, group=name)
        return self[name]

    def _where(self, point: EntryPoint) -> str:
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
        return f"{package}: {point.name} of {self.points}"
