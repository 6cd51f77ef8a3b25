"""HLS playlists (RFC 8216): of variants, and of segments."""

from __future__ import annotations

import re
from typing import Final

from perception.sources.choice import Offer
from perception.sources.playlist.codecs import are_decodable, videos_among
from perception.sources.playlist.parts import Place, Playlist, Segment, Variant, beside
from perception.sources.source import SourceError

MARK: Final = "#EXTM3U"
_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')


def variants_of(text: str, url: str) -> list[Variant]:
    """The videos that a playlist names, each address once; none where it is itself one video's."""
    variants: dict[str, Variant] = {}
    told: dict[str, str] | None = None
    for line in _lines(text):
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-STREAM-INF":
            told = _attributes(value)
        elif not line.startswith("#") and told is not None:
            key, offer = beside(url, line), _offer(told)
            if offer is not None:
                variants.setdefault(key, Variant(offer, key))
            told = None
    return list(variants.values())


def has_variants(text: str) -> bool:
    """Whether it names other playlists, and no segments."""
    return any(line.startswith("#EXT-X-STREAM-INF:") for line in _lines(text))


def playlist_of(text: str, url: str) -> Playlist:
    """The segments that a playlist names; raises SourceError if it cannot be read."""
    if "#EXT-X-" not in text:
        raise SourceError("is a list of videos (M3U) and no HLS playlist; give one of what it names")
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
                    raise SourceError("its segments are encrypted (#EXT-X-KEY), which is not read")
            case "#EXT-X-MAP":
                told = _attributes(value)
                init = _place(beside(url, told.get("URI", "")), told.get("BYTERANGE"), {})
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


def _offer(told: dict[str, str]) -> Offer | None:
    """None of what is no video."""
    codecs = told.get("CODECS", "")
    size = re.fullmatch(r"(\d+)[xX](\d+)", told.get("RESOLUTION", ""))
    if codecs and not videos_among(codecs) and size is None:
        return None
    wh = (int(size[1]), int(size[2])) if size else (0, 0)
    bits = re.fullmatch(r"\d+", told.get("BANDWIDTH", ""))
    bits_per_s = float(bits[0]) if bits else 0.0
    what = [f"{wh[0]}x{wh[1]}"] * bool(size) + [f"{bits_per_s / 1e6:.3g} Mbit/s"] * bool(bits)
    return Offer(
        what=" ".join(what) or "unknown",
        wh=wh,
        is_decodable=are_decodable(codecs),
        is_aside=told.get("VIDEO-RANGE", "SDR") != "SDR",
        rank=bits_per_s,
    )


def _place(url: str, byte_range: str | None, ends: dict[str, int]) -> Place:
    """Where bytes lie: `count@first`, or `count` behind the last ones of the same address."""
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
        raise SourceError(f"its playlist cannot be read: {text.strip()[:40]!r} for a number")
    return number
