"""Fetches playlists and their segments, from the web or from files."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from perception.sources.network.client import Web
from perception.sources.playlist.parts import Fetch, Place, Readable
from perception.sources.source import SourceError

_LARGEST_BYTES: Final = 1 << 25
_READ_BYTES: Final = 1 << 16


def fetch_by(web: Web) -> Fetch:
    """Fetches URLs under the rules of `Web`."""

    def fetch(place: Place) -> Readable:
        options = {"offset": str(place.first), "end_offset": str(place.end)} if place.end else {}
        web.failure = None
        return _Complete(web, web.open(place.url, 0, options))

    return fetch


class _Complete:
    """An answer that raises where it breaks off."""

    def __init__(self, web: Web, body: Readable) -> None:
        self._web, self._body = web, body
        self.close = body.close

    def read(self, size_bytes: int) -> bytes:
        data = self._body.read(size_bytes)
        if not data and self._web.failure is not None:
            raise self._web.failure
        return data


def fetch_file(place: Place) -> Readable:
    """Fetch a `file:` URL; raises SourceError."""
    parts = urlsplit(place.url)
    if parts.scheme != "file":
        raise SourceError("refers to addresses on the net; give its own address, http(s)://…, as --source")
    try:
        return _FilePart(Path(url2pathname(parts.path)), place)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from None


class _FilePart:
    def __init__(self, file: Path, place: Place) -> None:
        self._file = file.open("rb")
        self._file.seek(place.first)
        self._left = place.end - place.first if place.end else 1 << 62
        self.close = self._file.close

    def read(self, size_bytes: int) -> bytes:
        try:
            data = self._file.read(min(size_bytes, self._left))
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}") from None
        self._left -= len(data)
        return data


def read_text(file: Readable) -> str:
    """Read a playlist and close it; raises SourceError if it is too long."""
    data = bytearray()
    try:
        while piece := file.read(_READ_BYTES):
            data += piece
            if len(data) > _LARGEST_BYTES:
                raise SourceError("its playlist has no end")
    finally:
        file.close()
    return data.decode("utf-8-sig", errors="replace")
