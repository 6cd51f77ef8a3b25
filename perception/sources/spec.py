"""What the user typed for a source: which kind it is, or what is wrong with it, in one line."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from perception.sources.images import IMAGE_SUFFIXES
from perception.sources.network.address import PORTS, Address
from perception.sources.playlist import HEAD_BYTES, is_live_playlist, is_playlist
from perception.sources.source import SourceError
from perception.system.redaction import redacted_url

FORMS: Final = (
    "a video file, a pipe or -, an image, a folder or glob of images, /dev/video0 or 0, "
    "rtsp(s)://…, http(s)://… or synthetic[:scene]"
)
STANDARD_INPUT: Final = "/dev/stdin"

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(/*)")
_MOST_NAMES: Final = 1000
_DESCRIPTORS: Final = ("/dev/stdin", "/dev/fd/", "/proc/")
_TERMINALS: Final = (4, 5, *range(136, 144))  # major numbers of Linux
_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_HOST_ALONE: Final = re.compile(
    r"\[[0-9a-f:]+\]|(\d{1,3}\.){3}\d{1,3}|localhost|[\w.-]+:\d+(?=/|$)", re.IGNORECASE
)
_VARIABLE: Final = re.compile(r"\$\{?\w+\}?|%\w+%")
_OTHER_SCHEMES: Final = frozenset(
    ("ftp", "ftps", "mms", "rtmp", "rtmps", "rtp", "sftp", "tcp", "udp", "ws", "wss")
)


class Spec(NamedTuple):
    """A source by its kind."""

    kind: str
    """A name in `SOURCES`."""
    text: str
    """As sources take it: an address without blanks around it, or a local name."""

    @classmethod
    def of(cls, typed: str) -> Spec:
        """What was typed, told apart.

        Raises:
            SourceError: if it has none of the known forms, or an address is not one; the message says why.

        Example:
            >>> Spec.of(" RTSP://10.0.0.7/road"), Spec.of("0").kind, Spec.of("synthetic:night").kind
            (Spec(kind='rtsp', text='RTSP://10.0.0.7/road'), 'camera', 'synthetic')
        """
        text = typed.strip()
        scheme = _SCHEME.match(text)
        if scheme and scheme[1].lower() in PORTS and scheme[2].startswith("//"):
            try:
                Address.of(text)
            except SourceError as error:
                raise SourceError(f"{redacted_url(text)}: {error}") from None
            return cls(scheme[1].lower(), text)
        if re.fullmatch(r"synthetic(:.*)?", text):
            return cls("synthetic", text)
        if text.isdecimal():
            return cls("camera", text)
        name = typed if typed != "-" and _mode(typed) else _local_name(text)
        kind = _kind_of_entry(name)
        if kind in ("video", "playlist") and name.startswith(_DESCRIPTORS):
            name = os.path.realpath(name)  # another process has other files there
        if kind:
            return cls(kind, name)
        if re.search(r"[*?\[]", name) and not scheme:
            return cls("images", name)
        raise SourceError(f"{redacted_url(typed)!r}: {_problem(text, name)}; a source is {FORMS}")


def _mode(name: str) -> int:
    """Of the file system's entry, links followed; 0 where there is none."""
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
        elif _mode(rest[2:]) or host in (".", "..", "~"):
            rest = os.path.expanduser(rest[2:])
        else:
            raise SourceError(
                f"{redacted_url(text)}: is on the machine {host}; mount it, and give the path here"
            )
    return rest if _mode(rest) else unquote(rest)


def _kind_of_entry(name: str) -> str:
    """The kind that an entry of the file system is of; empty where there is none."""
    mode, suffix = _mode(name), Path(name).suffix.lower()
    if stat.S_ISFIFO(mode):
        return "pipe"
    if stat.S_ISREG(mode):
        return "images" if suffix in IMAGE_SUFFIXES else _kind_of_file(Path(name))
    if stat.S_ISDIR(mode):
        return "images"
    if stat.S_ISSOCK(mode):
        raise SourceError(f"{name}: is a socket, which is not read; a pipe (mkfifo) is")
    if stat.S_ISBLK(mode):
        raise SourceError(f"{name}: is a disk, not a camera; mount it, and give a file on it")
    if stat.S_ISCHR(mode) and (name.startswith(_DESCRIPTORS) or _is_terminal(name)):
        raise SourceError(f"{name}: no video comes through it; pipe one into it, or give the name of a file")
    return "camera" if stat.S_ISCHR(mode) or name.startswith("/dev/") else ""


def _kind_of_file(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            if not is_playlist(opened.read(HEAD_BYTES)):
                return "video"
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from None
    return "live playlist" if is_live_playlist(file) else "playlist"


def _is_terminal(name: str) -> bool:
    """By its number alone: to open a device may wake a camera or a line."""
    return os.major(os.stat(name).st_rdev) in _TERMINALS


def _problem(text: str, name: str) -> str:
    """Why there is no such source."""
    if not text:
        return "no source is given"
    scheme = _SCHEME.match(text)
    if _WINDOWS.match(text):
        return "no such file or folder; on this system names are parted by /, and drives are folders"
    if scheme and scheme[1].lower() in PORTS:
        return f"an address begins with {scheme[1].lower()}://"
    if scheme and scheme[2] == "//" and scheme[1].lower() != "file":
        near = difflib.get_close_matches(scheme[1].lower(), PORTS, 1, 0.7)
        is_other = scheme[1].lower() in _OTHER_SCHEMES
        hint = f"; {near[0]}:// is meant?" if near and not is_other else ""
        return f"{scheme[1]}:// is not read{hint}"
    if "@" in text or _HOST_ALONE.match(text):
        return "no such file or folder; an address begins with rtsp:// or http://"
    if variable := _VARIABLE.search(text):
        return f"no such file or folder; {variable[0]} is not replaced here: write it out"
    if text[0] in "'\"" and text[-1] == text[0]:
        return "no such file or folder; the quotes around it are part of it"
    if os.path.islink(name):
        return f"is a link to {os.readlink(name)!r}, which is not there"
    nearest = _nearest(Path(name))
    return f"no such file or folder; {nearest} is meant?" if nearest else "no such file or folder"


def _nearest(path: Path) -> str:
    """A name in the same folder that is nearly that; empty where there is none."""
    with suppress(OSError, ValueError), os.scandir(path.parent) as entries:
        names = [entry.name for entry in itertools.islice(entries, _MOST_NAMES)]
        found = difflib.get_close_matches(path.name, names, 1, 0.8)
        return str(path.with_name(found[0])) if found else ""
    return ""
