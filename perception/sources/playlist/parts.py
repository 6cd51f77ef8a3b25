"""What playlists tell, whatever their form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from perception.sources.choice import Offer
from perception.sources.source import SourceError


class Place(NamedTuple):
    """Bytes at an address, or in a file."""

    url: str
    first: int = 0
    end: int = 0
    """Behind the last one; 0 for all there are."""

    @property
    def name(self) -> str:
        """For messages: without folders, and without a query, which may hold a token."""
        return urlsplit(self.url).path.rpartition("/")[2] or "it"


def beside(url: str, name: str) -> str:
    """The address of what a playlist at `url` names; raises SourceError if it is none."""
    try:
        return urljoin(url, name)
    except ValueError:
        raise SourceError("names something that is no address") from None


@dataclass(frozen=True)
class Segment:
    """Some seconds of the video."""

    number: int
    """Counts up through all versions of a playlist."""
    place: Place
    duration_s: float
    init: Place | None = None
    """What a decoder needs before it."""
    is_discontinuous: bool = False
    """Its timestamps or its encoding do not go on from the segment before."""
    is_missing: bool = False
    """The sender says that it has none."""


@dataclass(frozen=True)
class Playlist:
    """The segments of one video."""

    segments: tuple[Segment, ...]
    has_end: bool
    """No more will come: a recording, or the end of what was live."""
    longest_s: float
    """That a segment may last."""


@dataclass(frozen=True)
class Variant:
    """One of several videos of the same."""

    offer: Offer
    key: str
    """Where its playlist lies, or its name in a manifest."""
