"""One writer an output: a lock on the file or folder itself, which goes with the process that holds it.

It is `flock(2)` on an open descriptor, so it is about the file and not its name: links, `./` and other case
change nothing, and nothing is in the way of a player or a reader. No descriptor is inherited by a program
that is started meanwhile. Where the file system has no such locks (some network shares, Windows) nothing is
refused.
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
    """Somebody else writes there."""


class Claim:
    """What the writers of one output hold: a sink, and the one that takes its place while it hangs."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[Key, tuple[int, Path, bool]] = {}
        self._writers = 0

    @property
    def is_shared(self) -> bool:
        """Whether a sink that hangs may still write to what this claim holds."""
        return self._writers > 1

    def enter(self) -> None:
        """One more sink writes."""
        with self._lock:
            self._writers += 1

    def leave(self) -> None:
        """One sink less writes; with the last one everything is free again."""
        with self._lock:
            self._writers -= 1
            is_last = self._writers <= 0
        if is_last:
            self.release()

    def take(self, file: Path, *, is_lock_file: bool = False) -> None:
        """Hold a file, which is made if need be, or a folder; its content is left as it is.

        A pipe or a device is not opened: who writes to it locks it.

        Args:
            is_lock_file: it is there for the lock alone, and goes with it.

        Raises:
            ClaimedError: if another writes there.
            OSError: if it cannot be opened to write.
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
                    goes = is_lock_file or there is None
                    with self._lock:
                        if _key(os.fstat(descriptor)) not in self._held:
                            self._held[_key(os.fstat(descriptor))] = (os.dup(descriptor), file, goes)
                    return
            finally:
                os.close(descriptor)

    def lock(self, descriptor: int, file: Path) -> None:
        """Lock what is to be written to for as long as the descriptor is open, unless it is held already.

        Raises:
            ClaimedError: if another writes there.
        """
        status = os.fstat(descriptor)
        if _key(status) not in self._held and (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
            lock(descriptor, file)

    def release(self) -> None:
        """Let everything go; what was made for it and is still empty is removed."""
        with self._lock:
            held, self._held = list(self._held.values()), {}
        for descriptor, file, goes in held:
            with contextlib.suppress(OSError):
                if goes and os.fstat(descriptor).st_size == 0 and _is_at(descriptor, file):
                    os.unlink(os.path.realpath(file))  # a link to it stays
            os.close(descriptor)


def lock(descriptor: int, file: Path) -> None:
    """Lock it for this open descriptor alone; raises ClaimedError, saying by whom it is held."""
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
        who = f" (process {pid})" if pid else ""
        raise ClaimedError(
            f"{file}: is being written by another node{who}; end that one, or name another output"
        ) from None


def _holder(status: os.stat_result) -> int | None:
    """Process that holds the lock, where the system tells."""
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and place in words:
                return int(words[words.index(place) - 1]) or None
    return None


def _is_at(descriptor: int, file: Path) -> bool:
    """Whether the file of this name is the open one."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


def _key(status: os.stat_result) -> Key:
    return status.st_dev, status.st_ino
