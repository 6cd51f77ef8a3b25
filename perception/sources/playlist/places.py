"""Fetches playlists and their segments, from the web or from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from perception.sources.network.body import PIECE_BYTES, Body, joined
from perception.sources.network.client import Web
from perception.sources.playlist.parts import Fetch, Place
from perception.sources.source import SourceError

_LARGEST_BYTES: Final = 1 << 25


def fetch_by(web: Web, playlist: Body) -> Fetch:
    """Fetches URLs under the rules of `Web`; first of all the playlist, whose answer has already begun."""
    begun = [playlist]

    def fetch(place: Place) -> Iterator[bytes]:
        body = begun.pop() if begun else web.open(place.url, place.first, place.end)
        return body.pieces()

    return fetch


def fetch_file(place: Place) -> Iterator[bytes]:
    """The bytes of a `file:` URL, piece by piece; raises SourceError."""
    parts = urlsplit(place.url)
    if parts.scheme != "file":
        raise SourceError(
            "refers to addresses on the network; give its own address, http(s)://…, as --source"
        )
    left_bytes = place.end - place.first if place.end else 1 << 62
    try:
        with open(url2pathname(parts.path), "rb") as file:
            file.seek(place.first)
            while piece := file.read(min(PIECE_BYTES, left_bytes)):
                left_bytes -= len(piece)
                yield piece
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from None
    except ValueError:  # a null byte
        raise SourceError("refers to a malformed address") from None


def text_of(pieces: Iterable[bytes]) -> str:
    """A playlist; raises SourceError if it is too long, and what `pieces` raises."""
    data = joined(pieces, _LARGEST_BYTES)
    if data is None:
        raise SourceError("its playlist has no end")
    return data.decode("utf-8-sig", errors="replace")
