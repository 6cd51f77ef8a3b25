"""Where a bag is: a file, a folder with metadata, or the only bag in a folder without."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path, PurePath
from typing import Final

import yaml

from perception.sources.images import IMAGE_SUFFIXES
from perception.sources.source import SourceError

MCAP_BEGINS: Final = b"\x89MCAP0\r\n"
ROS1_BEGINS: Final = b"#ROSBAG V2.0\n"
DATABASE_BEGINS: Final = b"SQLite format 3\0"
METADATA: Final = "metadata.yaml"
_METADATA_HAS: Final = b"rosbag2_bagfile_information"
_STORAGE_SUFFIXES: Final = (".db3", ".mcap", ".zstd")
_BAG_SUFFIXES: Final = (".bag", ".db3", ".mcap")
_FILES: Final = (*_BAG_SUFFIXES, ".zstd")
_NUMBERED: Final = re.compile(r"(.+)_([0-9]{1,9})(\..+)")
_LISTED: Final = 6


def is_bag(path: Path) -> bool:
    """Whether a file's name or first bytes, or what is in a folder, are a bag's; raises SourceError."""
    if path.is_dir():
        return _has_metadata(path) or bool(_bags_in(path))
    return path.suffix in _BAG_SUFFIXES or head_of(path).startswith((MCAP_BEGINS, ROS1_BEGINS))


def place_of(path: Path) -> Path:
    """The file or folder that holds the bag.

    Raises:
        SourceError: if it is a folder without metadata and with several bags.
    """
    if not path.is_dir() or _has_metadata(path):
        return path
    bags = _bags_in(path)
    if len(bags) == 1:
        return bags[0]
    if are_of_one_bag(bags):
        return path
    if not bags:
        raise SourceError(f"{path}: is a folder without a bag")
    names = ", ".join(bag.name for bag in bags[:_LISTED])
    more = f" and {len(bags) - _LISTED} more" if len(bags) > _LISTED else ""
    raise SourceError(f"{path}: holds {len(bags)} bags: {names}{more}; name one, as {bags[0]}")


def parts_of(place: Path) -> tuple[list[Path], list[str]]:
    """The files of a bag in their order, and what is wrong with its metadata."""
    if not place.is_dir():
        return [place], []
    found = sorted(
        (file for file in _entries(place) if file.suffix in _FILES and file.is_file()), key=_numbered
    )
    if not (place / METADATA).is_file():  # of a recorder that was killed
        missing = _missing_among(found)
        return found, [f"{place}: lacks {missing}"] if missing else []
    listed = _listed(place / METADATA)
    if not listed:
        return found, [f"{place / METADATA}: is not that of a bag; ros2 bag reindex {place} writes another"]
    files = [place / name for name in listed]
    problems = [f"{file}: is listed in {METADATA} and missing" for file in files if not file.is_file()]
    files = [file for file in files if file.is_file()] or found
    later = [file for file in found if file not in files and are_of_one_bag([*files, file])]
    return files + later, problems + [f"{file}: is not listed in {METADATA}" for file in later]


def are_of_one_bag(files: Sequence[Path]) -> bool:
    """Whether several files are numbered as rosbag2 does it: `drive_0.db3`, `drive_1.db3`, …"""
    names = [_numbered(file) for file in files]
    return len(files) > 1 and len({name[::2] for name in names}) == 1 and min(name[1] for name in names) == 0


def _numbered(file: Path) -> tuple[str, int, str]:
    """What comes before a file's number, the number, and what follows; of one without a number -1."""
    match = _NUMBERED.fullmatch(file.name)
    return (match[1], int(match[2]), match[3]) if match else (file.name, -1, "")


def _missing_among(files: Sequence[Path]) -> str:
    """Names of files that are not there, by the numbers of the others."""
    if not are_of_one_bag(files):
        return ""
    numbers = {_numbered(file)[1] for file in files}
    before, _, after = _numbered(files[0])
    missing = (f"{before}_{number}{after}" for number in range(max(numbers)) if number not in numbers)
    more = max(numbers) + 1 - len(numbers) - _LISTED
    return ", ".join(islice(missing, _LISTED)) + (f" and {more} more" if more > 0 else "")


def _listed(metadata: Path) -> list[str] | None:
    """Names of files in metadata; None if it is not that of a bag."""
    try:
        paths = yaml.safe_load(_content(metadata))[_METADATA_HAS.decode()]["relative_file_paths"]
        return [PurePath(path).name for path in paths] if isinstance(paths, list) else None
    except (yaml.YAMLError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def journal_of(database: Path) -> str:
    """What to do about a journal beside a database, as a killed recorder leaves it; empty without one."""
    for suffix in ("-wal", "-journal"):
        journal = database.with_name(database.name + suffix)
        if journal.is_file() and journal.stat().st_size:
            return (
                f"what was recorded last is in {journal.name}; once nothing records any more, "
                f"sqlite3 {database} .tables takes it in"
            )
    return ""


def head_of(path: Path) -> bytes:
    """The first bytes; raises SourceError."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(DATABASE_BEGINS))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise SourceError(f"{folder}: cannot be read: {error.strerror}") from None


def _has_metadata(folder: Path) -> bool:
    metadata = folder / METADATA
    if not metadata.is_file():
        return False
    return _has(_entries(folder), _STORAGE_SUFFIXES) or _METADATA_HAS in _content(metadata)


def _bags_in(folder: Path) -> list[Path]:
    """Of a folder without images."""
    entries = _entries(folder)
    if _has(entries, IMAGE_SUFFIXES):
        return []
    return [
        entry
        for entry in entries
        if (entry.is_dir() and _has_metadata(entry))
        or (entry.suffix in _BAG_SUFFIXES and entry.is_file() and is_bag(entry))
    ]


def _has(entries: Iterable[Path], suffixes: tuple[str, ...]) -> bool:
    return any(entry.suffix.lower() in suffixes for entry in entries)
