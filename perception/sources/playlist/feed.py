"""Segments as a file for libav; a live stream is read ahead."""

from __future__ import annotations

import threading
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
        self._end: Exception | None = None  # StopIteration, or what the iterator raised
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="segments", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """The next piece; raises TimeoutError."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._end, self.limit_s)
            if not self._ready:
                raise self._end or TimeoutError
            piece = self._ready.popleft()
            self._ready_bytes -= len(piece)
            self._changed.notify_all()
            return piece

    def close(self) -> None:
        """End the thread."""
        self._finish(StopIteration())

    def _run(self) -> None:
        try:
            for piece in self._pieces:
                with self._changed:
                    self._changed.wait_for(lambda: self._ready_bytes <= AHEAD_BYTES or self._end)
                    if self._end:
                        return
                    self._ready.append(piece)
                    self._ready_bytes += len(piece)
                    self._changed.notify_all()
        except Exception as error:  # raised again in the reader's thread
            self._finish(error)
        else:
            self._finish(StopIteration())

    def _finish(self, end: Exception) -> None:
        with self._changed:
            self._end = self._end or end
            self._changed.notify_all()


class Feed:
    """A file that ends at each discontinuity and continues after `next_part`.

    Args:
        segments: the content.
        limit_s: longest wait for the next bytes of a live stream.
    """

    def __init__(self, segments: Segments, limit_s: float) -> None:
        self._segments = segments
        self._pieces = Ahead(segments.pieces(), limit_s) if segments.is_live else segments.pieces()
        self._data = memoryview(b"")
        self._is_at_end = False
        self.has_part = True
        """Whether `next_part` has something to read."""

    def next_part(self) -> None:
        """Continue after the end of a part."""
        self._is_at_end = False

    def wait_up_to(self, limit_s: float) -> None:
        """Change the longest wait for the next bytes of a live stream."""
        if isinstance(self._pieces, Ahead):
            self._pieces.limit_s = limit_s

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
        self._pieces.close()
