"""What HLS and DASH have in common: variants, segments, and the bytes they consist of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import av

from perception.sources.choice import Offer
from perception.sources.source import SourceError

# Codec names of RFC 6381 and the libav decoders for them.
_DECODERS: Final = {
    **{"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "av01": "libdav1d", "vp09": "vp9"},
    **{"vp9": "vp9", "vp08": "vp8", "vp8": "vp8", "mp4v": "mpeg4", "vvc1": "vvc", "vvi1": "vvc"},
    **{"dvh1": "hevc", "dvhe": "hevc"},
}
_AUDIO_AND_TEXT: Final = (
    *("mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "vorbis", "mp3", "stpp", "wvtt"),
    *("dtsc", "dtse", "mha1", "mhm1"),
)


class Place(NamedTuple):
    """A byte range of a URL."""

    url: str
    first: int = 0
    end: int = 0
    """After the last byte; 0 for the whole resource."""

    @property
    def name(self) -> str:
        """For messages: the file name without a query, which may hold a token."""
        return urlsplit(self.url).path.rpartition("/")[2] or "it"


Fetch = Callable[[Place], Iterable[bytes]]
"""The bytes of a place, piece by piece; raises SourceError or TimeoutError, also if they break off."""


@dataclass(frozen=True)
class Segment:
    """A few seconds of the video."""

    number: int
    """Rises through all versions of a playlist."""
    place: Place
    duration_s: float
    init: Place | None = None
    """Initialisation data for the decoder."""
    is_discontinuous: bool = False
    """Timestamps or encoding do not continue those of the previous segment."""
    is_missing: bool = False
    """The sender declares it as missing."""


@dataclass(frozen=True)
class Playlist:
    """The segments of one video."""

    segments: tuple[Segment, ...]
    has_end: bool
    """No more segments will come: a recording, or a live stream that ended."""
    longest_s: float
    """Upper limit of a segment's duration."""


@dataclass(frozen=True)
class Variant:
    """One of several encodings of the same video."""

    offer: Offer
    key: str
    """URL of its playlist, or its id in a manifest."""

    @classmethod
    def of(cls, key: str, wh: tuple[int, int], bits_per_s: float, codecs: str, *, is_aside: bool) -> Variant:
        """With the properties that its playlist states; zeros and "" where it states none."""
        what = [f"{wh[0]}x{wh[1]}"] * all(wh) + [f"{bits_per_s / 1e6:.3g} Mbit/s"] * bool(bits_per_s)
        is_decodable = all(_DECODERS.get(name) in av.codecs_available for name in videos_in(codecs))
        offer = Offer(" ".join(what) or "unknown", wh, is_decodable, is_aside=is_aside, rank=bits_per_s)
        return cls(offer, key)


def videos_in(codecs: str) -> list[str]:
    """The video codecs in a list such as `avc1.64001f,mp4a.40.2`, without profiles."""
    names = [codec.strip().split(".")[0].lower() for codec in codecs.split(",")]
    return [name for name in names if name and name not in _AUDIO_AND_TEXT]


def beside(url: str, name: str) -> str:
    """Resolve a reference in a playlist at `url`; raises SourceError if it is malformed."""
    try:
        return urljoin(url, name)
    except ValueError:
        raise SourceError("refers to a malformed address") from None
