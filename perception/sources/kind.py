"""SourceKind: an entry of the registry of sources; TypedSource: the `--source` it is asked about."""

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
from perception.system.plugins import Entry, PluginError, S
from perception.system.redaction import redacted_url

STANDARD_INPUT: Final = "/dev/stdin"
DESCRIPTORS: Final = (STANDARD_INPUT, "/dev/fd/", "/proc/")
_TERMINALS: Final = (4, 5, *range(136, 144))  # Linux major numbers
_HEAD_BYTES: Final = 4096
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/*)")


class TypedSource:
    """A `--source` as typed; each kind decides whether it is one of its own."""

    def __init__(self, typed: str) -> None:
        self.typed = typed
        self.text = typed.strip()
        """Without surrounding blanks."""
        scheme = _SCHEME.match(self.text)
        self.scheme = scheme[1].lower() if scheme else ""
        """Such as `rtsp`; also for `rtsp:/cam`, which has too few `slashes`."""
        self.slashes = scheme[2] if scheme else ""

    @cached_property
    def name(self) -> str:
        """The file that may be meant; raises SourceError."""
        return self.typed if self.typed != "-" and mode_of(self.typed) else _local_name(self.text)

    @cached_property
    def mode(self) -> int:
        """`st_mode` of that file, links followed; 0 if there is none."""
        return mode_of(self.name)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_terminal(self) -> bool:
        """Whether it is a device without video, by its number: opening one may activate something."""
        if not stat.S_ISCHR(self.mode):
            return False
        return self.name.startswith(DESCRIPTORS) or os.major(os.stat(self.name).st_rdev) in _TERMINALS

    @property
    def suffix(self) -> str:
        """Of that name, lower case."""
        return Path(self.name).suffix.lower()

    @property
    def file(self) -> str:
        """The name of a regular file that is also valid in another process."""
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
    """`st_mode` of a file, links followed; 0 if there is none. Raises SourceError."""
    try:
        return os.stat(name).st_mode if name else 0
    except PermissionError as error:
        raise SourceError(f"{redacted_url(name)}: cannot be accessed: {error.strerror}") from None
    except (OSError, ValueError):  # does not exist, is too long, or holds a NUL
        return 0


def _local_name(text: str) -> str:
    """The path in a `file:` URL, or with `~` expanded; standard input for `-`; any other name as it is."""
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
    """Its `source_id` before it has been open."""
    builder: Callable[[], Callable[[], Source]]
    """Called here for every new process; gives a picklable function that makes the source there."""
    rate_hz: float = FALLBACK_RATE_HZ
    """Assumed until it is open."""
    longest_retry_s: float = float("inf")
    """Upper limit of the back-off: a source that opens quickly is retried often."""


@dataclass(frozen=True, kw_only=True)
class SourceKind(Entry[S]):
    """A kind of source: which `--source` belongs to it, and how it is made."""

    form: str
    """What users type for it, for messages, such as "a video file"; empty if another kind covers it."""
    claims: Callable[[TypedSource], str | None]
    """The spec that `build` takes, if what was typed is of this kind, else None. Raises SourceError if it is,
    but cannot be used."""
    build: Callable[[str, S, SourceSettings], Source]
    """Makes the source, not yet open."""
    is_live: Callable[[str], bool] = lambda spec: False
    """Whether it may hang and come back: then it is read in a process of its own and reopened."""
    isolation: Callable[[str, S, SourceSettings], Isolation] | None = None
    """How a live one is read in that process, if `build` is not enough."""
    files: Callable[[str], Sequence[Path]] = lambda spec: ()
    """Its files, which no output may overwrite; raises SourceError."""
    has_choice: bool = False
    """It may contain several videos; `--stream` chooses."""
    is_once: bool = False
    """It can be read only once: it cannot start over, or be opened by another process."""

    def spec_of(self, typed: TypedSource) -> str | None:
        """What `claims` gives.

        Raises:
            SourceError: as `claims`.
            PluginError: if another package's raises or gives anything else.
        """
        spec = self.make(self.claims, typed, expected=SourceError)
        if spec is not None and not isinstance(spec, str):
            raise PluginError(f"{self.origin}: claims gave {spec!r}; the spec is expected, or None")
        return spec


def isolation_of(
    build: Callable[[str, S, SourceSettings], Source], spec: str, settings: S, reading: SourceSettings
) -> Isolation:
    """For a source that every process builds in the same way."""
    made = partial(build, spec, settings, reading)
    return Isolation(redacted_url(spec), lambda: made)
