"""A file of whole lines: a torn one is never left, and never overwritten by somebody who wakes up late."""

from __future__ import annotations

import os
import select
import stat
import sys
from pathlib import Path
from typing import Final

from perception.sinks.rotation import Opening

_LOOK_BACK_BYTES: Final = 65_536
_PIECE_BYTES: Final = 4_096
"""That a pipe with room takes without waiting, on Linux."""


class LinesFile:
    """Writes lines past all buffers."""

    def __init__(self, descriptor: int) -> None:
        """Take over an open descriptor."""
        self._descriptor = descriptor
        self._is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.waits_for_reader = False
        """Whether `write` waits for who reads the pipe."""
        self.size_bytes = os.fstat(descriptor).st_size if self._is_regular else 0

    @classmethod
    def at(cls, file: Path, opening: Opening) -> LinesFile:
        """The file, empty or to be gone on with behind its last whole line.

        Whoever writes to a file holds a lock on it. So one that a hanging sink may still write to is not
        gone on with.

        Raises:
            FileExistsError: if it must be new and is not, or may still be written to by another.
            OSError: if it cannot be written.
        """
        flags = os.O_RDWR if opening == "continue" else os.O_WRONLY
        descriptor = os.open(file, flags | os.O_CREAT | (os.O_EXCL if opening == "new" else 0), 0o666)
        try:
            is_ours = _lock(descriptor)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                if opening == "continue" and not is_ours:
                    raise FileExistsError(f"{file} is being written to")
                end = _whole_bytes(descriptor) if opening == "continue" else 0
                os.ftruncate(descriptor, end)
                os.lseek(descriptor, end, os.SEEK_SET)
            return cls(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def write(self, line: bytes) -> None:
        """Write all of it; an error (OSError) leaves nothing of it, where that can be taken back."""
        written_bytes = 0
        try:
            while written_bytes < len(line):
                if self._is_regular:
                    piece = line[written_bytes:]
                else:
                    self._wait_for_reader()
                    piece = line[written_bytes : written_bytes + _PIECE_BYTES]
                written_bytes += os.write(self._descriptor, piece)
        except OSError:
            if written_bytes and self._is_regular:
                end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
                os.ftruncate(self._descriptor, end - written_bytes)
            raise
        self.size_bytes += len(line)

    def _wait_for_reader(self) -> None:
        """Until a pipe has room for a piece; a reader that has gone is found by the write."""
        if not hasattr(select, "poll"):
            return
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        self.waits_for_reader = True
        poll.poll()
        self.waits_for_reader = False

    def close(self) -> None:
        """Close it, and leave it to others."""
        os.close(self._descriptor)


def _lock(descriptor: int) -> bool:
    """Whether nobody else holds it, as far as the system and the file system tell."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _whole_bytes(descriptor: int) -> int:
    """Size up to the end of the last whole line."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end:
        start = max(0, end - _LOOK_BACK_BYTES)
        position = os.pread(descriptor, end - start, start).rfind(b"\n")
        if position >= 0:
            return start + position + 1
        end = start
    return 0
