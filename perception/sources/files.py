"""The files that a source is read from: what no output may lie on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_PLAYLIST_BEGINS: Final = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"file ")
_LARGEST_PLAYLIST_BYTES: Final = 4_000_000
_WORD: Final = re.compile(r"""[^\s"'<>]+""")
_QUOTED: Final = re.compile(r"""["'>]([^"'<>\n]+)["'<]""")


def with_parts(file: Path, seen: set[Path] | None = None) -> list[Path]:
    """A file, and what it names if it is a playlist; whatever its format, it names files by their paths."""
    seen = set() if seen is None else seen
    if file in seen:
        return []
    seen.add(file)
    files = [file]
    try:
        if file.is_file():
            with file.open("rb") as stream:
                if stream.read(16).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_PLAYLIST_BEGINS):
                    stream.seek(0)
                    text = stream.read(_LARGEST_PLAYLIST_BYTES).decode(errors="replace")
                    parts = [file.parent / name for name in _named_in(text)]
                    for part in parts:
                        files += with_parts(part, seen) if part.is_file() else []
    except (OSError, ValueError):  # ValueError: a name with a null byte
        pass  # who opens it tells
    return files


def _named_in(text: str) -> list[str]:
    """Whatever may be the name of a file."""
    lines = [line.strip() for line in text.splitlines()]
    names = [*lines, *_QUOTED.findall(text), *_WORD.findall(text)]
    local = [name.removeprefix("file://").removeprefix("file:") for name in names]
    return list(dict.fromkeys([*local, *(unquote(name) for name in local)]))
