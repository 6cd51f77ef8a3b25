"""Where a playlist and what it names are fetched from: the web, or files."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from perception.sources.network.client import Web
from perception.sources.playlist.parts import Place
from perception.sources.playlist.segments import Readable
from perception.sources.source import SourceError

_LARGEST_BYTES: Final = 1 << 25
_READ_BYTES: Final = 1 << 16


class WebPlaces:
    """Fetches from addresses, as `Web` allows."""

    def __init__(self, web: Web) -> None:
        self._web = web

    def fetch(self, place: Place) -> Readable:
        """Open the bytes of a place; raises SourceError or TimeoutError."""
        options = {"offset": str(place.first), "end_offset": str(place.end)} if place.end else {}
        self._web.failure = None
        return _Whole(self._web, self._web.open(place.url, 0, options))


class _Whole:
    """An answer that raises where it breaks off."""

    def __init__(self, web: Web, body: Readable) -> None:
        self._web, self._body = web, body

    def read(self, size_bytes: int) -> bytes:
        data = self._body.read(size_bytes)
        if not data and self._web.failure is not None:
            raise self._web.failure
        return data

    def close(self) -> None:
        self._body.close()


class FilePlaces:
    """Fetches from files."""

    def fetch(self, place: Place) -> Readable:
        """Open the bytes of a place; raises SourceError."""
        parts = urlsplit(place.url)
        if parts.scheme != "file":
            raise SourceError("names addresses on the net; give its own address, http(s)://…, as --source")
        file = Path(url2pathname(parts.path))
        try:
            return _FilePart(file, place)
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}") from None


class _FilePart:
    def __init__(self, file: Path, place: Place) -> None:
        self._file = file.open("rb")
        self._file.seek(place.first)
        self._left = place.end - place.first if place.end else 1 << 62

    def read(self, size_bytes: int) -> bytes:
        try:
            data = self._file.read(min(size_bytes, self._left))
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}") from None
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


def read_text(file: Readable) -> str:
    """All of it; raises SourceError if it is too long for a playlist, or is no text."""
    data = bytearray()
    try:
        while piece := file.read(_READ_BYTES):
            data += piece
            if len(data) > _LARGEST_BYTES:
                raise SourceError("its playlist has no end")
    finally:
        file.close()
    return data.decode("utf-8-sig", errors="replace")
