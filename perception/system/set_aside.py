"""Sets existing files aside before an output takes their place, under the next free name.

`r.jsonl` becomes `r.1.jsonl`, or `r.2.jsonl` if that exists: names that segments of a recording
(`r-000001.jsonl`) do not have. Files are renamed, so that a kill at any moment loses nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from perception.system.atomic_file import sync_folder, write_partial

log = logging.getLogger(__name__)

_STREAMS_BY_NUMBER: Final = ("/dev/fd", "/proc")


def is_stream(file: Path) -> bool:
    """Whether it is a pipe, a device, or one of this process's standard streams.

    Those may be redirected to a file (`>> log`) with other content.
    """
    try:
        there = os.stat(file)
    except OSError:
        return False
    if not stat.S_ISREG(there.st_mode):
        return not stat.S_ISDIR(there.st_mode)
    if any(Path(os.path.abspath(file)).is_relative_to(folder) for folder in _STREAMS_BY_NUMBER):
        return True
    for descriptor in _own_streams():
        with contextlib.suppress(OSError):
            if os.path.samestat(there, os.fstat(descriptor)):
                return True
    return False


def _own_streams() -> set[int]:
    """Descriptors of standard output and standard error, which is not 2 while libraries are silenced."""
    descriptors = {1, 2}
    with contextlib.suppress(AttributeError, OSError, ValueError):
        descriptors.add(sys.stderr.fileno())
    return descriptors


def is_in_the_way(file: Path) -> bool:
    """Whether a non-empty file is there; links are followed."""
    try:
        there = os.stat(file)
    except OSError:
        return False
    return stat.S_ISREG(there.st_mode) and there.st_size > 0 and not is_stream(file)


def make_way(file: Path, *, overwrite: bool) -> bool:
    """Set aside an existing file, or remove it for `overwrite`; returns whether there was one.

    Of a link its target is moved, and the link stays. Streams and empty files stay.

    Raises:
        OSError: if that fails.
    """
    if not is_in_the_way(file):
        return False
    real = Path(os.path.realpath(file)) if file.is_symlink() else file
    if overwrite:
        # Removed, not truncated: it may have another name (a hard link).
        try:
            real.unlink()
        except PermissionError:
            if os.stat(real).st_nlink > 1:
                raise
    else:
        set_aside([real])
    return True


def set_aside(files: Iterable[Path], *, has_overwrite: bool = True) -> None:
    """Rename existing files to the next free names, with the same number, and report it in one line.

    Args:
        has_overwrite: whether the command has --overwrite, which would replace them.

    Raises:
        OSError: if one cannot be renamed.
    """
    there = [file for file in files if file.exists()]
    if not there:
        return
    number = max(next_number(file) for file in there)
    kept = [_renamed(file, number) for file in there]
    before, now = (", ".join(str(file) for file in each) for each in (there, kept))
    exist, them = ("exists", "it is") if len(there) == 1 else ("exist", "they are")
    hint = " (--overwrite replaces)" if has_overwrite else ""
    log.info(f"{before} {exist} already; {them} kept as {now}{hint}")


def next_number(path: Path) -> int:
    """One above the highest number in use for files set aside."""
    start, end = f"{path.stem}.", path.suffix
    numbers = [1]
    for name in os.listdir(path.parent):
        match = re.fullmatch(rf"{re.escape(start)}([0-9]{{1,9}}){re.escape(end)}", name)
        if match:
            numbers.append(int(match[1]) + 1)
    return max(numbers)


def numbered(path: Path, number: int) -> Path:
    """The name that `path` is set aside under.

    Example:
        >>> numbered(Path("out/r.jsonl"), 2).name, numbered(Path("masks"), 1).name
        ('r.2.jsonl', 'masks.1')
    """
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def write_outputs(contents: Mapping[Path, bytes], *, overwrite: bool, waits_for_disk: bool = True) -> None:
    """Write files that belong together, each atomically; existing ones are set aside.

    All are on the disk before the first gets its name, so a full disk leaves the existing ones.

    Raises:
        OSError: if one cannot be written.
    """
    partials: dict[Path, Path] = {}
    try:
        for file, content in contents.items():
            partials[file] = write_partial(file, content, waits_for_disk=waits_for_disk)
        if not overwrite:
            set_aside([file for file in contents if is_in_the_way(file)])
        for file in contents:
            os.replace(partials[file], file)
            del partials[file]
    finally:
        for partial in partials.values():
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
    if waits_for_disk:
        for folder in {file.parent for file in contents}:
            sync_folder(folder)


def _renamed(file: Path, number: int) -> Path:
    while True:
        aside = numbered(file, number)
        try:  # reserved first, so that no file created meanwhile is lost
            os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except FileExistsError:
            number += 1
            continue
        try:
            os.replace(file, aside)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
        return aside
