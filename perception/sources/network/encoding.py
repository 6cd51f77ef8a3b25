"""Answers that a web server packs (`Content-Encoding`), though it was asked not to."""

from __future__ import annotations

import http.client
import zlib
from email.message import Message
from typing import Final

from perception.sources.source import SourceError

_UNPACKED_HERE: Final = ("gzip", "x-gzip", "deflate")
_EITHER_HEADER: Final = 32 + zlib.MAX_WBITS  # of gzip or of zlib, as the first bytes say


class Unpacked:
    """What of an answer's methods is used, of one that is packed: its length is not known, nor has it parts.

    Args:
        response: whose head has been read.
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
        """At most so many bytes; nothing at the end.

        Raises:
            HTTPException: if it ends early, or is not packed as it says.
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
        """Whether all of it was read."""
        return self._stream.eof

    def close(self) -> None:
        """Hang up."""
        self._response.close()


def unpacked(response: http.client.HTTPResponse) -> http.client.HTTPResponse | Unpacked:
    """The answer, unpacked where it is packed; raises SourceError if it is in a way that is not known."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return response
    if encoding in _UNPACKED_HERE:
        return Unpacked(response)
    response.close()
    raise SourceError(f"the server packs its answer ({encoding[:20]}), which is not read")
