"""The video that a playlist names: which of its variants, and where its segments lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perception.sources.choice import Choice, choice_told
from perception.sources.playlist import hls
from perception.sources.playlist.parts import Place, Playlist
from perception.sources.playlist.places import read_text
from perception.sources.playlist.segments import Readable
from perception.sources.source import SourceError

Fetch = Callable[[Place], Readable]
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def is_playlist(start: bytes) -> bool:
    """Whether what begins so is a playlist."""
    return start.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(hls.MARK.encode())


class PlaylistVideo:
    """The chosen one of the videos in a playlist; nothing is fetched of the others.

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
        self.told = ""
        """Of the choice, for the log; empty where there was none."""
        self.has_variants = hls.has_variants(text)
        if self.has_variants:
            variants = hls.variants_of(text, url)
            if not variants:
                raise SourceError("has no video stream")
            chosen = choice.among([variant.offer for variant in variants])
            self.told = choice_told([variant.offer for variant in variants], chosen, "variant")
            self._url = variants[chosen].key
            text = read_text(fetch(Place(self._url)))
        self.playlist = hls.playlist_of(text, self._url)
        """As it was found."""
        if not self.playlist.segments and self.playlist.has_end:
            raise SourceError("names no segments")

    def load(self) -> Playlist:
        """The playlist as it is now; raises SourceError or TimeoutError."""
        return hls.playlist_of(read_text(self._fetch(Place(self._url))), self._url)
