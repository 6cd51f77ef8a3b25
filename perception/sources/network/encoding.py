"""`Content-Encoding` of web servers that compress although they were not asked to."""

from __future__ import annotations

import http.client
import zlib
from email.message import Message
from typing import Final

from perception.sources.source import SourceError

_SUPPORTED: Final = ("gzip", "x-gzip", "deflate")
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
    if encoding in _SUPPORTED:
        return Unpacked(response)
    response.close()
    raise SourceError(f"the server compresses its answer ({encoding[:20]}), which is not supported")
