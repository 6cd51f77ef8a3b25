"""The file below a video: what is whole in it stays readable, whatever the disk does."""

from __future__ import annotations

import io
import os
from pathlib import Path


class Disk:
    """The file that the container writes to. After a first error it swallows all that follows.

    So a container that goes on to write its end cannot spoil what is whole.
    """

    def __init__(self, file: Path, *, is_new: bool) -> None:
        """Make the file; raises OSError, and FileExistsError where it must be new and is not."""
        self._file = file
        self._raw = io.FileIO(file, "x" if is_new else "w")
        self._header_bytes = 0
        self._whole_bytes = 0
        self._is_stopped = False
        self.error: OSError | None = None

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
        if self._is_stopped:
            self._raw.truncate(self._whole_bytes)
        is_empty = self._whole_bytes == 0 or (self._is_stopped and self._whole_bytes == self._header_bytes)
        self._raw.close()
        if is_empty:
            self._file.unlink(missing_ok=True)
