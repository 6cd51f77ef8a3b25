"""The video that a playlist names: which of its variants, and where its segments lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perception.sources.choice import Choice, choice_told
from perception.sources.playlist import dash, hls
from perception.sources.playlist.parts import Place, Playlist
from perception.sources.playlist.places import read_text
from perception.sources.playlist.segments import Readable
from perception.sources.source import SourceError

Fetch = Callable[[Place], Readable]
HEAD_BYTES: Final = 4096
"""By which a playlist is known."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def is_playlist(start: bytes) -> bool:
    """Whether what begins so is a playlist, or a manifest of DASH."""
    text = start.removeprefix(_BYTE_ORDER_MARK).lstrip()
    return text.startswith(hls.MARK.encode()) or (text.startswith(b"<") and dash.is_manifest(_head(text)))


def _head(data: bytes) -> str:
    return data[:HEAD_BYTES].decode(errors="replace")


class PlaylistVideo:
    """The chosen one of the videos in a playlist or manifest; nothing is fetched of the others.

    Args:
        url: of the playlist: what it names lies beside that.
        text: of the playlist.
        fetch: opens what it names.
        choice: of its variants.

    Raises:
        SourceError: if it cannot be read, or has no such video.
        TimeoutError: if the chosen variant does not come.
    """

    def __init__(self, url: str, text: str, fetch: Fetch, choice: Choice) -> None:
        self._fetch, self._url = fetch, url
        is_dash = dash.is_manifest(text)
        self.form = "DASH" if is_dash else "HLS"
        self.told = ""
        """Of the choice, for the log; empty where there was none."""
        self.has_variants = is_dash or hls.has_variants(text)
        self._read: Callable[[str], Playlist] = self._read_hls
        if self.has_variants:
            variants = dash.variants_of(text) if is_dash else hls.variants_of(text, url)
            if not variants:
                raise SourceError("has no video stream")
            offers = [variant.offer for variant in variants]
            chosen = choice.among(offers)
            self.told = choice_told(offers, chosen, "variant")
            if is_dash:
                self._read = dash.Manifest(url, chosen, variants[chosen].key).playlist
            else:
                self._url = variants[chosen].key
                text = self._variant(Place(self._url))
        self.playlist = self._read(text)
        """As it was found."""
        if not self.playlist.segments and self.playlist.has_end:
            raise SourceError("names no segments")

    def load(self) -> Playlist:
        """The playlist as it is now; raises SourceError or TimeoutError."""
        return self._read(read_text(self._fetch(Place(self._url))))

    def _variant(self, place: Place) -> str:
        try:
            return read_text(self._fetch(place))
        except SourceError as error:
            raise SourceError(f"its variant {place.name}: {error}") from None

    def _read_hls(self, text: str) -> Playlist:
        return hls.playlist_of(text, self._url)
