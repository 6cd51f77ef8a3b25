"""Where a bag is: a file, a folder with metadata, or the only bag in a folder without."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from perception.sources.images import IMAGE_SUFFIXES
from perception.sources.source import SourceError

MCAP_BEGINS: Final = b"\x89MCAP0\r\n"
ROS1_BEGINS: Final = b"#ROSBAG V2.0\n"
DATABASE_BEGINS: Final = b"SQLite format 3\0"
METADATA: Final = "metadata.yaml"
_METADATA_HAS: Final = b"rosbag2_bagfile_information"
_STORAGE_SUFFIXES: Final = (".db3", ".mcap", ".zstd")
_BAG_SUFFIXES: Final = (".bag", ".db3", ".mcap")
_LISTED: Final = 6


def is_bag(path: Path) -> bool:
    """Whether a file's first bytes, or what is in a folder, are a bag's; raises SourceError."""
    if path.is_dir():
        return _has_metadata(path) or bool(_bags_in(path))
    head = head_of(path)
    is_database = path.suffix == ".db3" and head.startswith(DATABASE_BEGINS)
    return head.startswith((MCAP_BEGINS, ROS1_BEGINS)) or is_database


def place_of(path: Path) -> Path:
    """The file or folder that readers of bags open.

    Raises:
        SourceError: if it has no metadata and is not the only bag, or a name by which it is not recognised.
    """
    if not path.is_dir():
        if path.suffix != ".bag" and head_of(path).startswith(ROS1_BEGINS):
            completes = "; rosbag reindex completes it" if path.suffix == ".active" else ""
            raise SourceError(f"{path}: is a bag of ROS 1, whose name has to end in .bag{completes}")
        return path
    if (path / METADATA).is_file():
        if _METADATA_HAS not in _content(path / METADATA):
            raise SourceError(
                f"{path / METADATA}: is not that of a bag; ros2 bag reindex {path} writes another"
            )
        return path
    bags = _bags_in(path)
    if len(bags) == 1:
        return bags[0]
    names = ", ".join(bag.name for bag in bags[:_LISTED])
    more = f" and {len(bags) - _LISTED} more" if len(bags) > _LISTED else ""
    raise SourceError(f"{path}: holds {len(bags)} bags: {names}{more}; name one, as {bags[0]}")


def journal_of(place: Path) -> str:
    """What to do about a journal beside a database, as a killed recorder leaves it; empty without one."""
    databases = sorted(place.glob("*.db3")) if place.is_dir() else [place]
    for database in databases:
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
