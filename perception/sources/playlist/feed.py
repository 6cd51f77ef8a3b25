"""Segments as a file for libav; a live stream is read ahead."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from perception.sources.playlist.segments import NEW_PART, Segments

AHEAD_BYTES: Final = 1 << 26
"""Buffer of a live stream: 8 s at 60 Mbit/s."""


class Ahead:
    """Reads an iterator ahead in a thread of its own.

    Args:
        pieces: of bytes.
        limit_s: longest wait for the next piece; may be set at any time.
    """

    def __init__(self, pieces: Iterator[bytes], limit_s: float) -> None:
        self._pieces, self.limit_s = pieces, limit_s
        self._ready: deque[bytes] = deque()
        self._ready_bytes = 0
        self._has_ended = self._is_closed = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="segments", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """The next piece; raises TimeoutError."""
        until_s = time.monotonic() + self.limit_s
        with self._changed:
            while not self._ready:
                if self._error is not None:
                    raise self._error
                if self._has_ended or self._is_closed:
                    raise StopIteration
                if not self._changed.wait(until_s - time.monotonic()) and time.monotonic() >= until_s:
                    raise TimeoutError
            piece = self._ready.popleft()
            self._ready_bytes -= len(piece)
            self._changed.notify_all()
            return piece

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            for piece in self._pieces:
                with self._changed:
                    while self._ready_bytes > AHEAD_BYTES and not self._is_closed:
                        self._changed.wait()
                    if self._is_closed:
                        return
                    self._ready.append(piece)
                    self._ready_bytes += len(piece)
                    self._changed.notify_all()
        except Exception as error:  # raised again in the reader's thread
            self._error = error
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()


class Feed:
    """A file that ends at each discontinuity and continues after `next_part`.

    Args:
        segments: the content.
        limit_s: longest wait for the next bytes of a live stream.
    """

    def __init__(self, segments: Segments, limit_s: float) -> None:
        self._segments = segments
        self._ahead = Ahead(segments.pieces(), limit_s) if segments.is_live else None
        self._pieces = self._ahead or segments.pieces()
        self._data = memoryview(b"")
        self._is_at_end = False
        self.has_part = True
        """Whether `next_part` has something to read."""

    def next_part(self) -> None:
        """Continue after the end of a part."""
        self._is_at_end = False

    def wait_up_to(self, limit_s: float) -> None:
        """Change the longest wait for the next bytes of a live stream."""
        if self._ahead is not None:
            self._ahead.limit_s = limit_s

    def readable(self) -> bool:
        """Always true."""
        return True

    def read(self, size_bytes: int) -> bytes:
        """At most `size_bytes`; empty at the end of a part. Raises TimeoutError."""
        while not self._data and not self._is_at_end:
            piece = next(self._pieces, None)
            if piece is None or piece == NEW_PART:
                self._is_at_end, self.has_part = True, piece is not None
            else:
                self._data = memoryview(piece)
        data, self._data = self._data[:size_bytes], self._data[size_bytes:]
        return bytes(data)

    def close(self) -> None:
        """Stop reading; safe to call twice, as libav does."""
        self._segments.stop()
        if self._ahead is not None:
            self._ahead.close()
