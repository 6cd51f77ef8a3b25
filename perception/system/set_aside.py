"""What lies where an output goes is never replaced unasked: it is set aside, under the next free name.

`r.jsonl` becomes `r.1.jsonl`, or with that there `r.2.jsonl`, a name that no segment of a recording has
(`r-000001.jsonl`). It is renamed, so that nothing is lost whenever the process ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from perception.cli.command import say
from perception.system.atomic_file import sync_folder, write_partial

_STREAMS_BY_NUMBER: Final = ("/dev/fd", "/proc")


def is_stream(file: Path) -> bool:
    """Whether what is written there only passes by: a pipe, a device, or this process's standard streams.

    Those may lead to a file (`>> log`), whose content then is not this output's.
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
    """Descriptors of standard output and standard error, which is not 2 where libraries write to nowhere."""
    descriptors = {1, 2}
    with contextlib.suppress(AttributeError, OSError, ValueError):
        descriptors.add(sys.stderr.fileno())
    return descriptors


def is_in_the_way(file: Path) -> bool:
    """Whether a file is there that holds something; links are followed."""
    try:
        there = os.stat(file)
    except OSError:
        return False
    return stat.S_ISREG(there.st_mode) and there.st_size > 0 and not is_stream(file)


def make_way(file: Path, *, overwrite: bool) -> bool:
    """Set aside what is there, or remove it where that is asked for; whether there was anything.

    What a link leads to makes way, and the link stays. Streams and empty files are left as they are.

    Raises:
        OSError: if it cannot be.
    """
    if not is_in_the_way(file):
        return False
    real = Path(os.path.realpath(file)) if file.is_symlink() else file
    if overwrite:
        # Not emptied: under another name (a hard link) it may be somebody's.
        try:
            real.unlink()
        except PermissionError:
            if os.stat(real).st_nlink > 1:
                raise
    else:
        set_aside([real])
    return True


def set_aside(files: Iterable[Path], *, has_overwrite: bool = True) -> None:
    """Give files that are there the next free names, of one number, and say so in one line.

    Args:
        has_overwrite: the command has --overwrite, which would replace them.

    Raises:
        OSError: if one cannot be renamed.
    """
    there = [file for file in files if file.exists()]
    if not there:
        return
    number = max(next_number(file) for file in there)
    kept = [_renamed(file, number) for file in there]
    told, now = (", ".join(str(file) for file in each) for each in (there, kept))
    verbs, them = ("was", "it is") if len(there) == 1 else ("were", "they are")
    hint = " (--overwrite replaces)" if has_overwrite else ""
    say(f"{told} {verbs} there already; {them} kept as {now}{hint}")


def next_number(path: Path) -> int:
    """One above the highest number that something was set aside under."""
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
    """Write files that belong together, each whole or not at all; what was there is set aside.

    All are on the disk before the first takes its name: where there is no room, what was there stays.

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
        try:  # taken first, so that no file that comes there meanwhile is lost
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
