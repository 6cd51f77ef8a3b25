"""What an archive holds already, and with which model and settings: the truth, whatever a run was ended by.

`archive.json` says what all results were made with, each clip's `clip.json` what it was made of. Both are
written whole or not at all, the latter together with its results.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from perception import __version__
from perception.archive.clip import Clip
from perception.archive.error import ArchiveError
from perception.archive.job import CLIP_FILE, CLIPS_FOLDER, SCHEMA, WORK_FOLDER, ClipResult, Outcome
from perception.archive.store import Store, scheme_of
from perception.archive.tables import CLIPS_TABLE, SECONDS_TABLE
from perception.provenance.identity import DIGITS
from perception.sinks.claim import Claim
from perception.sinks.sink import SinkError
from perception.system.json_text import json_text, why_unreadable

ARCHIVE_FILE, LOCK_FILE = "archive.json", ".lock"
READERS: Final = 32
"""Of an object store, at once."""


@dataclass(frozen=True)
class Made:
    """What results are made with."""

    key: str
    """Checksum of all of it."""
    model: str
    model_sha256: str
    settings: dict[str, Any]
    """Of the node; no file that a setting names is covered by more than its name."""
    outputs: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """For `archive.json`."""
        return {
            **{"schema": SCHEMA, "version": __version__, "key": self.key, "model": self.model},
            **{"model_sha256": self.model_sha256, "outputs": list(self.outputs), "settings": self.settings},
        }


@dataclass
class Plan:
    """Which clips are to be processed, and what is known of the others."""

    todo: list[Clip] = field(default_factory=list)
    done: list[ClipResult] = field(default_factory=list)
    """Of this run's clips, those with results."""
    failed_before: list[ClipResult] = field(default_factory=list)
    """That are not tried again."""


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Nobody else works on an archive of this machine meanwhile; raises ArchiveError if somebody does."""
    if not store.is_local:
        yield
        return
    claim = Claim()
    try:
        store.folder().mkdir(parents=True, exist_ok=True)
        claim.take(store.folder(LOCK_FILE), is_lock_file=True)
    except OSError as error:
        raise ArchiveError(f"{store}: cannot be written: {error.strerror}") from None
    except SinkError:
        raise ArchiveError(f"{store}: another drivable-archive works on it") from None
    try:
        shutil.rmtree(store.folder(WORK_FOLDER), ignore_errors=True)  # what a run that was killed left
        yield
    finally:
        shutil.rmtree(store.folder(WORK_FOLDER), ignore_errors=True)
        claim.release()


def check_same(store: Store, made: Made, *, redo: bool) -> None:
    """Refuse to mix results of different models or settings, or to touch what is no archive.

    Raises:
        ArchiveError: naming what differs.
    """
    content = store.read(ARCHIVE_FILE)
    if content is None:
        if store.is_local and (there := _of_others(store)):
            raise ArchiveError(f"{store}: holds {there}, and is no archive of ours; name an empty folder")
        return
    before = _parsed(content, f"{store}/{ARCHIVE_FILE}")
    if before.get("key") == made.key or redo:
        return
    now = made.as_dict()
    what = next(
        (
            f"{name} {_shown(before.get(name))}, not {_shown(now[name])}"
            for name in ("model", "model_sha256", "outputs")
            if before.get(name) != now[name]
        ),
        None,
    )
    what = what or _differing(before.get("settings"), made.settings)
    raise ArchiveError(f"{store}: was made with {what}; name another --to, or process all again with --redo")


def write_archive_file(store: Store, made: Made) -> None:
    """Say what the results are made with; raises ArchiveError."""
    before = store.read(ARCHIVE_FILE)
    if before == (content := (json_text(made.as_dict(), indent=2) + "\n").encode()):
        return
    if before is not None:  # tables would be of what was made before
        for table in (CLIPS_TABLE, SECONDS_TABLE):
            store.remove(table)
    store.write(ARCHIVE_FILE, content)


def plan(store: Store, clips: Sequence[Clip], made: Made, *, redo: bool, retry_failed: bool) -> Plan:
    """What is to be done: clips without results, those that have changed, those of other settings.

    Raises:
        ArchiveError: if results cannot be read.
    """
    planned = Plan()
    for clip, result in zip(clips, results_of(store, (clip.name for clip in clips)), strict=True):
        if result is not None and not redo:
            _check_same_clip(store, clip, result)
        is_same = result is not None and result.key == made.key and _is_same(result.source, clip.source)
        if redo or result is None or not is_same or not _is_whole(store, result):
            planned.todo.append(clip)
        elif result.outcome is not Outcome.FAILED:
            planned.done.append(result)
        elif retry_failed:
            planned.todo.append(clip)
        else:
            planned.failed_before.append(result)
    return planned


def _is_same(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether it is the same version of a clip, wherever it lies now."""
    return (before["size"], before["version"]) == (now["size"], now["version"])


def _check_same_clip(store: Store, clip: Clip, result: ClipResult) -> None:
    """Refuse to replace the results of another clip of that name; raises ArchiveError."""
    before, now = result.source, clip.source
    if before["address"] != now["address"] and not _is_same(before, now):
        raise ArchiveError(
            f"{store}: {clip.name} is {before['address']} there, not {now['address']}; name another --to, or "
            f"replace it with --redo"
        )


def _is_whole(store: Store, result: ClipResult) -> bool:
    """Whether all files of a result are there, as far as that is quickly seen."""
    sizes = store.sizes(f"{CLIPS_FOLDER}/{result.name}", result.files)
    return sizes is None or sizes == result.files


def others_of(store: Store, names: Collection[str], made: Made) -> list[ClipResult]:
    """Results of clips that are not among this run's, made with the same; raises ArchiveError."""
    others = [name for name in store.folders_with(CLIP_FILE, CLIPS_FOLDER) if name not in names]
    return [result for result in results_of(store, others) if result and result.key == made.key]


def results_of(store: Store, names: Iterable[str]) -> Iterator[ClipResult | None]:
    """What is known of each clip; None of one without results, or with a file that cannot be understood."""

    def result_of(name: str) -> ClipResult | None:
        content = store.read(f"{CLIPS_FOLDER}/{name}/{CLIP_FILE}")
        try:
            return None if content is None else ClipResult.of(json.loads(content))
        except (ValueError, RecursionError):
            return None

    if store.is_local:
        yield from map(result_of, names)
        return
    with ThreadPoolExecutor(READERS) as readers:
        yield from readers.map(result_of, names)


def _of_others(store: Store) -> str:
    """What stands where results would go."""
    taken = (CLIPS_FOLDER, "summary", WORK_FOLDER, ARCHIVE_FILE)
    there = [name for name in taken if os.path.lexists(store.folder(name))]
    if store.folder().is_file():
        return "a file"
    return " and ".join(there)


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{where}: {why_unreadable(error)}; name another --to") from None
    if not isinstance(parsed, dict):
        raise ArchiveError(f"{where}: is not that of an archive; name another --to")
    return parsed


def _differing(before: Any, now: dict[str, Any]) -> str:
    known = before if isinstance(before, dict) else {}
    names = [name for name in sorted({*known, *now}) if known.get(name) != now.get(name)]
    if not names:
        return "another version of its settings"
    name = names[0]
    return f"{name} {_shown(known.get(name))}, not {_shown(now.get(name))}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value[:DIGITS] if len(value) == 64 else value
    return ", ".join(map(str, value)) if isinstance(value, list) else json_text(value)


def apart(store: Store, clips: Iterable[Clip]) -> None:
    """Refuse clips that are results of this archive; raises ArchiveError."""
    if not store.is_local:
        return
    place = os.path.realpath(store.folder())
    for clip in clips:
        if scheme_of(clip.address) == "file" and Path(os.path.realpath(clip.address)).is_relative_to(place):
            raise ArchiveError(f"{clip.address} lies in --to {store}; name another folder, or leave it out")


def outside(store: Store, folders: Iterable[Path]) -> None:
    """Refuse results inside a folder of clips, where the next run would take them for clips.

    Raises:
        ArchiveError: naming both.
    """
    if not store.is_local:
        return
    place = Path(os.path.realpath(store.folder()))
    for folder in folders:
        if place.is_relative_to(os.path.realpath(folder)):
            raise ArchiveError(f"--to {store} lies in {folder}, which holds the clips; name another folder")
