"""The file below a video: what is whole in it stays readable, whatever the disk does."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from perception.sinks.claim import Claim
from perception.sinks.presence import Presence, Watched
from perception.sinks.rotation import OpenMode


class CheckpointedFile:
    """The file that the container writes to. After a first error it swallows all that follows.

    So a container that goes on to write its end cannot spoil what is whole.
    """

    def __init__(self, file: Path, opening: OpenMode, claim: Claim) -> None:
        """Make the file; nothing is written behind what is there, unless that is nothing at all.

        Raises:
            SinkError: if another writes to it.
            OSError: if it cannot be made, and FileExistsError where it must be new or empty and is not.
        """
        self._file = file
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(file, flags | (os.O_EXCL if opening == "new" else 0), 0o666)
        try:
            claim.lock(descriptor, file)
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if opening == "continue" and (claim.is_shared or os.fstat(descriptor).st_size):
                raise FileExistsError(f"{file} is another segment")
            if is_regular:
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
        """Whether the file is still in its place, with all that was written to it."""
        presence = self._watched.presence()
        is_cut = presence != "removed" and os.fstat(self.descriptor).st_size < self._whole_bytes
        return "removed" if is_cut else presence

    def write(self, data: bytes) -> int:
        """Write all of it, or keep the error for the sink to raise."""
        left = memoryview(data)
        while left and not self._is_stopped:
            try:
                left = left[self._raw.write(left) :]
            except OSError as error:
                self.error = error
                self.stop()
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """As of a file."""
        return self._raw.tell()

    def mark_whole(self) -> None:
        """All that is written so far can be read: the container has just handed over whole fragments."""
        self._whole_bytes = self._raw.tell()
        self._header_bytes = self._header_bytes or self._whole_bytes

    def stop(self) -> None:
        """Write no more."""
        self._is_stopped = True

    def finish(self) -> None:
        """Close the file; after an error, without what is not whole. A file without a frame is removed."""
        if self._is_stopped and os.fstat(self.descriptor).st_size > self._whole_bytes:
            self._raw.truncate(self._whole_bytes)
        is_empty = self._whole_bytes == 0 or (self._is_stopped and self._whole_bytes == self._header_bytes)
        is_there = self._watched.presence() == "there"
        self._raw.close()
        if is_empty and is_there:
            Path(os.path.realpath(self._file)).unlink(missing_ok=True)  # a link to it stays
