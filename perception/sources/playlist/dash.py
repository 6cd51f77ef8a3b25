"""DASH manifests (ISO/IEC 23009-1)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Final, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from perception.sources.playlist.parts import (
    Place,
    Playlist,
    Segment,
    Variant,
    beside,
    videos_in,
)
from perception.sources.source import SourceError

_ANY: Final = "{*}"
_DURATION: Final = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_SECONDS: Final = (31_536_000, 2_592_000, 86_400, 3600, 60, 1)
_IDENTIFIER: Final = re.compile(r"\$(RepresentationID|Number|Time|Bandwidth)?(?:%0(\d+)d)?\$")
_LISTED: Final = 8
"""Newest segments that are listed where a manifest defines them by the time of day alone."""
_MOST: Final = 50_000


class _Video(NamedTuple):
    """A representation and its parents."""

    period: Element
    period_index: int
    adaptation: Element
    representation: Element

    def attribute(self, name: str) -> str:
        return self.representation.get(name) or self.adaptation.get(name) or ""

    @property
    def levels(self) -> tuple[Element, Element, Element]:
        return self.period, self.adaptation, self.representation


def is_manifest(text: str) -> bool:
    """Whether a text is a DASH manifest."""
    return "<MPD" in text[:4096]


def variants_of(text: str) -> list[Variant]:
    """The videos of a manifest's first period that has any; raises SourceError if it is malformed."""
    videos = list(_videos(_parsed(text)))
    return [_variant(video) for video in videos if video.period_index == videos[0].period_index]


class Manifest:
    """The segments of one video through all versions of a manifest.

    Args:
        url: of the manifest.
        index: of the video among `variants_of`.
        key: of the video.
        utc_s: wall clock, by which some senders define the segments that exist.
    """

    def __init__(self, url: str, index: int, key: str, utc_s: Callable[[], float] = time.time) -> None:
        self._url, self._index, self._key, self._utc_s = url, index, key, utc_s
        self._numbers: dict[Place, int] = {}
        self._next_number = 0

    def playlist(self, text: str) -> Playlist:
        """The segments in this version; raises SourceError."""
        root = _parsed(text)
        segments: list[Segment] = []
        for period_index in range(len(root.findall(f"{_ANY}Period"))):
            video = self._video_of(root, period_index)
            if video is None:
                continue
            if video.adaptation.find(f"{_ANY}ContentProtection") is not None:
                raise SourceError("its segments are encrypted (ContentProtection), which is not supported")
            earlier = len(segments)
            for place, duration_s, init in _Segments(self._url, root, video, self._utc_s()).all():
                is_new_period = len(segments) == earlier > 0
                segments.append(Segment(self._number(place), place, duration_s, init, is_new_period))
        self._numbers = {segment.place: segment.number for segment in segments}
        longest_s = max((segment.duration_s for segment in segments), default=0.0)
        return Playlist(tuple(segments), root.get("type", "static") != "dynamic", longest_s)

    def _video_of(self, root: Element, period_index: int) -> _Video | None:
        videos = [video for video in _videos(root) if video.period_index == period_index]
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
    """The segments of one video in one period."""

    def __init__(self, url: str, root: Element, video: _Video, utc_s: float) -> None:
        self._root, self._video, self._utc_s = root, video, utc_s
        self._is_dynamic = root.get("type") == "dynamic"
        for element in (root, *video.levels):
            base = element.find(f"{_ANY}BaseURL")
            if base is not None and base.text:
                url = beside(url, base.text.strip())
        self._url = url
        self._is_template = any(level.find(f"{_ANY}SegmentTemplate") is not None for level in video.levels)
        kind = "SegmentTemplate" if self._is_template else "SegmentList"
        found = (level.find(f"{_ANY}{kind}") for level in video.levels)
        self._elements = [element for element in found if element is not None]
        self._attributes = {name: value for element in self._elements for name, value in element.items()}
        self._scale = self._whole("timescale", 1) or 1

    def all(self) -> Iterator[tuple[Place, float, Place | None]]:
        """Place, duration in seconds, and initialisation data of each."""
        if self._is_template:
            yield from self._of_template()
        elif self._elements:
            yield from self._of_list()
        else:  # a single file, which may contain its own index
            yield Place(self._url), self._period_s() or 0.0, None

    def _of_template(self) -> Iterator[tuple[Place, float, Place | None]]:
        media = self._attributes.get("media", "")
        if not media:
            raise SourceError("its manifest has a template without segments")
        init_name = self._attributes.get("initialization", "")
        init = Place(self._named(init_name, 0, 0)) if init_name else None
        for number, at, duration in self._times():
            yield Place(self._named(media, number, at)), duration / self._scale, init

    def _of_list(self) -> Iterator[tuple[Place, float, Place | None]]:
        init = None
        for element in self._elements:
            begins = element.find(f"{_ANY}Initialization")
            if begins is not None:
                init = self._part(begins.get("sourceURL"), begins.get("range"))
        duration_s = self._whole("duration", 0) / self._scale
        for element in self._elements[-1].findall(f"{_ANY}SegmentURL"):
            yield self._part(element.get("media"), element.get("mediaRange")), duration_s, init

    def _times(self) -> Iterator[tuple[int, int, int]]:
        """Number, time and duration of each segment, in units of the time scale."""
        timelines = [element.find(f"{_ANY}SegmentTimeline") for element in self._elements]
        timeline = next((one for one in reversed(timelines) if one is not None), None)
        offset = self._whole("presentationTimeOffset", 0)
        if timeline is None:  # all are alike, up to the end of the period
            if not self._whole("duration", 0):
                raise SourceError("its manifest does not state how long its segments are")
            timeline, offset = Element("SegmentTimeline"), 0
            SubElement(timeline, "S", d=self._attributes["duration"], r="-1")
        number, at, entries = self._whole("startNumber", 1), 0, timeline.findall(f"{_ANY}S")
        for entry, following in zip_longest(entries, entries[1:]):
            duration = _int(entry.get("d", "0"))
            at = _int(entry.get("t", str(at)))
            count = _int(entry.get("r", "0")) + 1
            if count < 1:  # up to the next entry or the end of the period
                next_at = following.get("t") if following is not None else None
                end = _int(next_at) if next_at else offset + self._available_s() * self._scale
                segments = round((end - at) / duration, 6) if duration else 0.0
                count = math.floor(segments) if self._is_dynamic else math.ceil(segments)
                skipped = max(0, count - _LISTED) if self._is_dynamic else 0
                number, at, count = number + skipped, at + skipped * duration, count - skipped
            for _ in range(min(count, _MOST)):
                yield number, at, duration
                number, at = number + 1, at + duration

    def _whole(self, name: str, default: int) -> int:
        value = self._attributes.get(name)
        return _int(value) if value else default

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

    def _available_s(self) -> float:
        """The end of the existing segments, from the beginning of the period."""
        period_s = self._period_s()
        if not self._is_dynamic:
            return period_s or 0.0
        elapsed_s = self._utc_s - _utc(self._root.get("availabilityStartTime", "")) - self._start_s()
        return elapsed_s if period_s is None else min(elapsed_s, period_s)

    def _start_s(self) -> float:
        return _seconds(self._video.period.get("start", "")) or 0.0

    def _period_s(self) -> float | None:
        duration_s = _seconds(self._video.period.get("duration", ""))
        if duration_s is not None:
            return duration_s
        periods = self._root.findall(f"{_ANY}Period")
        if self._video.period_index + 1 < len(periods):
            end_s = _seconds(periods[self._video.period_index + 1].get("start", ""))
        else:
            end_s = _seconds(self._root.get("mediaPresentationDuration", ""))
        return None if end_s is None else end_s - self._start_s()


def _parsed(text: str) -> Element:
    try:
        return ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, ValueError, LookupError):
        raise SourceError("its manifest is malformed: not complete XML") from None


def _videos(root: Element) -> Iterator[_Video]:
    for period_index, period in enumerate(root.findall(f"{_ANY}Period")):
        for adaptation in period.findall(f"{_ANY}AdaptationSet"):
            for representation in adaptation.findall(f"{_ANY}Representation"):
                video = _Video(period, period_index, adaptation, representation)
                kind = adaptation.get("contentType") or video.attribute("mimeType").partition("/")[0]
                if kind == "video" or (not kind and videos_in(video.attribute("codecs"))):
                    yield video


def _variant(video: _Video) -> Variant:
    wh = _int(video.attribute("width") or "0"), _int(video.attribute("height") or "0")
    bits_per_s = float(_int(video.attribute("bandwidth") or "0"))
    properties = [
        *video.adaptation.findall(f"{_ANY}EssentialProperty"),
        *video.adaptation.findall(f"{_ANY}SupplementalProperty"),
    ]
    is_preview = any("trickmode" in element.get("schemeIdUri", "") for element in properties)
    name = video.representation.get("id", "")
    return Variant.of(name, wh, bits_per_s, video.attribute("codecs"), is_aside=is_preview)


def _int(text: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise SourceError(f"its manifest is malformed: {text.strip()[:40]!r} instead of a number") from None


def _seconds(text: str) -> float | None:
    found = _DURATION.fullmatch(text.strip()) if text else None
    if found is None:
        return None
    return sum(float(value) * unit for value, unit in zip(found.groups(), _SECONDS, strict=True) if value)


def _utc(text: str) -> float:
    try:
        available = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SourceError("its manifest does not state when its first segment was available") from None
    return (available if available.tzinfo else available.replace(tzinfo=UTC)).timestamp()
