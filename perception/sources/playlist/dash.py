"""DASH manifests (ISO/IEC 23009-1): their videos, and the segments of one of them."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from perception.sources.choice import Offer
from perception.sources.playlist.codecs import are_decodable, videos_among
from perception.sources.playlist.parts import Place, Playlist, Segment, Variant, beside
from perception.sources.source import SourceError

_ANY: Final = "{*}"
_DURATION: Final = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_SECONDS: Final = (31_536_000, 2_592_000, 86_400, 3600, 60, 1)
_IDENTIFIER: Final = re.compile(r"\$(RepresentationID|Number|Time|Bandwidth)?(?:%0(\d+)d)?\$")
_LISTED: Final = 8  # of segments that are told by a clock alone, so many of the newest
_MOST: Final = 50_000


class _Video(NamedTuple):
    """One representation, and what stands around it."""

    period: Element
    number: int
    """Of the period."""
    adaptation: Element
    representation: Element

    def told(self, name: str) -> str:
        return self.representation.get(name) or self.adaptation.get(name) or ""

    @property
    def around(self) -> tuple[Element, Element, Element]:
        return self.period, self.adaptation, self.representation


def is_manifest(text: str) -> bool:
    """Whether a text is one of DASH."""
    return "<MPD" in text[:4096]


def variants_of(text: str) -> list[Variant]:
    """The videos of a manifest; raises SourceError if it cannot be read."""
    videos = list(_videos(_parsed(text)))
    return [
        Variant(_offer(video), video.representation.get("id", ""))
        for video in videos
        if video.number == videos[0].number
    ]


class Manifest:
    """The segments of one video of a manifest, in all of its versions.

    Args:
        url: of the manifest.
        index: of the video among `variants_of`.
        key: of it.
        utc_s: the time of day, by which some senders say what there is.
    """

    def __init__(self, url: str, index: int, key: str, utc_s: Callable[[], float] = time.time) -> None:
        self._url, self._index, self._key, self._utc_s = url, index, key, utc_s
        self._numbers: dict[Place, int] = {}
        self._next_number = 0

    def playlist(self, text: str) -> Playlist:
        """Its segments as they are now; raises SourceError."""
        root = _parsed(text)
        has_end = root.get("type", "static") != "dynamic"
        segments: list[Segment] = []
        for number in range(len(root.findall(f"{_ANY}Period"))):
            video = self._video_of(root, number)
            if video is None:
                continue
            if video.adaptation.find(f"{_ANY}ContentProtection") is not None:
                raise SourceError("its segments are encrypted (ContentProtection), which is not read")
            is_first = True
            for place, duration_s, init in _Segments(self._url, root, video, self._utc_s()).all():
                is_new = is_first and bool(segments)
                segments.append(Segment(self._number(place), place, duration_s, init, is_new))
                is_first = False
        self._numbers = {segment.place: segment.number for segment in segments}
        longest_s = max((segment.duration_s for segment in segments), default=0.0)
        return Playlist(tuple(segments), has_end, longest_s)

    def _video_of(self, root: Element, number: int) -> _Video | None:
        videos = [video for video in _videos(root) if video.number == number]
        same = [video for video in videos if video.representation.get("id", "") == self._key]
        if same:
            return same[0]
        return videos[min(self._index, len(videos) - 1)] if videos else None

    def _number(self, place: Place) -> int:
        number = self._numbers.get(place)
        if number is None:
            number, self._next_number = self._next_number, self._next_number + 1
        return number


class _Segments:
    """Where the segments of one video in one period lie."""

    def __init__(self, url: str, root: Element, video: _Video, utc_s: float) -> None:
        self._root, self._video, self._utc_s = root, video, utc_s
        for element in (root, *video.around):
            base = element.find(f"{_ANY}BaseURL")
            if base is not None and base.text:
                url = beside(url, base.text.strip())
        self._url = url

    def all(self) -> Iterator[tuple[Place, float, Place | None]]:
        """Place, seconds, and what a decoder needs before."""
        if self._elements("SegmentTemplate"):
            yield from self._of_template()
        elif self._elements("SegmentList"):
            yield from self._of_list()
        else:  # a file, which may say where what lies in it
            yield Place(self._url), self._period_s() or 0.0, None

    def _of_template(self) -> Iterator[tuple[Place, float, Place | None]]:
        media = self._told("SegmentTemplate", "media")
        if not media:
            raise SourceError("its manifest has a template without segments")
        init_name = self._told("SegmentTemplate", "initialization")
        init = Place(self._named(init_name, 0, 0)) if init_name else None
        scale = self._whole("SegmentTemplate", "timescale", 1) or 1
        for number, at, duration in self._times("SegmentTemplate"):
            yield Place(self._named(media, number, at)), duration / scale, init

    def _of_list(self) -> Iterator[tuple[Place, float, Place | None]]:
        init = None
        for element in self._elements("SegmentList"):
            begins = element.find(f"{_ANY}Initialization")
            if begins is not None:
                init = self._part(begins.get("sourceURL"), begins.get("range"))
        scale = self._whole("SegmentList", "timescale", 1) or 1
        duration_s = self._whole("SegmentList", "duration", 0) / scale
        for element in self._elements("SegmentList")[-1].findall(f"{_ANY}SegmentURL"):
            yield self._part(element.get("media"), element.get("mediaRange")), duration_s, init

    def _times(self, kind: str) -> Iterator[tuple[int, int, int]]:
        """Number, time and duration of each segment, in units of the time scale."""
        number = self._whole(kind, "startNumber", 1)
        timelines = [element.find(f"{_ANY}SegmentTimeline") for element in self._elements(kind)]
        told = [timeline for timeline in timelines if timeline is not None]
        if told:
            yield from self._by_timeline(told[-1], number)
            return
        scale, duration = self._whole(kind, "timescale", 1) or 1, self._whole(kind, "duration", 0)
        if not duration:
            raise SourceError("its manifest does not tell how long its segments are")
        count = round(self._told_until_s() * scale / duration, 6)
        count = math.floor(count) if self._is_dynamic else math.ceil(count)
        first = max(0, count - _LISTED) if self._is_dynamic else 0
        for at in range(first, min(count, first + _MOST)):
            yield number + at, at * duration, duration

    def _by_timeline(self, timeline: Element, number: int) -> Iterator[tuple[int, int, int]]:
        at, entries = 0, timeline.findall(f"{_ANY}S")
        scale = self._whole("SegmentTemplate", "timescale", 1) or 1
        for index, entry in enumerate(entries):
            duration = _int(entry.get("d", "0"))
            at = _int(entry.get("t", str(at)))
            repeats = _int(entry.get("r", "0"))
            if repeats < 0:  # up to the next entry, or the end of the period
                ends = entries[index + 1].get("t") if index + 1 < len(entries) else None
                offset = self._whole("SegmentTemplate", "presentationTimeOffset", 0)
                end = _int(ends) if ends else offset + round(self._told_until_s() * scale)
                whole = (end - at) / duration if duration else 0.0
                repeats = (math.floor(whole) if self._is_dynamic else math.ceil(whole)) - 1
                skipped = max(0, repeats + 1 - _LISTED) if self._is_dynamic else 0
                number, at, repeats = number + skipped, at + skipped * duration, repeats - skipped
            for _ in range(min(repeats + 1, _MOST)):
                yield number, at, duration
                number, at = number + 1, at + duration

    def _elements(self, kind: str) -> list[Element]:
        """What tells of segments, the closest last."""
        found = [element.find(f"{_ANY}{kind}") for element in self._video.around]
        return [element for element in found if element is not None]

    def _told(self, kind: str, name: str) -> str:
        values = [element.get(name) for element in self._elements(kind)]
        return next((value for value in reversed(values) if value is not None), "")

    def _whole(self, kind: str, name: str, otherwise: int) -> int:
        value = self._told(kind, name)
        return _int(value) if value else otherwise

    def _named(self, template: str, number: int, at: int) -> str:
        values = {
            "RepresentationID": self._video.representation.get("id", ""),
            "Bandwidth": self._video.representation.get("bandwidth", ""),
            "Number": str(number),
            "Time": str(at),
        }

        def value(found: re.Match[str]) -> str:
            return values[found[1]].rjust(int(found[2] or 0), "0") if found[1] else "$"

        return beside(self._url, _IDENTIFIER.sub(value, template))

    def _part(self, name: str | None, span: str | None) -> Place:
        url = beside(self._url, name) if name else self._url
        if not span:
            return Place(url)
        first, _, last = span.partition("-")
        return Place(url, _int(first), _int(last) + 1)

    @property
    def _is_dynamic(self) -> bool:
        return self._root.get("type") == "dynamic"

    def _told_until_s(self) -> float:
        """Up to when there are segments, from where the period began."""
        period_s = self._period_s()
        if not self._is_dynamic:
            return period_s or 0.0
        elapsed_s = self._utc_s - _utc(self._root.get("availabilityStartTime", "")) - self._start_s()
        return elapsed_s if period_s is None else min(elapsed_s, period_s)

    def _start_s(self) -> float:
        return _seconds(self._video.period.get("start", "")) or 0.0

    def _period_s(self) -> float | None:
        told_s = _seconds(self._video.period.get("duration", ""))
        if told_s is not None:
            return told_s
        periods = self._root.findall(f"{_ANY}Period")
        if self._video.number + 1 < len(periods):
            end_s = _seconds(periods[self._video.number + 1].get("start", ""))
        else:
            end_s = _seconds(self._root.get("mediaPresentationDuration", ""))
        return None if end_s is None else end_s - self._start_s()


def _parsed(text: str) -> Element:
    try:
        return ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, ValueError, LookupError):
        raise SourceError("its manifest cannot be read: it is no whole XML") from None


def _videos(root: Element) -> Iterator[_Video]:
    for number, period in enumerate(root.findall(f"{_ANY}Period")):
        for adaptation in period.findall(f"{_ANY}AdaptationSet"):
            for representation in adaptation.findall(f"{_ANY}Representation"):
                video = _Video(period, number, adaptation, representation)
                kind = adaptation.get("contentType") or video.told("mimeType").partition("/")[0]
                if kind == "video" or (not kind and videos_among(video.told("codecs"))):
                    yield video


def _offer(video: _Video) -> Offer:
    wh = _int(video.told("width") or "0"), _int(video.told("height") or "0")
    bits_per_s = float(_int(video.told("bandwidth") or "0"))
    properties = [
        *video.adaptation.findall(f"{_ANY}EssentialProperty"),
        *video.adaptation.findall(f"{_ANY}SupplementalProperty"),
    ]
    what = [f"{wh[0]}x{wh[1]}"] * all(wh) + [f"{bits_per_s / 1e6:.3g} Mbit/s"] * bool(bits_per_s)
    return Offer(
        what=" ".join(what) or "unknown",
        wh=wh,
        is_decodable=are_decodable(video.told("codecs")),
        is_aside=any("trickmode" in told.get("schemeIdUri", "") for told in properties),
        rank=bits_per_s,
    )


def _int(text: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise SourceError(f"its manifest cannot be read: {text.strip()[:40]!r} for a number") from None


def _seconds(text: str) -> float | None:
    found = _DURATION.fullmatch(text.strip()) if text else None
    if found is None:
        return None
    return sum(float(value) * unit for value, unit in zip(found.groups(), _SECONDS, strict=True) if value)


def _utc(text: str) -> float:
    try:
        told = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SourceError("its manifest does not tell since when there are segments") from None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
