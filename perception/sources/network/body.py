"""The body of an HTTP answer as a file for libav: sequential, or seekable where the server gives ranges."""

from __future__ import annotations

import http.client
import os
import re
import socket
import tempfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from email.message import Message
from typing import Final

from perception.sources.source import SourceError

SKIPPED_BYTES: Final = 1 << 18
"""Seeking forward by at most this reads and discards; any other seek sends a new request."""
KEPT_BYTES: Final = 1 << 30
"""The largest file that `keep` downloads."""
KEPT_IN_MEMORY_BYTES: Final = 1 << 26
_READ_BYTES: Final = 1 << 16
_ENCODINGS: Final = ("gzip", "x-gzip", "deflate")
_EITHER_HEADER: Final = 32 + zlib.MAX_WBITS  # zlib detects a gzip or zlib header


class Unpacked:
    """The decompressed body of a response, which has no known length and no ranges.

    Args:
        response: whose headers have been read.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self._stream = zlib.decompressobj(_EITHER_HEADER)
        self.status, self.reason, self.url = http.client.OK, response.reason, response.url
        self.headers = Message()
        for name, value in response.headers.items():
            if name.lower() not in ("content-length", "content-range"):
                self.headers[name] = value

    def read1(self, size_bytes: int) -> bytes:
        """At most `size_bytes`; empty at the end.

        Raises:
            HTTPException: if it ends early or is not in the stated encoding.
        """
        packed = self._stream.unconsumed_tail
        while not self._stream.eof:
            try:
                data = self._stream.decompress(packed, size_bytes)
            except zlib.error:
                raise http.client.HTTPException from None
            if data:
                return data
            packed = self._stream.unconsumed_tail or self._response.read1(size_bytes)
            if not packed:
                raise http.client.IncompleteRead(b"")
        return b""

    def isclosed(self) -> bool:
        """Whether all of it has been read."""
        return self._stream.eof

    def close(self) -> None:
        """Disconnect."""
        self._response.close()


def unpacked(response: http.client.HTTPResponse) -> http.client.HTTPResponse | Unpacked:
    """The response, decompressed if necessary; raises SourceError for an unsupported encoding."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return response
    if encoding in _ENCODINGS:
        return Unpacked(response)
    response.close()
    raise SourceError(f"the server compresses its answer ({encoding[:20]}), which is not supported")


@dataclass(frozen=True)
class Answer:
    """A response whose headers have been read."""

    response: http.client.HTTPResponse | Unpacked
    socket: socket.socket


class Body:
    """A file with the methods that libav uses.

    If the connection ends early, it is reopened at the same byte once. If the server gives no ranges, or
    nothing more comes, the file ends there and `failed` is called.

    Args:
        fetch: requests the bytes from a first one up to an end (0: all).
        left_s: how long the next bytes may take; raises TimeoutError.
        failed: receives the problem.
        first: byte of the resource with which the file begins.
        end: byte of the resource before which it ends; 0 for all.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], Answer],
        left_s: Callable[[], float],
        failed: Callable[[str | TimeoutError], None],
        first: int = 0,
        end: int = 0,
    ) -> None:
        self._fetch, self._left_s, self._failed = fetch, left_s, failed
        self._first, self._end = first, end
        self._answer: Answer | None = fetch(first, end)
        response = self._answer.response
        self._is_seekable = response.status == http.client.PARTIAL_CONTENT
        length = response.headers.get("Content-Length", "")
        self._size = int(length) if length.isdecimal() else None
        self.content_type = response.headers.get_content_type() if "Content-Type" in response.headers else ""
        """Lower case, without parameters; empty if absent."""
        self.url = response.url
        """After all redirects."""
        self.head = f"{response.status} {response.reason}, {self.content_type or 'without a type'}"
        """Status and type, for messages."""
        self._at = self._answer_at = 0
        self._start: bytes | None = None
        self._is_retried = self._is_cut_off = False
        self._refusal = ""
        self._kept: tempfile.SpooledTemporaryFile[bytes] | None = None

    @property
    def size_bytes(self) -> int | None:
        """As stated by the server; None if unknown or endless."""
        return self._size

    @property
    def start(self) -> bytes:
        """The first bytes to arrive, without consuming them; raises TimeoutError."""
        if self._start is None:
            self._start = self._read_from_server(_READ_BYTES)
            self._at = 0
        return self._start

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Whether the server gives ranges and the size is known, or the file was downloaded by `keep`."""
        return self._kept is not None or self._can_ask_again

    def tell(self) -> int:
        """The position of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of the next byte; nothing is requested before `read`."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size or 0}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size_bytes: int) -> bytes:
        """At most `size_bytes`, as soon as any arrive; empty at the end. Raises TimeoutError."""
        if self._kept is not None:
            self._kept.seek(self._at)
            data = self._kept.read(size_bytes)
            self._at += len(data)
            return data
        if self._start and self._at < len(self._start):
            data = self._start[self._at : self._at + size_bytes]
            self._at += len(data)
            return data
        return self._read_from_server(size_bytes)

    def keep(self) -> bool:
        """Download all of it into a temporary file, which makes it seekable.

        Returns:
            False if it is too large.

        Raises:
            SourceError: if the connection or the disk fails.
            TimeoutError: if it does not arrive in time; the answer is of no use then.
        """
        if (self._size or 0) > KEPT_BYTES:
            return False
        with ExitStack() as unless_kept:
            file = unless_kept.enter_context(tempfile.SpooledTemporaryFile(KEPT_IN_MEMORY_BYTES))
            try:
                while data := self.read(_READ_BYTES):
                    file.write(data)
                    if self._at > KEPT_BYTES:
                        return False
            except TimeoutError:
                raise
            except OSError as error:
                raise SourceError(f"must be stored on this disk, but cannot be: {error.strerror}") from None
            if self._is_cut_off or self._at < (self._size or 0):
                raise SourceError(f"the connection was cut after {self._at}{self._of_all} bytes")
            unless_kept.pop_all()
        self._kept, self._size, self._at = file, self._at, 0
        return True

    def _read_from_server(self, size_bytes: int) -> bytes:
        while self._size is None or self._at < self._size:
            if self._size is None and self._at_end_of(self._answer):
                return b""
            try:
                data = self._read_on(size_bytes)
            except TimeoutError as error:
                self._failed(error)
                raise
            if data:
                self._is_retried, self._refusal = False, ""
                return data
            if self._size is None and self._answer is not None:
                return b""  # without a length, the end of the connection is the end of the file
            self._hang_up()
            if self._is_retried or not self._can_ask_again:
                self._is_cut_off = True
                self._failed(f"the connection was cut after {self._at}{self._of_all} bytes{self._refusal}")
                return b""
            self._is_retried = True
        return b""

    def close(self) -> None:
        """Disconnect and delete the downloaded copy; safe to call twice."""
        if self._kept is not None:
            self._kept.close()
        self._hang_up()

    @property
    def _can_ask_again(self) -> bool:
        return self._is_seekable and self._size is not None

    @property
    def _of_all(self) -> str:
        return "" if self._size is None else f" of {self._size}"

    def _hang_up(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            with suppress(OSError):
                answer.response.close()

    def _at_end_of(self, answer: Answer | None) -> bool:
        """Whether an answer of unknown length has been read to its end, where `http.client` closes it."""
        return answer is not None and answer.response.isclosed() and self._at == self._answer_at

    def _read_on(self, size_bytes: int) -> bytes:
        """The next bytes; empty at the end of the answer, or disconnected where the connection broke."""
        try:
            answer = self._answer_here()
            if answer is None:
                return b""
            left_bytes = size_bytes if self._size is None else min(size_bytes, self._size - self._at)
            answer.socket.settimeout(self._left_s())
            data = answer.response.read1(left_bytes)
        except TimeoutError:
            raise
        except SourceError as error:
            self._refusal = f"; asked for the rest, {error}"
            self._hang_up()
            return b""
        except (OSError, http.client.HTTPException, ValueError):  # ValueError: a malformed chunk length
            self._hang_up()
            return b""
        self._at += len(data)
        self._answer_at = self._at
        return data

    def _answer_here(self) -> Answer | None:
        """An answer whose next byte is the one at the current position; None if the server gives none."""
        answer, ahead_bytes = self._answer, self._at - self._answer_at
        if answer is not None and 0 <= ahead_bytes <= SKIPPED_BYTES:
            while self._answer_at < self._at:
                answer.socket.settimeout(self._left_s())
                skipped = len(answer.response.read1(min(_READ_BYTES, self._at - self._answer_at)))
                if not skipped:
                    break
                self._answer_at += skipped
            else:
                return answer
        self._hang_up()
        fetched = self._fetch(self._first + self._at, self._end)
        content_range = fetched.response.headers.get("Content-Range", "")
        begins = re.match(r"bytes\s+(\d+)-", content_range, re.IGNORECASE)
        is_other = begins is not None and int(begins[1]) != self._first + self._at
        if fetched.response.status != http.client.PARTIAL_CONTENT or is_other:
            fetched.response.close()
            return None
        self._answer, self._answer_at = fetched, self._at
        return fetched
