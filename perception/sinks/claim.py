"""One writer per output: a lock on the file or folder itself, which ends with the process.

It is `flock(2)` on an open descriptor, so it locks the file and not its name (links, `./` and other case make
no difference) and does not disturb readers. Child processes do not inherit the descriptors. On file systems
without such locks (some network shares, Windows) nothing is refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path
from threading import Lock
from typing import Final

from perception.sinks.sink import SinkError

_HELD: Final = (errno.EWOULDBLOCK, errno.EACCES)

Key = tuple[int, int]
"""Device and inode."""


class ClaimedError(SinkError):
    """Another writer has the lock."""


class Claim:
    """The locks of one output, shared by a sink and its replacement while it hangs."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[Key, tuple[int, Path, bool]] = {}
        self._writers = 0

    @property
    def is_shared(self) -> bool:
        """Whether a hanging sink may still write to the locked files."""
        return self._writers > 1

    def enter(self) -> None:
        """Count one more sink."""
        with self._lock:
            self._writers += 1

    def leave(self) -> None:
        """Count one sink less; the last one releases the locks."""
        with self._lock:
            self._writers -= 1
            is_last = self._writers <= 0
        if is_last:
            self.release()

    def take(self, file: Path, *, is_lock_file: bool = False) -> None:
        """Lock a file, which is created if needed, or a folder, without changing its content.

        Pipes and devices are not opened here; `lock` locks them when they are written to.

        Args:
            is_lock_file: the file serves the lock alone, and is removed with it.

        Raises:
            ClaimedError: if another writer has it.
            OSError: if it cannot be opened for writing.
        """
        while True:
            try:
                there = os.stat(file)
            except FileNotFoundError:
                there = None
            if there and stat.S_ISDIR(there.st_mode):
                if os.name == "nt":
                    return
                descriptor = os.open(file, os.O_RDONLY | os.O_DIRECTORY)
            elif there and not stat.S_ISREG(there.st_mode):
                return
            else:
                follows = getattr(os, "O_NOFOLLOW", 0) if is_lock_file else 0
                descriptor = os.open(file, os.O_RDWR | os.O_CREAT | follows, 0o666)
            try:
                if _key(os.fstat(descriptor)) not in self._held:
                    lock(descriptor, file)
                if _is_at(descriptor, file):
                    is_temporary = is_lock_file or there is None
                    with self._lock:
                        if (key := _key(os.fstat(descriptor))) not in self._held:
                            self._held[key] = (os.dup(descriptor), file, is_temporary)
                    return
            finally:
                os.close(descriptor)

    def lock(self, descriptor: int, file: Path) -> None:
        """Lock a file for as long as the descriptor is open, unless this claim has it already.

        Raises:
            ClaimedError: if another writer has it.
        """
        status = os.fstat(descriptor)
        if _key(status) not in self._held and (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            lock(descriptor, file)

    def release(self) -> None:
        """Release all locks, and remove files created for them that are still empty."""
        with self._lock:
            held, self._held = list(self._held.values()), {}
        for descriptor, file, is_temporary in held:
            with contextlib.suppress(OSError):
                if is_temporary and os.fstat(descriptor).st_size == 0 and _is_at(descriptor, file):
                    os.unlink(os.path.realpath(file))  # a link to it stays
            os.close(descriptor)


def lock(descriptor: int, file: Path) -> None:
    """Lock it for this open descriptor; raises ClaimedError, naming the holder."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            return  # this file system has no locks
        pid = _holder(os.fstat(descriptor))
        if pid == os.getpid():
            raise ClaimedError(f"{file}: this node has another output there; name another one") from None
        holder = f" (process {pid})" if pid else ""
        raise ClaimedError(
            f"{file}: is being written by another node{holder}; stop that one, or name another output"
        ) from None


def _holder(status: os.stat_result) -> int | None:
    """The process that has the lock, if the system reports it."""
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and place in words:
                return int(words[words.index(place) - 1]) or None
    return None


def _is_at(descriptor: int, file: Path) -> bool:
    """Whether the open file still has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _key(status: os.stat_result) -> Key:
    return status.st_dev, status.st_ino
