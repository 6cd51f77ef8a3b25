"""Segments of a recording that are open: files written by whole lines, or by checkpoints below a video."""

from __future__ import annotations

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


class Segment:
    """An open file or folder of a recording, and its name: others may move or remove it."""

    def __init__(self, descriptor: int, path: Path | None = None) -> None:
        """Take over an open descriptor.

        Args:
            descriptor: -1 for a folder on a system that opens none.
            path: the name that it was opened by; None if it has none, and is no folder.
        """
        self.descriptor, self.path = descriptor, path
        self.frames = 0
        """Written to it."""
        self.folder_bytes = 0
        """Written to it by this run, if it is a folder; a file's size is known from the file."""
        mode = os.fstat(descriptor).st_mode if descriptor >= 0 else 0
        self._is_file = stat.S_ISREG(mode)
        self._is_watched = path is not None and (self._is_file or stat.S_ISDIR(mode))
        # On file systems that make up an inode number at every stat, a name proves nothing.
        self._has_inode = True
        self._has_inode = self.presence != "moved"

    @property
    def presence(self) -> Presence:
        """Whether it is still in its place; takes some microseconds."""
        if not self._is_watched or self.path is None:  # a pipe or a device
            return "there"
        try:
            status = os.fstat(self.descriptor)
        except OSError:  # of a share whose server has removed it
            return "removed"
        if status.st_nlink == 0:
            return "removed"
        try:
            is_named = not self._has_inode or os.path.samestat(status, os.stat(self.path))
        except (FileNotFoundError, NotADirectoryError):
            is_named = False
        return "there" if is_named else "moved"

    @property
    def size_bytes(self) -> int:
        """Its current size, even if others truncated it; 0 for a pipe."""
        return os.fstat(self.descriptor).st_size if self._is_file else 0

    def close(self) -> None:
        """Finish and close it; raises OSError."""
        if self.descriptor >= 0:
            os.close(self.descriptor)


class AtomicLineWriter(Segment):
    """Writes whole lines, unbuffered: no torn line stays, and a writer that hung overwrites nothing."""

    waits_for_reader = False
    """Whether `write` waits for the reader of a pipe."""

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

    def write(self, line: bytes) -> None:
        """Write all of it; after an OSError nothing of it stays, if that can be undone."""
        written_bytes = 0
        try:
            while written_bytes < len(line):
                if self._is_file:
                    piece = line[written_bytes:]
                else:
                    self._wait_for_reader()
                    piece = line[written_bytes : written_bytes + _PIECE_BYTES]
                written_bytes += os.write(self.descriptor, piece)
        except OSError:
            if written_bytes and self._is_file:
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


class CheckpointedFile(Segment):
    """The file below a container. After the first error it ignores all further writes.

    So a container that goes on to write its trailer cannot damage what is complete.
    """

    def __init__(self, file: Path, opening: OpenMode, claim: Claim) -> None:
        """Create the file, or open an empty one.

        Raises:
            SinkError: if another process writes to it.
            OSError: if it cannot be created; FileExistsError if it must be new or empty and is not.
        """
        self.error: OSError | None = None
        """Why the disk took no more."""
        self._header_bytes = self._whole_bytes = 0
        self._is_stopped = False
        descriptor = _open(file, os.O_WRONLY, opening, claim)
        try:
            super().__init__(descriptor, file)
            if opening == "continue" and (claim.is_shared or self.size_bytes):
                raise FileExistsError(f"{file} is another segment")
            if self._is_file:
                os.ftruncate(descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def presence(self) -> Presence:
        """Whether the file is still in its place, and not truncated by others."""
        presence = super().presence
        is_cut = self._is_file and presence != "removed" and self.size_bytes < self._whole_bytes
        return "removed" if is_cut else presence

    def write(self, data: bytes) -> int:
        """Write all of it, or keep the error in `error`."""
        left = memoryview(data)
        while left and not self._is_stopped:
            try:
                left = left[os.write(self.descriptor, left) :]
            except OSError as error:
                self.error = error
                self.stop()
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Like a file's."""
        return os.lseek(self.descriptor, offset, whence)

    def tell(self) -> int:
        """Like a file's."""
        return self.seek(0, os.SEEK_CUR)

    def mark_whole(self) -> None:
        """All that is written so far is readable: the container has just written whole fragments."""
        self._whole_bytes = self.tell()
        self._header_bytes = self._header_bytes or self._whole_bytes

    @property
    def is_stopped(self) -> bool:
        """Whether writes are ignored."""
        return self._is_stopped

    @property
    def whole_bytes(self) -> int:
        """What is readable of it."""
        return self._whole_bytes

    def stop(self) -> None:
        """Ignore further writes."""
        self._is_stopped = True

    def go_back(self, whole_bytes: int) -> None:
        """Give up what follows, and write again from there; `error` stays. Raises OSError."""
        os.ftruncate(self.descriptor, whole_bytes)
        self.seek(whole_bytes)
        self._whole_bytes, self._is_stopped = whole_bytes, False

    def close(self) -> None:
        """Close the file; after an error, truncated to what is whole. A file without a frame is removed.

        Raises:
            OSError: `error`, or if it cannot be truncated.
        """
        if self._is_stopped and self.size_bytes > self._whole_bytes:
            os.ftruncate(self.descriptor, self._whole_bytes)
        is_empty = self._whole_bytes == 0 or (self._is_stopped and self._whole_bytes == self._header_bytes)
        is_there = super().presence == "there"
        super().close()
        if self.path and is_empty and is_there:
            Path(os.path.realpath(self.path)).unlink(missing_ok=True)  # a link to it stays
        if self.error is not None:
            raise self.error


def _open(file: Path, flags: int, opening: OpenMode, claim: Claim) -> int:
    """A locked descriptor; raises as `AtomicLineWriter.at` does."""
    flags |= os.O_CREAT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(file, flags | (os.O_EXCL if opening == "new" else 0), 0o666)
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
