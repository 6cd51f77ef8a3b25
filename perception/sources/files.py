"""The files that a source is read from, which no output may overwrite."""

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
    """A file and, if it is a playlist of any format, the files it refers to."""
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
        pass  # opening the source reports it
    return files


def _named_in(text: str) -> list[str]:
    """Everything that may be a file name."""
    lines = [line.strip() for line in text.splitlines()]
    names = [*lines, *_QUOTED.findall(text), *_WORD.findall(text)]
    local = [name.removeprefix("file://").removeprefix("file:") for name in names]
    return list(dict.fromkeys([*local, *(unquote(name) for name in local)]))
