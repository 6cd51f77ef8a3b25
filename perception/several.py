"""Several sources of one node: what each has of its own, and the settings of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from perception.cli_config.error import SettingsError
from perception.sources.camera import CameraSettings

PLACE: Final = "{source}"
"""In a setting: where the source's name goes."""
RESERVED: Final = frozenset({"healthz", "readyz", "metrics", "sources"})
"""Names that addresses of the node itself have."""
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""Of a source: it becomes part of paths, topics and addresses."""


@dataclass(frozen=True)
class OwnSettings:
    """One of several sources, and what is its own; all else is as for all of them."""

    source: Annotated[str, "SOURCE"]
    """As `source` of a node with one."""
    name: str | None = None
    """In records, paths, topics and addresses; made of `source` without one."""
    rate_limit_hz: float | None = None
    """Frames a second that are taken at most."""
    stream: int | str | None = None
    """Which of several videos in it."""
    camera: CameraSettings | None = None
    """Settings of a camera."""
    calibration: str | None = None
    """The camera's calibration."""
    ignore: str | None = None
    """Where no road can be seen in its pictures."""
    lane_width_m: float | None = None
    """Of the lanes that are driven in."""

    def __post_init__(self) -> None:
        """Refuse names that cannot be part of a path; raises ValueError."""
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise ValueError(
                f"the name {self.name!r} of a source; up to 64 letters, digits, - and _ are expected"
            )

    @property
    def values(self) -> dict[str, Any]:
        """What is set, by the node's names."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "name"}
        return {name: value for name, value in own.items() if value is not None}


def named_source(typed: str) -> tuple[str | None, str]:
    """`NAME=SOURCE` taken apart; of a source without a name, or a file that is so called, None and itself.

    Example:
        >>> named_source("front=/dev/video0"), named_source("http://host/?a=b")
        (('front', '/dev/video0'), (None, 'http://host/?a=b'))
    """
    name, equals, source = typed.partition("=")
    if equals and source and _NAME.fullmatch(name) and not Path(typed).exists():
        return name, source
    return None, typed


def whole(sources: Sequence[OwnSettings]) -> list[OwnSettings]:
    """With the names that stand in front of their addresses, as `named_source` has them."""
    taken = []
    for one in sources:
        name, source = named_source(one.source) if one.name is None else (one.name, one.source)
        taken.append(replace(one, name=name, source=source))
    return taken


def names_of(sources: Sequence[OwnSettings]) -> list[str]:
    """The name of each.

    Raises:
        SettingsError: for two of one name, or one that no source may have.
    """
    names = [one.name or _usual_name(one.source) for one in sources]
    for name, count in Counter(names).most_common(1):
        alike = [one.source for one, it in zip(sources, names, strict=True) if it == name]
        if count > 1:
            raise SettingsError(
                f"{count} sources are called {name}: {' and '.join(alike)}; "
                f"name one: --source NAME={alike[-1]}"
            )
    check_names(names)
    return names


def check_names(names: Sequence[str]) -> None:
    """Refuse names of the node's own addresses, and two that ROS takes for one; raises SettingsError."""
    topics: dict[str, str] = {}
    for name in names:
        if name in RESERVED:
            raise SettingsError(
                f"a source is called {name}, as an address of the node; name it otherwise: --source NAME=…"
            )
        if (other := topics.setdefault(topic_of(name), name)) != name:
            raise SettingsError(f"sources {other} and {name} would have the same topics; rename one")


def topic_of(name: str) -> str:
    """A source's name as part of a topic."""
    return name.replace("-", "_")


def filled(name: str, values: dict[str, str]) -> dict[str, Any]:
    """Settings that say where something is written, with the source's name in its place.

    Raises:
        SettingsError: for one without a place for it, where all sources would write the same.
    """
    for setting, value in values.items():
        if PLACE not in value:
            path = PurePosixPath(value)
            there = str(path.with_name(f"{path.stem}-{PLACE}{path.suffix}")) if path.name else PLACE
            raise SettingsError(
                f"{setting} is {value}, for several sources; put {PLACE} into it: --{setting} '{there}'"
            )
    return {setting: value.replace(PLACE, name) for setting, value in values.items()}


def _usual_name(source: str) -> str:
    """Of a source without a name: the stem of a file, a device's or a host's name."""
    address = urlsplit(source) if "://" in source else None
    if address is not None and address.hostname:
        text = address.hostname
    else:
        text = PurePosixPath(source.rstrip("/")).stem or source
    text = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")
    return text if text[:1].isalpha() else f"source-{text}"
