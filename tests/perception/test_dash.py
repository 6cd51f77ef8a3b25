"""DASH manifests: which video, and where its segments lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from web_server import Page, serving

from perception.sources.playlist import PlaylistSource
from perception.sources.playlist.dash import Manifest, variants_of
from perception.sources.playlist.parts import Place, Playlist
from perception.sources.source import EndOfSource, Source, SourceError
from perception.sources.stream import StreamSource

URL = "https://host/road/live.mpd"


def manifest(inside: str, attributes: str = 'type="static"', period: str = 'duration="PT8S"') -> str:
    return f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" {attributes}><Period {period}>
<AdaptationSet mimeType="audio/mp4"><Representation id="sound" bandwidth="64000"/></AdaptationSet>
<AdaptationSet mimeType="image/jpeg"><Representation id="tiles" width="3200" height="1800"/></AdaptationSet>
<AdaptationSet mimeType="video/mp4" codecs="avc1.42c00d">{inside}</AdaptationSet></Period></MPD>"""


def template(attributes: str, timeline: str = "") -> str:
    return f"""<SegmentTemplate timescale="10" {attributes}>{timeline}</SegmentTemplate>
<Representation id="low" bandwidth="100000" width="32" height="24"/>
<Representation id="high" bandwidth="900000" width="64" height="48"/>"""


def playlist(text: str, utc_s: float = 0.0) -> Playlist:
    return Manifest(URL, 1, "high", lambda: utc_s).playlist(text)


def urls(found: Playlist) -> list[str]:
    return [segment.place.url.removeprefix("https://host/road/") for segment in found.segments]


NUMBERS = 'media="$RepresentationID$-$Number%03d$.m4s" initialization="$RepresentationID$.mp4"'
TIMES = 'media="v$Bandwidth$/$Time$.m4s"'


def test_the_videos_alone_are_variants() -> None:
    assert [(found.key, found.offer.wh) for found in variants_of(manifest(template(NUMBERS)))] == [
        ("low", (32, 24)),
        ("high", (64, 48)),
    ]


def test_segments_of_one_length_are_counted_over_the_period() -> None:
    found = playlist(manifest(template(f'{NUMBERS} duration="25" startNumber="7"')))

    assert urls(found) == [f"high-00{number}.m4s" for number in (7, 8, 9)] + ["high-010.m4s"]
    assert {segment.init for segment in found.segments} == {Place("https://host/road/high.mp4")}
    assert (found.has_end, found.longest_s) == (True, 2.5)


def test_a_timeline_states_times_and_repeats() -> None:
    timeline = '<SegmentTimeline><S t="5" d="20" r="1"/><S d="10"/><S d="15" r="-1"/></SegmentTimeline>'
    found = playlist(manifest(template(TIMES, timeline), period='duration="PT8.5S"'))

    assert urls(found) == [f"v900000/{at}.m4s" for at in (5, 25, 45, 55, 70)]
    assert [segment.duration_s for segment in found.segments] == [2.0, 2.0, 1.0, 1.5, 1.5]


def test_the_time_of_day_defines_the_available_segments() -> None:
    attributes = 'type="dynamic" availabilityStartTime="1970-01-01T00:01:40Z"'
    found = playlist(manifest(template(f'{NUMBERS} duration="20"'), attributes, 'start="PT10S"'), utc_s=150.9)

    assert not found.has_end
    assert (
        urls(found)[-1] == "high-020.m4s"
    )  # 40.9 s after the period began: 20 whole segments from number 1 on
    assert len(found.segments) == 8


def test_of_a_timeline_without_an_end_the_newest_are_listed() -> None:
    timeline = '<SegmentTimeline><S t="0" d="20" r="-1"/></SegmentTimeline>'
    attributes = 'type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z"'
    found = playlist(manifest(template(TIMES, timeline), attributes, 'start="PT0S"'), utc_s=1_800_000_000.5)

    assert len(found.segments) == 8
    assert urls(found)[-1] == "v900000/17999999980.m4s"


def test_segments_keep_their_numbers_while_the_manifest_moves_on() -> None:
    video = Manifest(URL, 1, "high")

    def numbers(first: int) -> list[int]:
        timeline = f'<SegmentTimeline><S t="{first}" d="20" r="2"/></SegmentTimeline>'
        text = manifest(template(TIMES, timeline), 'type="dynamic"', 'start="PT0S"')
        return [segment.number for segment in video.playlist(text).segments]

    assert [numbers(100), numbers(100), numbers(140)] == [[0, 1, 2], [0, 1, 2], [2, 3, 4]]


def test_lists_and_parts_of_one_file_are_read() -> None:
    parts = """<Representation id="high"><BaseURL>all.mp4</BaseURL><SegmentList duration="2">
<Initialization range="0-99"/><SegmentURL mediaRange="100-149"/><SegmentURL mediaRange="150-199"/>
</SegmentList></Representation>"""
    found = playlist(manifest(parts))
    whole = playlist(manifest('<Representation id="high"><BaseURL>/b/all.mp4</BaseURL></Representation>'))

    all_mp4 = "https://host/road/all.mp4"
    assert [segment.place for segment in found.segments] == [
        Place(all_mp4, 100, 150),
        Place(all_mp4, 150, 200),
    ]
    assert found.segments[0].init == Place(all_mp4, 0, 100)
    assert [segment.place for segment in whole.segments] == [Place("https://host/b/all.mp4")]


def test_a_new_period_is_another_encoding() -> None:
    period = manifest(template(f'{NUMBERS} duration="40"')).partition("<Period")[2].rpartition("</MPD>")[0]
    text = manifest(template(f'{NUMBERS} duration="40"')).replace("</MPD>", f"<Period{period}</MPD>")

    assert [segment.is_discontinuous for segment in playlist(text).segments] == [False, False, True, False]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (manifest(template(NUMBERS)), "does not state how long its segments are"),
        (manifest(template(f'{NUMBERS} duration="long"')), "'long' instead of a number"),
        (manifest(template('duration="20"')), "a template without segments"),
        (
            manifest(template(f'{NUMBERS} duration="20"'), 'type="dynamic"'),
            "first segment was available",
        ),
        (manifest("<ContentProtection/>" + template(f'{NUMBERS} duration="20"')), "are encrypted"),
        (manifest(template(NUMBERS))[:-9], "not complete XML"),
        ('<?xml version="1.0" encoding="u0f-8"?><MPD/>', "not complete XML"),
    ],
)
def test_what_cannot_be_read_is_reported(text: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        playlist(text)


@pytest.fixture
def road(tmp_path: Path) -> dict[str, bytes]:
    """A manifest of two sizes, in segments of ten pictures."""
    options = {"seg_duration": "0.4", "use_timeline": "1", "use_template": "1"}
    with av.open(tmp_path / "road.mpd", "w", format="dash", options=options) as container:
        streams: list[Any] = []
        for wh in ((32, 24), (64, 48)):
            stream: Any = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "0"})
            stream.width, stream.height, stream.pix_fmt = *wh, "yuv420p"
            streams.append(stream)
        for at in range(40):
            for stream in streams:
                grey = np.full((stream.height, stream.width, 3), 4 * at, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuv420p")
                frame.pts = at
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def read_all(source: Source) -> int:
    frames = 0
    try:
        while True:
            assert source.read().frame_wh == (64, 48)
            frames += 1
    except EndOfSource:
        return frames
    finally:
        source.close()


def test_a_recording_is_read_whole_from_the_best_video_alone(road: dict[str, bytes], tmp_path: Path) -> None:
    with serving(dict(road)) as server:
        source = StreamSource(server.url("road.mpd"))
        info = source.open()
        assert read_all(source) == 40
        assert not any("stream0" in path for path in server.asked)
    from_file = PlaylistSource.of_file(tmp_path / "road.mpd")
    from_file.open()

    assert "by DASH, variant 1 of 2 (0: 32x24" in info.description
    assert not info.is_live
    assert read_all(from_file) == 40


def test_a_live_one_plays_until_its_manifest_says_that_it_has_ended(road: dict[str, bytes]) -> None:
    whole = road["road.mpd"]
    asked = iter([whole.replace(b'type="static"', b'type="dynamic"')])
    with serving(road | {"road.mpd": lambda request: Page(next(asked, whole))(request)}) as server:
        source = StreamSource(server.url("road.mpd"))
        info = source.open()
        frames = read_all(source)

    assert info.is_live
    assert frames >= 20  # of the last three of its segments
