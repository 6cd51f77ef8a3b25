"""Open files of a recording: written by whole lines, or by checkpoints below a video."""

from __future__ import annotations

import io
import os
import select
import stat
from pathlib import Path
from typing import Final, Literal

from perception.sinks.claim import Claim
from perception.system.set_aside import is_stream

OpenMode = Literal["replace", "continue", "new"]
"""Start the file, whose content nobody needs; continue behind its content; require that it does not exist."""
Presence = Literal["there", "moved", "removed"]
"""In its place; intact under another name; or without a name, so that closing it deletes it."""

_RECORD_BEGINS: Final = b'{"schema":'
_LOOK_BACK_BYTES: Final = 65_536
_PIECE_BYTES: Final = 4_096
"""Bytes that a pipe with room takes without blocking, on Linux."""


class Watched:
    """An open file or folder, and the name it was opened by: files may be removed or rotated by others."""

    def __init__(self, descriptor: int, file: Path) -> None:
        self._descriptor, self._file = descriptor, file
        # On file systems that make up an inode number at every stat, a name proves nothing.
        self._has_inode = True
        self._has_inode = self.presence() != "moved"

    def presence(self) -> Presence:
        """Takes some microseconds."""
        try:
            status = os.fstat(self._descriptor)
        except OSError:  # of a share whose server has removed it
            return "removed"
        if status.st_nlink == 0:
            return "removed"
        if self._has_inode:
            try:
                if not os.path.samestat(status, os.stat(self._file)):
                    return "moved"
            except (FileNotFoundError, NotADirectoryError):
                return "moved"
        return "there"


class AtomicLineWriter:
    """Writes whole lines, unbuffered: no torn line stays, and a writer that hung overwrites nothing."""

    folder_bytes = 0

    def __init__(self, descriptor: int, file: Path | None = None) -> None:
        """Take over an open descriptor.

        Args:
            file: its name, to notice that the file is moved or removed.
        """
        self.descriptor = descriptor
        self.file = file
        self.frames = 0
        """Lines written to it."""
        self.waits_for_reader = False
        """Whether `write` waits for the reader of a pipe."""
        self._is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._watched = Watched(descriptor, file) if file and self._is_regular else None

    @classmethod
    def at(cls, file: Path, opening: OpenMode, claim: Claim) -> AtomicLineWriter:
        """The file, empty or truncated behind its last whole line.

        Lines are always appended at its current end, so a file that is copied and truncated (logrotate's
        copytruncate) gets no hole. A file that a hanging sink may still write to is not continued.

        Raises:
            SinkError: if another process writes to it.
            FileExistsError: if it must be new and exists, may still be written to by a hanging sink, or ends
                in something that is no partial record.
            OSError: if it cannot be written.
        """
        if opening == "continue" and claim.is_shared:
            raise FileExistsError(f"{file} is being written to")
        is_special = file.exists() and not file.is_file()  # a pipe or device, which cannot be read back
        access = os.O_RDWR if opening == "continue" and not is_special else os.O_WRONLY
        descriptor = _open(file, access | os.O_APPEND, opening, claim)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and not is_stream(file):
                os.ftruncate(descriptor, _whole_bytes(descriptor, file) if opening == "continue" else 0)
            return cls(descriptor, file)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def size_bytes(self) -> int:
        """Its current size, even if it was truncated by others; 0 for a pipe."""
        return os.fstat(self.descriptor).st_size if self._is_regular else 0

    @property
    def presence(self) -> Presence:
        """Whether it is still in its place."""
        return self._watched.presence() if self._watched else "there"

    def write(self, line: bytes) -> None:
        """Write all of it; after an OSError nothing of it stays, if that can be undone."""
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
        self.frames += 1

    def _wait_for_reader(self) -> None:
        """Wait until a pipe has room for a piece; the write notices a reader that is gone."""
        if not hasattr(select, "poll"):
            return
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        self.waits_for_reader = True
        poll.poll()
        self.waits_for_reader = False

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


class CheckpointedFile:
    """The file below a container. After the first error it ignores all further writes.

    So a container that goes on to write its trailer cannot damage what is complete.
    """

    def __init__(self, file: Path, opening: OpenMode, claim: Claim) -> None:
        """Create the file, or open an empty one.

        Raises:
            SinkError: if another process writes to it.
            OSError: if it cannot be created; FileExistsError if it must be new or empty and is not.
        """
        self._file = file
        descriptor = _open(file, os.O_WRONLY | getattr(os, "O_BINARY", 0), opening, claim)
        try:
            status = os.fstat(descriptor)
            if opening == "continue" and (claim.is_shared or status.st_size):
                raise FileExistsError(f"{file} is another segment")
            if stat.S_ISREG(status.st_mode):
                os.ftruncate(descriptor, 0)
            self._watched = Watched(descriptor, file)
            self._raw = io.FileIO(descriptor, "w")
        except BaseException:
            os.close(descriptor)
            raise
        self._header_bytes = 0
        self._whole_bytes = 0
        self._is_stopped = False
        self.error: OSError | None = None

    @property
    def descriptor(self) -> int:
        """Of the open file."""
        return self._raw.fileno()

    @property
    def presence(self) -> Presence:
        """Whether the file is still in its place, and not truncated by others."""
        presence = self._watched.presence()
        is_cut = presence != "removed" and os.fstat(self.descriptor).st_size < self._whole_bytes
        return "removed" if is_cut else presence

    def write(self, data: bytes) -> int:
        """Write all of it, or keep the error in `error`."""
        left = memoryview(data)
        while left and not self._is_stopped:
            try:
                left = left[self._raw.write(left) :]
            except OSError as error:
                self.error = error
                self.stop()
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Like a file's."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """Like a file's."""
        return self._raw.tell()

    def mark_whole(self) -> None:
        """All that is written so far is readable: the container has just written whole fragments."""
        self._whole_bytes = self._raw.tell()
        self._header_bytes = self._header_bytes or self._whole_bytes

    def stop(self) -> None:
        """Ignore further writes."""
        self._is_stopped = True

    def finish(self) -> None:
        """Close the file; after an error, truncated to what is whole. A file without a frame is removed."""
        if self._is_stopped and os.fstat(self.descriptor).st_size > self._whole_bytes:
            self._raw.truncate(self._whole_bytes)
        is_empty = self._whole_bytes == 0 or (self._is_stopped and self._whole_bytes == self._header_bytes)
        is_there = self._watched.presence() == "there"
        self._raw.close()
        if is_empty and is_there:
            Path(os.path.realpath(self._file)).unlink(missing_ok=True)  # a link to it stays


def _open(file: Path, flags: int, opening: OpenMode, claim: Claim) -> int:
    """A locked descriptor; raises as `AtomicLineWriter.at` does."""
    descriptor = os.open(file, flags | os.O_CREAT | (os.O_EXCL if opening == "new" else 0), 0o666)
    try:
        claim.lock(descriptor, file)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _whole_bytes(descriptor: int, file: Path) -> int:
    """Size up to the end of the last whole line; FileExistsError if the rest is not ours to cut off.

    Ours is a partial record, and the zeros that a power cut leaves.
    """
    whole_bytes, end = 0, os.lseek(descriptor, 0, os.SEEK_END)
    while end and not whole_bytes:
        start = max(0, end - _LOOK_BACK_BYTES)
        position = os.pread(descriptor, end - start, start).rfind(b"\n")
        whole_bytes = start + position + 1 if position >= 0 else 0
        end = start
    torn = os.pread(descriptor, len(_RECORD_BEGINS), whole_bytes).rstrip(b"\0")
    if not _RECORD_BEGINS.startswith(torn):
        raise FileExistsError(f"{file} does not end in a record")
    return whole_bytes
