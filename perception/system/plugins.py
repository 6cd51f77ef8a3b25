"""Registries: dicts of our own entries, to which other packages add by entry points; settings by entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Generic, Self, TypeVar

S = TypeVar("S")
P = TypeVar("P")
SWITCH: Final = "enabled"
"""Setting that turns its group on or off; the name of the group alone stands for it."""


class PluginError(ValueError):
    """An entry of another package that cannot be used; one line that names it and the package."""

    @classmethod
    def of(cls, origin: str, error: Exception) -> Self:
        """From whatever the package raised."""
        return cls(f"{origin}: {type(error).__name__}: {' '.join(str(error).split())}")


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
    origin: str = ""
    """Set by the registry for an entry of another package, such as "acme 1.0: acme_log of drivable.sinks"."""

    def own(self, settings: object) -> S:
        """Its settings among those of a run, flat or as a group; its defaults where they are not there."""
        group = getattr(settings, self.group, None) if self.group else None
        return group if isinstance(group, self.settings) else part_of(settings, self.settings)

    def make(
        self,
        build: Callable[..., P],
        *arguments: Any,
        protocol: type[Any] = object,
        expected: type[Exception] = PluginError,
    ) -> P:
        """What a call of the entry's code gives; of another package's it is checked, so that errors name it.

        Args:
            build: such as the entry's `build`, or a method of what that gave.
            arguments: for it.
            protocol: what the result has to have.
            expected: what the call may raise.

        Raises:
            PluginError: if another package raises anything else, or gives something without the protocol.
        """
        if not self.origin:
            return build(*arguments)
        try:
            made = build(*arguments)
        except expected:
            raise
        except Exception as error:
            raise PluginError.of(self.origin, error) from error
        if not isinstance(made, protocol):
            members = {*dir(protocol), *protocol.__annotations__}
            missing = sorted(it for it in members if not it.startswith("_") and not hasattr(made, it))
            raise PluginError(
                f"{self.origin}: {type(made).__name__} is no {protocol.__name__}: "
                f"it has no {', '.join(missing)}"
            )
        return made


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
        """Entry points of other packages by name, one each unless packages clash; only metadata is read.

        Raises:
            PluginError: if one of them has the name of one of ours.
        """
        found: dict[str, list[EntryPoint]] = {}
        for point in sorted(entry_points(group=self.points), key=lambda point: point.name):
            name = point.name.replace("-", "_")
            if name in self.ours:
                raise PluginError(f"{self._origin(point)}: drivable has its own of that name; rename it")
            found.setdefault(name, []).append(point)
        return found

    def names(self) -> list[str]:
        """All that there are, loaded or not."""
        return [*self.ours, *self.plugins]

    def used(self, settings: object) -> dict[str, E]:
        """Our own, and those of other packages that a run's settings name."""
        return {name: self[name] for name in self.names() if name in self.ours or hasattr(settings, name)}

    def __missing__(self, name: str) -> E:
        """Load the entry of another package; raises PluginError."""
        points = self.plugins.get(name, [])
        if not points:
            raise PluginError(f"{name} is none of {', '.join(self.names())}")
        origin = " and ".join(map(self._origin, points))
        if len(points) > 1:
            raise PluginError(f"{origin}: two packages use this name; remove one of them")
        if not name.isidentifier():
            raise PluginError(f"{origin}: not a valid option name; use letters")
        try:
            entry = points[0].load()
        except Exception as error:  # whatever its import raises
            raise PluginError.of(f"{origin} does not load", error) from error
        if not isinstance(entry, self._kind):
            raise PluginError(f"{origin}: {points[0].value} is no {self._kind.__name__}")
        try:
            entry.settings()
        except Exception as error:
            raise PluginError(f"{origin}: its settings have no defaults: {error}") from error
        self[name] = replace(entry, group=name, origin=origin)
        return self[name]

    def _origin(self, point: EntryPoint) -> str:
        return f"{_package(point)}: {point.name} of {self.points}"


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "a package"
