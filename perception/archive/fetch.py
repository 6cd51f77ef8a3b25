"""Clips from elsewhere: downloaded in ranges, so that a connection that breaks costs one range."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path, PurePosixPath
from typing import Any, Final

from perception.archive.clip import Clip
from perception.archive.store import opened, reason, scheme_of

log = logging.getLogger(__name__)

RANGE_BYTES: Final = 8 << 20
ATTEMPTS: Final = 6
FIRST_PAUSE_S: Final = 0.5
"""Before the second attempt; doubled from one to the next."""
LEAST_FREE_BYTES: Final = 256 << 20
"""That a download leaves on the disk."""


class FetchError(Exception):
    """A clip that could not be downloaded, in one line."""


def is_here(clip: Clip) -> bool:
    """Whether it can be read where it is."""
    return scheme_of(clip.address) == "file"


def fetched(clip: Clip, folder: Path, most_bytes: float) -> Path:
    """The clip as a file on this machine: its own one, or a copy in `folder`.

    Args:
        most_bytes: that the copy may have.

    Raises:
        FetchError: if it cannot be read in several attempts, is too large, or the disk is full.
    """
    if is_here(clip):
        return Path(clip.address)
    files, path = opened(clip.address)
    copy = folder / PurePosixPath(clip.name).name
    _check_room(clip, folder, most_bytes)
    folder.mkdir(parents=True, exist_ok=True)
    with copy.open("wb") as target:
        while clip.size is None or target.tell() < clip.size:
            piece = _piece(files, path, clip, target.tell())
            if clip.size is None and len(piece) > most_bytes:
                raise FetchError(f"larger than its share of --scratch_gb, {most_bytes / 1e9:.3g} GB")
            try:
                target.write(piece)
                target.flush()
            except OSError as error:
                raise FetchError(
                    f"{folder}: {os.strerror(error.errno or 0)}; name another --scratch"
                ) from None
            if clip.size is None:
                break
    return copy


def _check_room(clip: Clip, folder: Path, most_bytes: float) -> None:
    size = clip.size or 0
    if size > most_bytes:
        raise FetchError(
            f"has {size / 1e9:.3g} GB, and a worker's share of --scratch_gb is {most_bytes / 1e9:.3g} GB"
        )
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if size + LEAST_FREE_BYTES > free:
        raise FetchError(
            f"has {size / 1e9:.3g} GB, and {there} has {free / 1e9:.3g} GB free; make room, or name another "
            f"--scratch"
        )


def _piece(files: Any, path: str, clip: Clip, start: int) -> bytes:
    """The next range, or the whole content where the size is not known."""
    end = None if clip.size is None else min(start + RANGE_BYTES, clip.size)
    pause_s = FIRST_PAUSE_S
    for attempt in range(1, ATTEMPTS + 1):
        try:
            piece = bytes(files.cat_file(path, start=start if end else None, end=end))
            if end is None or len(piece) == end - start:
                return piece
            problem = f"{len(piece)} bytes of {end - start} came"
        except FileNotFoundError:
            raise FetchError("does not exist any more") from None
        except Exception as error:
            problem = reason(error)
        log.debug(f"{clip.name}: from byte {start}: {problem}; attempt {attempt} of {ATTEMPTS}")
        if attempt < ATTEMPTS:
            time.sleep(pause_s)
            pause_s *= 2
    raise FetchError(f"cannot be downloaded: {problem}, in {ATTEMPTS} attempts from byte {start} on")
