"""Atomic writing of files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path
from typing import Final

PARTIAL_SUFFIX: Final = ".drivable-partial"
"""Of unfinished files; files of such names belong to this program and may be removed."""
_LONGEST_NAME_BYTES: Final = 255
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
_BINARY: Final = getattr(os, "O_BINARY", 0)


def write_atomically(file: Path, content: bytes, *, waits_for_disk: bool = True) -> None:
    """Write beside `file`, then rename: a full disk or a kill leaves the previous content.

    Args:
        waits_for_disk: also sync content and name, to survive a power cut.

    Raises:
        OSError: if it cannot be written; no partial file is left.
    """
    partial = write_partial(file, content, waits_for_disk=waits_for_disk)
    try:
        os.replace(partial, file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if waits_for_disk:
        sync_folder(file.parent)


def write_partial(file: Path, content: bytes, *, waits_for_disk: bool) -> Path:
    """Write the content to a partial file beside `file`; returns its name.

    Raises:
        OSError: if it cannot be written, or another process writes it too; no partial file is left.
    """
    partial = partial_of(file)
    descriptor = create_new(partial)
    try:
        with open(descriptor, "wb", buffering=0) as stream:
            _write_all(stream.fileno(), content)
            if waits_for_disk:
                os.fsync(stream.fileno())
            if not os.path.samestat(os.fstat(stream.fileno()), os.lstat(partial)):
                raise FileExistsError(errno.EEXIST, "another process writes it too", str(partial))
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    return partial


def partial_of(file: Path) -> Path:
    """The hidden name of a file while it is written.

    Example:
        >>> partial_of(Path("out/r.json")).name
        '.r.json.drivable-partial'
    """
    name = f".{file.name}{PARTIAL_SUFFIX}"
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        name = f".{hashlib.sha256(os.fsencode(file.name)).hexdigest()}{PARTIAL_SUFFIX}"
    return file.with_name(name)


def create_new(partial: Path) -> int:
    """A writable descriptor of a new file, never of an existing one or through a link.

    Args:
        partial: from `partial_of`; a file that a killed process left under that name is removed.

    Raises:
        OSError: if it cannot be created.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY
    try:
        return os.open(partial, flags, 0o666)
    except FileExistsError:
        partial.unlink(missing_ok=True)
        return os.open(partial, flags, 0o666)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk, if the system can; raises OSError."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # unsupported by the file system
            raise
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
