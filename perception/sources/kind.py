"""SourceKind: what the registry knows of one kind of source, and what was typed for it to look at."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from perception.sources.rate import FALLBACK_RATE_HZ
from perception.sources.settings import SourceSettings
from perception.sources.source import Source, SourceError
from perception.system.plugins import Entry, S
from perception.system.redaction import redacted_url

STANDARD_INPUT: Final = "/dev/stdin"
DESCRIPTORS: Final = (STANDARD_INPUT, "/dev/fd/", "/proc/")
_TERMINALS: Final = (4, 5, *range(136, 144))  # major numbers of Linux
_HEAD_BYTES: Final = 4096
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/*)")


class TypedSource:
    """What the user typed for a source; each kind says whether it is one of its own."""

    def __init__(self, typed: str) -> None:
        self.typed = typed
        self.text = typed.strip()
        """Without blanks around it."""
        scheme = _SCHEME.match(self.text)
        self.scheme = scheme[1].lower() if scheme else ""
        """Such as `rtsp`; also of `rtsp:/cam`, whose `slashes` are too few."""
        self.slashes = scheme[2] if scheme else ""

    @cached_property
    def name(self) -> str:
        """The name in the file system that may be meant; raises SourceError."""
        return self.typed if self.typed != "-" and mode_of(self.typed) else _local_name(self.text)

    @cached_property
    def mode(self) -> int:
        """Of that entry of the file system (`st_mode`), links followed; 0 where there is none."""
        return mode_of(self.name)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_terminal(self) -> bool:
        """Whether it is a device without video, by its number: to open one may wake a camera or a line."""
        if not stat.S_ISCHR(self.mode):
            return False
        return self.name.startswith(DESCRIPTORS) or os.major(os.stat(self.name).st_rdev) in _TERMINALS

    @property
    def suffix(self) -> str:
        """Of that name, in lower case."""
        return Path(self.name).suffix.lower()

    @property
    def file(self) -> str:
        """The name of a regular file as another process knows it too."""
        return os.path.realpath(self.name) if self.name.startswith(DESCRIPTORS) else self.name

    @cached_property
    def head(self) -> bytes:
        """The first bytes of a regular file; raises SourceError."""
        try:
            with open(self.name, "rb") as opened:
                return opened.read(_HEAD_BYTES)
        except OSError as error:
            raise SourceError(f"{self.name}: cannot be read: {error.strerror}") from None


def mode_of(name: str) -> int:
    """`st_mode` of an entry of the file system, links followed; 0 where there is none. Raises SourceError."""
    try:
        return os.stat(name).st_mode if name else 0
    except PermissionError as error:
        raise SourceError(f"{redacted_url(name)}: cannot be looked at: {error.strerror}") from None
    except (OSError, ValueError):  # not there; a name that is too long, or holds a NUL
        return 0


def _local_name(text: str) -> str:
    """The name in a `file:` address, or behind `~`; standard input's for `-`; any other as it is."""
    if text == "-":
        return STANDARD_INPUT
    if text.startswith("~"):
        return os.path.expanduser(text)
    if not text.lower().startswith("file:"):
        return text
    rest = text[len("file:") :]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() in ("", "localhost", "127.0.0.1"):
            rest = slash + path
        elif mode_of(rest[2:]) or host in (".", "..", "~"):
            rest = os.path.expanduser(rest[2:])
        else:
            raise SourceError(
                f"{redacted_url(text)}: is on the machine {host}; mount it, and give the path here"
            )
    return rest if mode_of(rest) else unquote(rest)


@dataclass(frozen=True)
class Isolation:
    """How a live source is read in a process of its own."""

    name: str
    """Its source_id in records before it was ever open."""
    builder: Callable[[], Callable[[], Source]]
    """Asked here for every new process, and gives what makes the source there, which has to pickle."""
    rate_hz: float = FALLBACK_RATE_HZ
    """Assumed until it is open."""
    longest_retry_s: float = float("inf")
    """Limits `reconnect`: what is quickly opened is tried often."""


@dataclass(frozen=True, kw_only=True)
class SourceKind(Entry[S]):
    """Which specs are of a kind of source, and how it is made."""

    form: str
    """What people type for it, for messages: "a video file". Empty where another's says it."""
    claims: Callable[[TypedSource], str | None]
    """What was typed as the source takes it, if it is one of this kind, else None. Raises SourceError if it
    is one, and cannot be used."""
    build: Callable[[str, S, SourceSettings], Source]
    """Makes the source, not yet open."""
    is_live: Callable[[str], bool] = lambda spec: False
    """Whether it may hang and come back: it is read in a process of its own, and opened again."""
    isolation: Callable[[str, S, SourceSettings], Isolation] | None = None
    """How a live one is read in that process, if `build` there is not enough."""
    files: Callable[[str], Sequence[Path]] = lambda spec: ()
    """That it is read from, on which no output may lie; raises SourceError."""
    has_choice: bool = False
    """It may hold several videos, one of which `--stream` names."""
    is_once: bool = False
    """It gives everything once: it cannot start over, nor be opened by another process."""

    def isolated(self, spec: str, settings: S, reading: SourceSettings) -> Isolation:
        """How it is read in a process of its own."""
        if self.isolation is not None:
            return self.isolation(spec, settings, reading)
        return isolation_of(self.build, spec, settings, reading)


def isolation_of(
    build: Callable[[str, S, SourceSettings], Source], spec: str, settings: S, reading: SourceSettings
) -> Isolation:
    """That of a source which every process makes alike."""
    made = partial(build, spec, settings, reading)
    return Isolation(redacted_url(spec), lambda: made)
