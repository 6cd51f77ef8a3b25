"""Messages for a `--source` that is none."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from perception.sources.kind import TypedSource
from perception.sources.network.address import PORTS
from perception.sources.source import SourceError

_MOST_NAMES: Final = 1000
_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_HOST_ALONE: Final = re.compile(
    r"\[[0-9a-f:]+\]|(\d{1,3}\.){3}\d{1,3}|localhost|[\w.-]+:\d+(?=/|$)", re.IGNORECASE
)
_VARIABLE: Final = re.compile(r"\$\{?\w+\}?|%\w+%")
_OTHER_SCHEMES: Final = frozenset(
    ("ftp", "ftps", "mms", "rtmp", "rtmps", "rtp", "sftp", "tcp", "udp", "ws", "wss")
)


def problem_of(typed: TypedSource) -> str:
    """Why it is no source; raises SourceError for something that exists but cannot be read."""
    text, name = typed.text, typed.name
    if stat.S_ISSOCK(typed.mode):
        raise SourceError(f"{name}: is a socket, which is not supported; a pipe (mkfifo) is")
    if stat.S_ISBLK(typed.mode):
        raise SourceError(f"{name}: is a disk, not a camera; mount it, and give a file on it")
    if stat.S_ISCHR(typed.mode):
        raise SourceError(f"{name}: no video comes through it; pipe one into it, or give the name of a file")
    if not text:
        return "no source is given"
    scheme = typed.scheme
    if _WINDOWS.match(text):
        return "no such file or folder; on this system names are separated by /, and drives are folders"
    if scheme in PORTS:
        return f"an address begins with {scheme}://"
    if typed.slashes == "//" and scheme != "file":
        near = difflib.get_close_matches(scheme, PORTS, 1, 0.7)
        hint = f"; did you mean {near[0]}://?" if near and scheme not in _OTHER_SCHEMES else ""
        return f"{scheme}:// is not supported{hint}"
    if "@" in text or _HOST_ALONE.match(text):
        return "no such file or folder; an address begins with rtsp:// or http://"
    if variable := _VARIABLE.search(text):
        return f"no such file or folder; {variable[0]} is not replaced here: write it out"
    if text[0] in "'\"" and text[-1] == text[0]:
        return "no such file or folder; the quotes around it are part of it"
    if os.path.islink(name):
        return f"is a link to {os.readlink(name)!r}, which does not exist"
    nearest = _nearest(Path(name))
    return f"no such file or folder; did you mean {nearest}?" if nearest else "no such file or folder"


def _nearest(path: Path) -> str:
    """A similar name in the same folder; empty if there is none."""
    with suppress(OSError, ValueError), os.scandir(path.parent) as entries:
        names = [entry.name for entry in itertools.islice(entries, _MOST_NAMES)]
        found = difflib.get_close_matches(path.name, names, 1, 0.8)
        return str(path.with_name(found[0])) if found else ""
    return ""
