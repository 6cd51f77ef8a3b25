"""A file of whole lines: a torn one is never left, and never overwritten by somebody who wakes up late."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path
from typing import Final

from perception.sinks.claim import Claim
from perception.sinks.presence import Presence, Watched
from perception.sinks.rotation import OpenMode
from perception.system.set_aside import is_stream

_RECORD_BEGINS: Final = b'{"schema":'
_LOOK_BACK_BYTES: Final = 65_536
_PIECE_BYTES: Final = 4_096
"""That a pipe with room takes without waiting, on Linux."""


class AtomicLineWriter:
    """Writes lines past all buffers."""

    def __init__(self, descriptor: int, file: Path | None = None) -> None:
        """Take over an open descriptor.

        Args:
            file: its name, if it is to be noticed that the file is moved or removed.
        """
        self.descriptor = descriptor
        self._is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.waits_for_reader = False
        """Whether `write` waits for who reads the pipe."""
        self._watched = Watched(descriptor, file) if file and self._is_regular else None
        self.lines = 0
        """Written to it."""

    @property
    def size_bytes(self) -> int:
        """As it is now, whoever cut it; of a pipe 0."""
        return os.fstat(self.descriptor).st_size if self._is_regular else 0

    @property
    def presence(self) -> Presence:
        """Whether it is still in its place."""
        return self._watched.presence() if self._watched else "there"

    @classmethod
    def at(cls, file: Path, opening: OpenMode, claim: Claim) -> AtomicLineWriter:
        """The file, empty or to be gone on with behind its last whole line.

        Lines always go to its end, wherever that is: a file that is copied and cut (logrotate's copytruncate)
        has no hole. One that a hanging sink may still write to is not gone on with.

        Raises:
            SinkError: if another writes to it.
            FileExistsError: if it must be new and is not, may still be written to by a hanging sink, or ends
                in something that is no half record.
            OSError: if it cannot be written.
        """
        if opening == "continue" and claim.is_shared:
            raise FileExistsError(f"{file} is being written to")
        flags = os.O_RDWR if opening == "continue" and not _is_special(file) else os.O_WRONLY
        flags |= os.O_CREAT | os.O_APPEND | (os.O_EXCL if opening == "new" else 0)
        descriptor = os.open(file, flags, 0o666)
        try:
            claim.lock(descriptor, file)
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and not is_stream(file):
                os.ftruncate(descriptor, _whole_bytes(descriptor, file) if opening == "continue" else 0)
            return cls(descriptor, file)
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
                written_bytes += os.write(self.descriptor, piece)
        except OSError:
            if written_bytes and self._is_regular:
                end = os.lseek(self.descriptor, 0, os.SEEK_CUR)
                os.ftruncate(self.descriptor, end - written_bytes)
            raise
        self.lines += 1

    def _wait_for_reader(self) -> None:
        """Until a pipe has room for a piece; a reader that has gone is found by the write."""
        if not hasattr(select, "poll"):
            return
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        self.waits_for_reader = True
        poll.poll()
        self.waits_for_reader = False

    def close(self) -> None:
        """Close it, and leave it to others."""
        os.close(self.descriptor)


def _is_special(file: Path) -> bool:
    """Whether it is a pipe or a device, which nothing can be read back from."""
    return file.exists() and not file.is_file()


def _whole_bytes(descriptor: int, file: Path) -> int:
    """Size up to the end of the last whole line; FileExistsError if what is behind it is not ours to cut off.

    Ours is a half record, and the zeros that a power cut leaves.
    """
    whole_bytes = _last_line_begins(descriptor)
    torn = os.pread(descriptor, len(_RECORD_BEGINS), whole_bytes).rstrip(b"\0")
    if not _RECORD_BEGINS.startswith(torn):
        raise FileExistsError(f"{file} ends in what is no record")
    return whole_bytes


def _last_line_begins(descriptor: int) -> int:
    """Offset, bytes."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end:
        start = max(0, end - _LOOK_BACK_BYTES)
        position = os.pread(descriptor, end - start, start).rfind(b"\n")
        if position >= 0:
            return start + position + 1
        end = start
    return 0
