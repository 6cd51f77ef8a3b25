"""Chooses a variant of a playlist and loads its segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perception.sources.choice import Choice, choice_note
from perception.sources.playlist import dash, hls
from perception.sources.playlist.parts import Fetch, Place, Playlist
from perception.sources.playlist.places import text_of
from perception.sources.source import SourceError

HEAD_BYTES: Final = 4096
"""Enough to recognise a playlist."""


def is_playlist(start: bytes) -> bool:
    """Whether a file with these first bytes is an HLS playlist or a DASH manifest."""
    text = start[:HEAD_BYTES].decode("utf-8-sig", errors="replace").lstrip()
    return text.startswith(hls.MARK) or (text.startswith("<") and dash.is_manifest(text))


class PlaylistVideo:
    """The chosen video of a playlist or manifest; nothing is fetched of the others.

    Args:
        url: of the playlist, against which its references are resolved.
        fetch: gets the playlist and its references.
        choice: of its variants.

    Raises:
        SourceError: if it cannot be read, is malformed or has no such video.
        TimeoutError: if it or the chosen variant does not arrive in time.
    """

    def __init__(self, url: str, fetch: Fetch, choice: Choice) -> None:
        self._fetch, self._place = fetch, Place(url)
        text = text_of(fetch(self._place))
        is_dash = dash.is_manifest(text)
        self.form = "DASH" if is_dash else "HLS"
        self.note = ""
        """On the choice, for the log; empty if there was none."""
        self.has_variants = is_dash or hls.has_variants(text)
        self._parse: Callable[[str], Playlist] = lambda text: hls.playlist_of(text, self._place.url)
        if self.has_variants:
            variants = dash.variants_of(text) if is_dash else hls.variants_of(text, url)
            if not variants:
                raise SourceError("has no video stream")
            offers = [variant.offer for variant in variants]
            chosen = choice.among(offers)
            self.note = choice_note(offers, chosen, "variant")
            if is_dash:
                self._parse = dash.Manifest(url, chosen, variants[chosen].key).playlist
            else:
                self._place = Place(variants[chosen].key)
                try:
                    text = text_of(fetch(self._place))
                except SourceError as error:
                    raise SourceError(f"its variant {self._place.name}: {error}") from None
        self.playlist = self._parse(text)
        """Its first version."""
        if not self.playlist.segments and self.playlist.has_end:
            raise SourceError("lists no segments")

    def load(self) -> Playlist:
        """Its current version; raises SourceError or TimeoutError."""
        return self._parse(text_of(self._fetch(self._place)))
