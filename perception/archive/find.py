"""Which clips are named: files, folders, patterns and lists, here or in an object store."""

from __future__ import annotations

import mimetypes
import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from perception.archive.clip import Clip
from perception.archive.error import ArchiveError
from perception.archive.store import opened, reason, scheme_of, version_of
from perception.system.redaction import redacted_url

LIST_SIGN: Final = "@"
_MAGIC: Final = "*?["
_VIDEO_SUFFIXES: Final = frozenset(
    (
        *(".264", ".265", ".avi", ".bag", ".flv", ".h264", ".h265", ".hevc", ".ivf", ".m2ts", ".m4v"),
        *(".mcap", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".nut", ".ts"),
        *(".webm", ".wmv", ".y4m"),
    )
)


@dataclass
class Found:
    """What was found."""

    clips: list[Clip] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Names in folders that are no recordings, hidden, linked folders, or not UTF-8."""


def find_clips(named: Iterable[str]) -> Found:
    """All clips that are named, in the order of their names.

    Args:
        named: files, folders, patterns, `@LIST`; paths or addresses.

    Raises:
        ArchiveError: for one that is not there, a place that cannot be read, or two clips of one name.
    """
    found = Found()
    for one in named:
        if one.startswith(LIST_SIGN):
            _add_list(one[len(LIST_SIGN) :], found)
        else:
            _add(one, found)
    found.clips = _with_own_names(found.clips)
    if not found.clips:
        others = f"; {len(found.left_out)} other files are no recordings" if found.left_out else ""
        raise ArchiveError(f"{', '.join(map(redacted_url, named))}: no clips there{others}")
    return found


def is_recording(path: str) -> bool:
    """Whether a file of this name in a folder is taken for a recording."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix in _VIDEO_SUFFIXES or (mimetypes.guess_type(path)[0] or "").startswith("video/")


def _add(one: str, found: Found, name: str | None = None) -> None:
    """One file, folder or pattern.

    Args:
        name: of the clip, if it is a file; its own without one.
    """
    files, path = opened(one)
    try:
        if scheme_of(one) not in ("http", "https") and any(sign in path for sign in _MAGIC):
            _add_pattern(one, files, path, found)
            return
        facts = files.info(path)
        if facts["type"] == "directory":
            _add_folder(one, files, path, found)
        else:
            found.clips.append(_clip(files, facts, name or PurePosixPath(path).name))
    except ArchiveError:
        raise
    except Exception as error:
        raise ArchiveError(f"{redacted_url(one)}: {reason(error)}") from None


def _add_pattern(one: str, files: Any, path: str, found: Found) -> None:
    fixed = PurePosixPath(path)
    while any(sign in str(fixed) for sign in _MAGIC):
        fixed = fixed.parent
    matches = [facts for facts in files.glob(path, detail=True).values() if facts["type"] == "file"]
    if not matches:
        raise ArchiveError(f"{redacted_url(one)}: nothing matches this pattern")
    for facts in matches:
        found.clips.append(_clip(files, facts, _relative(facts["name"], str(fixed))))


def _add_folder(one: str, files: Any, path: str, found: Found) -> None:
    for facts in _walked(path, files) if scheme_of(one) == "file" else files.find(path, detail=True).values():
        name = _relative(facts["name"], path)
        is_hidden = any(part.startswith(".") for part in PurePosixPath(name).parts)
        if facts["type"] == "file" and not is_hidden and is_recording(name) and _is_text(name):
            found.clips.append(_clip(files, facts, name))
        else:
            found.left_out.append(name.encode(errors="backslashreplace").decode())


def _walked(folder: str, files: Any) -> Iterator[dict[str, Any]]:
    """Everything in a folder of this machine; folders that are linked are named, and not followed.

    Raises:
        ArchiveError: for one that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise ArchiveError(f"{error.filename}: cannot be read: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=refuse):
        linked = [name for name in folders if os.path.islink(os.path.join(place, name))]
        for name in sorted([*names, *linked]):
            path = os.path.join(place, name)
            facts = files.info(path) if os.path.isfile(path) else {"type": "other"}
            yield {**facts, "name": path}


def _is_text(name: str) -> bool:
    """Whether it is UTF-8, as records and tables are."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _add_list(file: str, found: Found) -> None:
    """The clips of a list: a path or an address a line, paths relative to its folder; # begins a remark."""
    files, path = opened(file)
    try:
        text = files.cat_file(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ArchiveError(f"{redacted_url(file)}: is no list of clips: not UTF-8 text") from None
    except Exception as error:
        raise ArchiveError(f"{redacted_url(file)}: {reason(error)}") from None
    for number, line in _lines(text):
        is_whole = "://" in line or line.startswith("/")
        try:
            _add(line if is_whole else f"{_parent(file)}{line}", found, None if is_whole else line)
        except ArchiveError as error:
            raise ArchiveError(f"{redacted_url(file)}, line {number}: {error}") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if (stripped := line.strip()) and not stripped.startswith("#"):
            yield number, stripped


def _parent(file: str) -> str:
    before, slash, _ = file.rpartition("/")
    return f"{before}{slash}"


def _relative(path: str, folder: str) -> str:
    return path.removeprefix(folder.rstrip("/")).lstrip("/")


def _clip(files: Any, facts: dict[str, Any], name: str) -> Clip:
    address = files.unstrip_protocol(facts["name"]).removeprefix("file://")
    if not _is_text(address):
        raise ArchiveError(f"{address!r}: its name is not UTF-8; rename it first")
    # a name never leads out of the folder of results, however the clip was named
    name = posixpath.normpath(f"/{name}").lstrip("/")
    address = os.path.abspath(address) if scheme_of(address) == "file" else address
    return Clip(address, name, facts["size"], version_of(facts))


def _with_own_names(clips: list[Clip]) -> list[Clip]:
    """In the order of their names, each once; raises ArchiveError for two of one name."""
    by_name: dict[str, Clip] = {}
    for clip in clips:
        before = by_name.setdefault(clip.name, clip)
        if before.address != clip.address:
            raise ArchiveError(
                f"{redacted_url(before.address)} and {redacted_url(clip.address)} would both be {clip.name}; "
                f"name the folder that holds both, or give each an archive of its own"
            )
    for name in by_name:
        if outer := next((str(it) for it in PurePosixPath(name).parents if str(it) in by_name), None):
            raise ArchiveError(
                f"{redacted_url(by_name[outer].address)} would be {outer}, and so would the folder of "
                f"{redacted_url(by_name[name].address)}; give each an archive of its own"
            )
    return [by_name[name] for name in sorted(by_name)]
