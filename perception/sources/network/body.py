"""The body of an HTTP answer as a file for libav: sequential, or seekable where the server gives ranges."""

from __future__ import annotations

import http.client
import os
import re
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Final

from perception.sources.source import SourceError

SKIPPED_BYTES: Final = 1 << 18
"""Seeking forward by at most this reads and discards; any other seek sends a new request."""
KEPT_BYTES: Final = 1 << 30
"""The largest file that `keep` downloads."""
KEPT_IN_MEMORY_BYTES: Final = 1 << 26
PIECE_BYTES: Final = 1 << 16
_ENCODINGS: Final = ("gzip", "x-gzip", "deflate")
_EITHER_HEADER: Final = 32 + zlib.MAX_WBITS  # zlib detects a gzip or zlib header


class Answer:
    """The body of a response; if the server compresses it unasked, it has no known length and no ranges.

    Args:
        response: whose headers have been read.
        connected: its socket.

    Raises:
        SourceError: for an unsupported compression.
    """

    def __init__(self, response: http.client.HTTPResponse, connected: socket.socket) -> None:
        self._response, self._socket = response, connected
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        self._unpacking = zlib.decompressobj(_EITHER_HEADER) if encoding in _ENCODINGS else None
        if self._unpacking is None and encoding not in ("", "identity"):
            response.close()
            raise SourceError(f"the server compresses its answer ({encoding[:20]}), which is not supported")
        length = response.headers.get("Content-Length", "")
        self.size_bytes = int(length) if length.isdecimal() and not self._unpacking else None
        self.is_part = response.status == http.client.PARTIAL_CONTENT and not self._unpacking
        has_type = "Content-Type" in response.headers
        self.content_type = response.headers.get_content_type() if has_type else ""
        self.url = response.url
        self.head = f"{response.status} {response.reason}, {self.content_type or 'without a type'}"

    def begins_at(self, first: int) -> bool:
        """Whether it is the part of the resource that begins with this byte."""
        content_range = self._response.headers.get("Content-Range", "")
        begins = re.match(r"bytes\s+(\d+)-", content_range, re.IGNORECASE)
        return self.is_part and (begins is None or int(begins[1]) == first)

    @property
    def is_over(self) -> bool:
        """Whether all of it has been read."""
        return self._unpacking.eof if self._unpacking else self._response.isclosed()

    def read(self, size_bytes: int, limit_s: float) -> bytes:
        """At most `size_bytes`, as soon as any arrive; empty at the end.

        Raises:
            TimeoutError: if none arrive in time.
            OSError, HTTPException, ValueError, zlib.error: if the connection breaks, or it is malformed.
        """
        self._socket.settimeout(limit_s)
        if self._unpacking is None:
            return self._response.read1(size_bytes)
        packed = self._unpacking.unconsumed_tail
        while not self._unpacking.eof:
            if data := self._unpacking.decompress(packed, size_bytes):
                return data
            packed = self._unpacking.unconsumed_tail or self._response.read1(size_bytes)
            if not packed:
                raise http.client.IncompleteRead(b"")
        return b""

    def close(self) -> None:
        """Disconnect."""
        with suppress(OSError):
            self._response.close()


class Body:
    """A file with the methods that libav uses.

    If the connection ends early, it is reopened at the same byte once. If the server gives no ranges, or
    nothing more comes, the file ends there and `failure` says why.

    Args:
        name: address that is asked for; libav considers its suffix.
        fetch: requests the bytes from a first one up to an end (0: all).
        left_s: how long the next bytes may take; raises TimeoutError.
        first: byte of the resource with which the file begins.
        end: byte of the resource before which it ends; 0 for all.
    """

    def __init__(
        self,
        name: str,
        fetch: Callable[[int, int], Answer],
        left_s: Callable[[], float],
        first: int = 0,
        end: int = 0,
    ) -> None:
        self.name = name
        self._fetch, self._left_s, self._first, self._end = fetch, left_s, first, end
        answer = fetch(first, end)
        self._answer: Answer | None = answer
        self.size_bytes = answer.size_bytes
        """As stated by the server; None if unknown or endless."""
        self.content_type = answer.content_type
        """Lower case, without parameters; empty if absent."""
        self.url = answer.url
        """After all redirects."""
        self.head = answer.head
        """Status and type, for messages."""
        self.failure: SourceError | TimeoutError | None = None
        """Why it ended early: libav may take that for the end."""
        self._can_ask_again = answer.is_part and answer.size_bytes is not None
        self._at = self._answer_at = 0
        self._start: bytes | None = None
        self._kept: tempfile.SpooledTemporaryFile[bytes] | None = None

    @property
    def start(self) -> bytes:
        """The first bytes to arrive, without consuming them; raises TimeoutError."""
        if self._start is None:
            self._start = self._read_from_server(PIECE_BYTES)
            self._at = 0
        return self._start

    def seekable(self) -> bool:
        """Whether the server gives ranges and the size is known, or the file was downloaded by `keep`."""
        return self._kept is not None or self._can_ask_again

    def tell(self) -> int:
        """The position of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of the next byte; nothing is requested before `read`."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size_bytes or 0}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size_bytes: int) -> bytes:
        """At most `size_bytes`, as soon as any arrive; empty at the end. Raises TimeoutError."""
        if self._kept is not None:
            self._kept.seek(self._at)
            data = self._kept.read(size_bytes)
        elif self._start and self._at < len(self._start):
            data = self._start[self._at : self._at + size_bytes]
        else:
            return self._read_from_server(size_bytes)
        self._at += len(data)
        return data

    def pieces(self) -> Iterator[bytes]:
        """All that follows, and then disconnect; raises SourceError or TimeoutError if it ends early."""
        try:
            while data := self.read(PIECE_BYTES):
                yield data
            if self.failure is not None:
                raise self.failure
        finally:
            self.close()

    def keep(self) -> bool:
        """Download all of it into a temporary file, which makes it seekable.

        Returns:
            False if it is too large.

        Raises:
            SourceError: if the connection or the disk fails.
            TimeoutError: if it does not arrive in time; the answer is of no use then.
        """
        if (self.size_bytes or 0) > KEPT_BYTES:
            return False
        with ExitStack() as unless_kept:
            file = unless_kept.enter_context(tempfile.SpooledTemporaryFile(KEPT_IN_MEMORY_BYTES))
            try:
                for data in self.pieces():
                    file.write(data)
                    if self._at > KEPT_BYTES:
                        return False
            except TimeoutError:
                raise
            except OSError as error:
                raise SourceError(f"must be stored on this disk, but cannot be: {error.strerror}") from None
            unless_kept.pop_all()
        self._kept, self.size_bytes, self._at = file, self._at, 0
        return True

    def close(self) -> None:
        """Disconnect and delete the downloaded copy; safe to call twice."""
        if self._kept is not None:
            self._kept.close()
        self._hang_up()

    def _hang_up(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    @property
    def _is_at_end(self) -> bool:
        if self.size_bytes is not None:
            return self._at >= self.size_bytes
        return self._answer is not None and self._answer.is_over and self._at == self._answer_at

    def _read_from_server(self, size_bytes: int) -> bytes:
        refusal = ""
        for _ in range(1 + self._can_ask_again):
            if self._is_at_end:
                return b""
            try:
                data = self._read_on(size_bytes)
                # without a length, the end of the connection is the end of the file
                if data or (self.size_bytes is None and self._answer is not None):
                    return data
            except TimeoutError as error:
                self.failure = error
                raise
            except SourceError as error:
                refusal = f"; asked for the rest, {error}"
            except (OSError, http.client.HTTPException, ValueError, zlib.error):
                pass
            self._hang_up()
        of_all = "" if self.size_bytes is None else f" of {self.size_bytes}"
        self.failure = SourceError(f"the connection was cut after {self._at}{of_all} bytes{refusal}")
        return b""

    def _read_on(self, size_bytes: int) -> bytes:
        """The next bytes; empty at the end of the answer, or disconnected if the server gives none."""
        answer = self._answer_here()
        if answer is None:
            return b""
        left_bytes = size_bytes if self.size_bytes is None else min(size_bytes, self.size_bytes - self._at)
        data = answer.read(left_bytes, self._left_s())
        self._at = self._answer_at = self._at + len(data)
        return data

    def _answer_here(self) -> Answer | None:
        """An answer whose next byte is the one at the current position; None if the server gives none."""
        answer, ahead_bytes = self._answer, self._at - self._answer_at
        if answer is not None and 0 <= ahead_bytes <= SKIPPED_BYTES:
            while self._answer_at < self._at:
                skipped = answer.read(min(PIECE_BYTES, self._at - self._answer_at), self._left_s())
                if not skipped:
                    break
                self._answer_at += len(skipped)
            else:
                return answer
        self._hang_up()
        fetched = self._fetch(self._first + self._at, self._end)
        if not fetched.begins_at(self._first + self._at):
            fetched.close()
            return None
        self._answer, self._answer_at = fetched, self._at
        return fetched


def joined(pieces: Iterable[bytes], most_bytes: int) -> bytes | None:
    """All of it; None if that is more than `most_bytes`."""
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > most_bytes:
            return None
    return bytes(data)
