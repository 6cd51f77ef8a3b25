"""Files of an earlier run in a folder that gets one file per frame: none may pass for a frame of this run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from perception.imaging.mask_png import has_mark as is_marked_mask
from perception.imaging.mask_png import is_indexed, with_ids
from perception.labels import IDS
from perception.sinks.naming import Naming
from perception.sinks.overlay_picture import has_mark as is_marked_overlay
from perception.sinks.sink import SinkError
from perception.system.set_aside import next_number, numbered

log = logging.getLogger(__name__)

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES: Final = 96
_GREY_OF_8_BITS: Final = b"\x08\x00"
_DECODED: Final = 16
"""Masks whose ids are checked too; for the others the header is enough."""


@dataclass(frozen=True)
class EarlierKind:
    """The files of a sink that writes one per frame."""

    noun: str
    option: str
    """The option for its folder."""
    suffix: str
    is_ours: Callable[[Path, bool], bool]
    """Whether a file may be one; with True it is decoded, otherwise only its header is read."""
    has_mark: Callable[[bytes], bool]
    """Whether a file with this beginning is certainly ours."""

    def is_certain(self, file: Path) -> bool:
        """Whether a file is certainly ours."""
        return self.has_mark(_head(file))


def earlier_files(
    folder: Path, kind: EarlierKind, within: Collection[str] = (), *, decodes_all: bool = False
) -> list[Path]:
    """The files of a kind in a folder and in the subfolders that runs write to, in order.

    In the folder itself files that may be ours count, in subfolders only those that certainly are: labels of
    a data set look the same.

    Args:
        within: subfolders in the names of frames; numbered ones, of segments, are searched too.
        decodes_all: decode every file, because they are to be replaced.

    Raises:
        SinkError: if the folder itself has a file of that suffix of another kind, which may be a user's
            picture with a name that we need.
        OSError: if it cannot be read.
    """
    found = sorted(_files(folder, kind.suffix, within))
    step = max(1, -(-len(found) // _DECODED))
    ours = []
    for place, file in enumerate(found):
        if file.parent != folder:
            if kind.is_certain(file):
                ours.append(file)
        elif kind.is_ours(file, decodes_all or place % step == 0):
            ours.append(file)
        else:
            raise SinkError(f"{file} exists and is no {kind.noun}; name another folder with {kind.option}")
    return ours


def is_mask(file: Path, decodes: bool = True) -> bool:
    """Whether a file may be a mask: grey or with our palette and, if decoded, with no other ids than ours."""
    header = _head(file)
    if not header.startswith(_PNG) or (header[24:26] != _GREY_OF_8_BITS and not is_indexed(header)):
        return False
    if not decodes:
        return True
    png = np.frombuffer(with_ids(file.read_bytes()), np.uint8)
    image = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    return image is not None and image.ndim == 2 and int(image.max()) <= max(IDS.values())


def is_overlay(file: Path, _: bool = True) -> bool:
    """Whether a file has the comment of our overlays."""
    return is_marked_overlay(_head(file))


MASKS: Final = EarlierKind("mask", "--masks", ".png", is_mask, is_marked_mask)
OVERLAYS: Final = EarlierKind("overlay", "--out", ".jpg", is_overlay, is_marked_overlay)


def clear(folder: Path, files: list[Path], kind: EarlierKind, *, overwrite: bool) -> None:
    """Move files of a folder to `NAME.1` beside it, or remove them for `overwrite`, and report it.

    Only files that are certainly ours are ever removed; the others are renamed. Other contents stay.

    Args:
        files: from `earlier_files`.

    Raises:
        SinkError: if they cannot be moved.
    """
    if not files:
        return
    named = folder.name not in ("", "..") and not folder.is_symlink()
    real = folder if named else Path(os.path.realpath(folder))
    aside = numbered(real, next_number(real))
    try:
        removed = {file for file in files if kind.is_certain(file)} if overwrite else set()
        kept = [file for file in files if file not in removed]
        places = {file.parent: aside / file.parent.relative_to(folder) for file in kept}
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)
        for file in kept:
            os.rename(file, places[file.parent] / file.name)
        for file in removed:
            file.unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(
            f"{folder}: {len(files)} {kind.noun}s of an earlier run cannot be kept in {aside}: "
            f"{error.strerror}; name another folder with {kind.option}"
        ) from error
    for emptied in sorted({file.parent for file in files} - {folder}, reverse=True):
        _remove_if_empty(emptied, folder)
    if kept:
        are, them = ("is", "it") if len(kept) == 1 else ("are", "them")
        count = f"{len(kept)} {kind.noun}{'s' * (len(kept) != 1)}"
        if overwrite:
            text = f"{count} {are} kept in {aside}: nothing in {them} proves that a run made {them}"
        else:
            text = f"{count} of an earlier run {are} kept in {aside}; --overwrite replaces {them}"
        log.info(f"{folder}: {text}")


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_HEADER_BYTES)


def _files(folder: Path, suffix: str, within: Collection[str]) -> Iterator[Path]:
    numbered_ones = Naming(folder, are_folders=True)
    for place, folders, names in os.walk(folder):
        inner = Path(place).relative_to(folder)
        if not inner.parts:
            folders[:] = [name for name in folders if numbered_ones.number_of(Path(name)) or name in within]
        elif not numbered_ones.number_of(Path(inner.parts[0])):
            folders[:] = [name for name in folders if (inner / name).as_posix() in within]
        for name in names:
            if name.endswith(suffix) and not name.startswith("."):
                yield Path(place) / name


def _remove_if_empty(folder: Path, top: Path) -> None:
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
