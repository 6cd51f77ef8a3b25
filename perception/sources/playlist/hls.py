"""HLS playlists (RFC 8216)."""

from __future__ import annotations

import re
from typing import Final

from perception.sources.playlist.parts import (
    Place,
    Playlist,
    Segment,
    Variant,
    beside,
    videos_in,
)
from perception.sources.source import SourceError

MARK: Final = "#EXTM3U"
_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')


def variants_of(text: str, url: str) -> list[Variant]:
    """The videos that a master playlist lists, each URL once; empty for a media playlist."""
    variants: dict[str, Variant] = {}
    attributes: dict[str, str] | None = None
    for line in _lines(text):
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-STREAM-INF":
            attributes = _attributes(value)
        elif not line.startswith("#") and attributes is not None:
            key, variant = beside(url, line), attributes
            attributes = None
            codecs, size = variant.get("CODECS", ""), variant.get("RESOLUTION", "")
            sides = re.fullmatch(r"(\d+)[xX](\d+)", size)
            if codecs and not videos_in(codecs) and sides is None:
                continue  # audio only
            wh = (int(sides[1]), int(sides[2])) if sides else (0, 0)
            bits = re.fullmatch(r"\d+", variant.get("BANDWIDTH", ""))
            is_hdr = variant.get("VIDEO-RANGE", "SDR") != "SDR"
            bits_per_s = float(bits[0]) if bits else 0.0
            variants.setdefault(key, Variant.of(key, wh, bits_per_s, codecs, is_aside=is_hdr))
    return list(variants.values())


def has_variants(text: str) -> bool:
    """Whether it is a master playlist."""
    return any(line.startswith("#EXT-X-STREAM-INF:") for line in _lines(text))


def playlist_of(text: str, url: str) -> Playlist:
    """Parse a media playlist; raises SourceError if it is malformed."""
    if "#EXT-X-" not in text:
        raise SourceError("is a list of videos (M3U), not an HLS playlist; give one of its entries")
    number, longest_s, duration_s = 0, 0.0, 0.0
    has_end = is_discontinuous = is_missing = False
    init: Place | None = None
    byte_range: str | None = None
    ends: dict[str, int] = {}
    segments = []
    for line in _lines(text):
        tag, _, value = line.partition(":")
        match tag:
            case "#EXT-X-TARGETDURATION":
                longest_s = _number(value)
            case "#EXT-X-MEDIA-SEQUENCE":
                number = int(_number(value))
            case "#EXT-X-ENDLIST":
                has_end = True
            case "#EXT-X-PLAYLIST-TYPE":
                has_end |= value.strip() == "VOD"
            case "#EXT-X-DISCONTINUITY":
                is_discontinuous = True
            case "#EXT-X-GAP":
                is_missing = True
            case "#EXT-X-BYTERANGE":
                byte_range = value
            case "#EXT-X-KEY":
                if _attributes(value).get("METHOD", "NONE") != "NONE":
                    raise SourceError("its segments are encrypted (#EXT-X-KEY), which is not supported")
            case "#EXT-X-MAP":
                attributes = _attributes(value)
                init = _place(beside(url, attributes.get("URI", "")), attributes.get("BYTERANGE"), {})
            case "#EXTINF":
                duration_s = _number(value.split(",")[0])
            case _ if not line.startswith("#"):
                place = _place(beside(url, line), byte_range, ends)
                segments.append(Segment(number, place, duration_s, init, is_discontinuous, is_missing))
                number, byte_range, is_discontinuous, is_missing = number + 1, None, False, False
    longest_s = longest_s or max((segment.duration_s for segment in segments), default=0.0)
    return Playlist(tuple(segments), has_end, longest_s)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


def _place(url: str, byte_range: str | None, ends: dict[str, int]) -> Place:
    """A byte range `count@first`, or `count` after the previous range of the same URL."""
    if byte_range is None:
        return Place(url)
    count, _, first = byte_range.strip().partition("@")
    begins = int(_number(first)) if first else ends.get(url, 0)
    ends[url] = begins + int(_number(count))
    return Place(url, begins, ends[url])


def _number(text: str) -> float:
    try:
        number = float(text.strip())
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e15:
        raise SourceError(f"its playlist is malformed: {text.strip()[:40]!r} instead of a number")
    return number
