"""Masks that an earlier run left where this one writes its own: none may stand for a frame of this run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from perception.command import say
from perception.labels import IDS
from perception.mask_png import is_indexed, with_ids
from perception.set_aside import next_number, numbered
from perception.sinks.sink import SinkError

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES: Final = 64
_GREY_OF_8_BITS: Final = b"\x08\x00"
_DECODED: Final = 16
"""Masks whose ids are looked at too; of the rest the header tells enough."""


def earlier_masks(folder: Path, *, decodes_all: bool = False) -> list[Path]:
    """The masks in a folder and in the folders within it, in order.

    Args:
        decodes_all: look at the ids of every one: they are to be removed.

    Raises:
        SinkError: if a PNG lies in the folder itself that is no mask: it may be a user's picture, of the name
            that a mask is to get.
        OSError: if it cannot be read.
    """
    found = sorted(_pngs(folder))
    step = max(1, -(-len(found) // _DECODED))
    masks = []
    for place, file in enumerate(found):
        if is_mask(file, decodes=decodes_all or place % step == 0):
            masks.append(file)
        elif file.parent == folder:
            raise SinkError(f"{file} is there, and no mask; name another folder with --masks")
    return masks


def is_mask(file: Path, *, decodes: bool = True) -> bool:
    """Whether a file is a mask of ours: grey or with our palette; where it is decoded, of our ids alone."""
    with file.open("rb") as stream:
        png = stream.read(_HEAD_BYTES)
        if not png.startswith(_PNG) or not (is_indexed(png) or png[24:26] == _GREY_OF_8_BITS):
            return False
        if not decodes:
            return True
        png += stream.read()
    image = cv2.imdecode(np.frombuffer(with_ids(png), np.uint8), cv2.IMREAD_UNCHANGED)
    return image is not None and image.ndim == 2 and int(image.max()) <= max(IDS.values())


def clear(folder: Path, masks: list[Path], *, overwrite: bool) -> None:
    """Set the masks of a folder aside, into `NAME.1` beside it, and say so; or remove them if asked to.

    Each is renamed, so that one of them is never lost nor doubled. All else stays where it is.

    Args:
        masks: as `earlier_masks` has found them.

    Raises:
        SinkError: if they cannot be moved.
    """
    if not masks:
        return
    named = folder.name not in ("", "..") and not folder.is_symlink()
    real = folder if named else Path(os.path.realpath(folder))
    aside = numbered(real, next_number(real))
    try:
        for mask in masks:
            if overwrite:
                mask.unlink(missing_ok=True)
            else:
                kept = aside / mask.relative_to(folder)
                kept.parent.mkdir(parents=True, exist_ok=True)
                os.rename(mask, kept)
    except OSError as error:
        raise SinkError(
            f"{folder}: {len(masks)} masks of an earlier run cannot be kept in {aside}: {error.strerror}; "
            f"name another folder with --masks"
        ) from error
    for emptied in sorted({mask.parent for mask in masks} - {folder}, reverse=True):
        _remove_if_empty(emptied, folder)
    if not overwrite:
        count = f"{len(masks)} mask{'s' * (len(masks) != 1)}"
        say(f"{folder}: {count} of an earlier run are kept in {aside}; --overwrite replaces them")


def _pngs(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".png") and not name.startswith("."):
                yield Path(place) / name


def _remove_if_empty(folder: Path, top: Path) -> None:
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
