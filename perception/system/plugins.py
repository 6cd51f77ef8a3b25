"""Registries: dicts of our own entries, to which other packages add by entry points; settings by entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class PluginError(ValueError):
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
        self.points, self.ours, self._kind = points, tuple(ours), kind

    @cached_property
    def plugins(self) -> dict[str, list[EntryPoint]]:
        """Entry points of other packages by name, one each unless packages clash; only metadata is read."""
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.points):
            found.setdefault(point.name.replace("-", "_"), []).append(point)
        return found

    def names(self) -> list[str]:
        """All that there are, loaded or not."""
        return [*self.ours, *(name for name in self.plugins if name not in self.ours)]

    def used(self, settings: object) -> dict[str, E]:
        """Our own, and those of other packages that a run's settings name."""
        return {name: self[name] for name in self.names() if name in self.ours or hasattr(settings, name)}

    def __missing__(self, name: str) -> E:
        """Load the entry of another package; raises PluginError."""
        points = self.plugins.get(name, [])
        where = " and ".join(f"{_package(point)}: {point.name}" for point in points) + f" of {self.points}"
        if not points:
            raise PluginError(f"{name} is none of {', '.join(self.names())}")
        if len(points) > 1:
            raise PluginError(f"{where}: one name of two packages; remove one of them")
        if not name.isidentifier():
            raise PluginError(f"{where}: no option can be named so; letters are wanted")
        try:
            entry = points[0].load()
        except Exception as error:  # whatever its import raises
            why = " ".join(str(error).split())
            raise PluginError(f"{where} does not load: {type(error).__name__}: {why}") from error
        if not isinstance(entry, self._kind):
            raise PluginError(f"{where}: {points[0].value} is no {self._kind.__name__}")
        try:
            entry.settings()
        except Exception as error:
            raise PluginError(f"{where}: its settings have no defaults: {error}") from error
        self[name] = replace(entry, group=name)
        return self[name]


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
