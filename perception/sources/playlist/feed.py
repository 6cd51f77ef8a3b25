"""Segments as a file for libav, read ahead where they are live."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from perception.sources.playlist.segments import NEW_PART, Segments

AHEAD_BYTES: Final = 1 << 26
"""Of a live stream, that may lie ready: 8 s at 60 Mbit/s."""


class Ahead:
    """What an iterator gives, fetched by a thread of its own: when it is wanted it is there.

    Args:
        pieces: of bytes.
        limit_s: how long one may be waited for; may be set at any time.
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
        """Let the thread end."""
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
        except Exception as error:  # whoever waits is to know
            self._error = error
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()


class Feed:
    """A file of all segments up to one that does not go on from the last: there it ends, and begins again.

    Args:
        segments: whose bytes it gives.
        limit_s: how long those of a live stream may be waited for.
    """

    def __init__(self, segments: Segments, limit_s: float) -> None:
        self._segments = segments
        self._ahead = Ahead(segments.pieces(), limit_s) if segments.is_live else None
        self._pieces = self._ahead or segments.pieces()
        self._data = memoryview(b"")
        self._is_at_end = False
        self.has_part = True
        """Whether there is more, once `next_part` was called."""

    def next_part(self) -> None:
        """Begin again behind the end that `read` came to."""
        self._is_at_end = False

    def wait_up_to(self, limit_s: float) -> None:
        """Set how long bytes of a live stream may be waited for from now on."""
        if self._ahead is not None:
            self._ahead.limit_s = limit_s

    def readable(self) -> bool:
        """It always is."""
        return True

    def read(self, size_bytes: int) -> bytes:
        """At most so many bytes, nothing at the end of a part; raises TimeoutError."""
        while not self._data and not self._is_at_end:
            piece = next(self._pieces, None)
            if piece is None or piece == NEW_PART:
                self._is_at_end, self.has_part = True, piece is not None
            else:
                self._data = memoryview(piece)
        data, self._data = self._data[:size_bytes], self._data[size_bytes:]
        return bytes(data)

    def close(self) -> None:
        """Ask for no more; safe to call twice, and by libav too."""
        self._segments.stop()
        if self._ahead is not None:
            self._ahead.close()
