"""HLS as servers give it: variants, segments, parts that are missing, and live at its own pace."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import read_to_end
from web_server import Page, serving

from perception.sources import SourceSettings, build_source
from perception.sources.choice import Choice
from perception.sources.playlist import PlaylistSource
from perception.sources.source import EndOfSource, SourceError
from perception.sources.stream import StreamSource

FRAMES = 10
MS = 1_000_000
MASTER = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.2"
sound.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION=32x24,CODECS="avc1.42c00d,mp4a.40.2"
low.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=64x48,CODECS="avc1.42c00d"
high.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=950000,RESOLUTION=64x48,CODECS="avc1.42c00d,ac-3"
high.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=9900000,RESOLUTION=128x96,CODECS="xyz1.1"
none.m3u8
"""


def segment(index: int, wh: tuple[int, int] = (64, 48), first_pts: int | None = None) -> bytes:
    """MPEG-TS of ten pictures at 25 Hz, muxed separately: its timestamps continue, its counters restart."""
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"bf": "2", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = *wh, "yuv420p"
        begin = 100 + index * FRAMES if first_pts is None else first_pts  # no timestamp below 0
        for at in range(FRAMES):
            grey = np.full((wh[1], wh[0], 3), 40 + 4 * at, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuv420p")
            frame.pts = begin + at
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


SEGMENTS = [segment(index) for index in range(6)]


def listed(names: Sequence[str], end: str = "#EXT-X-ENDLIST", first: int = 0) -> str:
    head = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
    return head + "".join(f"#EXTINF:0.4,\n{name}\n" for name in names) + end


def pages(count: int, **more: Any) -> dict[str, Any]:
    return {f"seg{index}.ts": SEGMENTS[index] for index in range(count)} | more


def names(count: int, first: int = 0) -> list[str]:
    return [f"seg{index}.ts" for index in range(first, first + count)]


def test_a_recording_is_read_whole_and_nothing_of_it_is_damaged() -> None:
    with serving(pages(4, **{"road.m3u8": listed(names(4))})) as server:
        source = StreamSource(server.url("road.m3u8"))
        frames, end = read_to_end(source)

    assert (len(frames), end, source.decode_errors) == (40, "", 0)
    assert not any(frame.is_damaged for frame in frames)
    assert [frame.time_ns for frame in frames] == [40 * MS * at for at in range(40)]


def test_the_best_variant_is_fetched_and_no_other() -> None:
    lists = {"master.m3u8": MASTER, "high.m3u8": listed(names(2)), "low.m3u8": listed(["low.ts"])}
    with serving(pages(2, **lists)) as server:
        source = StreamSource(server.url("master.m3u8"))
        info = source.open()
        source.close()

        assert info.frame_wh == (64, 48)
        assert not info.is_live
        assert "variant 1 of 3 (0: 32x24 0.1 Mbit/s; 2: 128x96 9.9 Mbit/s, no decoder)" in info.description
        assert set(server.asked) == {"master.m3u8", "high.m3u8", "seg0.ts", "seg1.ts"}


@pytest.mark.parametrize(("stream", "wh"), [("0", (32, 24)), ("1", (64, 48)), ("50x50", (32, 24))])
def test_a_variant_can_be_asked_for(stream: str, wh: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "low.ts").write_bytes(segment(0, (32, 24)))
    for name, text in (("high", listed(["seg0.ts"])), ("low", listed(["low.ts"])), ("master", MASTER)):
        (tmp_path / f"{name}.m3u8").write_text(text)
    (tmp_path / "seg0.ts").write_bytes(SEGMENTS[0])

    source = build_source(str(tmp_path / "master.m3u8"), SourceSettings(stream=stream))
    info = source.open()
    source.close()

    assert (info.frame_wh, info.source_id) == (wh, "master.m3u8")


def test_a_variant_that_is_not_there_is_reported_with_those_that_are() -> None:
    with serving({"master.m3u8": MASTER}) as server, pytest.raises(SourceError) as caught:
        StreamSource(server.url("master.m3u8"), choice=Choice(index=7)).open()

    assert "has no video stream 7; it has 0: 32x24 0.1 Mbit/s; 1: 64x48" in str(caught.value)


@pytest.mark.parametrize("is_file", [True, False])
def test_a_segment_that_is_missing_is_reported_at_the_end(is_file: bool, tmp_path: Path) -> None:
    lists = {"road.m3u8": listed(names(4))}
    there = {name: data for name, data in pages(4, **lists).items() if name != "seg1.ts"}
    if is_file:
        for name, data in there.items():
            (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        frames, end = read_to_end(PlaylistSource.of_file(tmp_path / "road.m3u8"))
        reason = "cannot be read: No such file or directory"
    else:
        with serving(there) as server:
            frames, end = read_to_end(StreamSource(server.url("road.m3u8")))
        reason = "the server answers 404 Not Found"

    assert len(frames) == 30
    assert f"incomplete: 30 frames read; 1 of its segments are missing; seg1.ts: {reason}" in end


def test_a_segment_that_breaks_off_is_reported_at_the_end() -> None:
    broken = Page(SEGMENTS[1], has_ranges=False, cut_after=len(SEGMENTS[1]) // 2)
    with serving(pages(3, **{"road.m3u8": listed(names(3)), "seg1.ts": broken})) as server:
        frames, end = read_to_end(StreamSource(server.url("road.m3u8")))

    assert len(frames) >= 20
    assert "1 of its segments are missing; seg1.ts: the connection was cut" in end


def test_segments_lie_beside_the_playlist_that_a_redirect_leads_to() -> None:
    lists = {"road.m3u8": Page(b"", location="/cdn/7/road.m3u8?token=1"), "cdn/7/road.m3u8": listed(names(2))}
    with serving({f"cdn/7/{name}": data for name, data in pages(2).items()} | lists) as server:
        frames, end = read_to_end(StreamSource(server.url("road.m3u8")))

    assert (len(frames), end) == (20, "")


def test_tokens_of_what_is_missing_are_in_no_message() -> None:
    lists = {"road.m3u8": listed(["seg0.ts", "seg9.ts?token=hunter2"])}
    master = MASTER.replace("high.m3u8", "high.m3u8?token=hunter2")
    with serving(pages(1, **lists) | {"master.m3u8": master}) as server:
        _, end = read_to_end(StreamSource(server.url("road.m3u8")))
        with pytest.raises(SourceError) as caught:
            StreamSource(server.url("master.m3u8")).open()

    assert "; seg9.ts: the server answers 404 Not Found" in end
    assert "its variant high.m3u8: the server answers 404 Not Found" in str(caught.value)
    assert "hunter2" not in end + str(caught.value)


def test_a_discontinuity_gets_a_new_decoder() -> None:
    text = listed(["seg0.ts"], "#EXT-X-DISCONTINUITY\n#EXTINF:0.4,\nadvert.ts\n#EXT-X-DISCONTINUITY\n")
    text += "#EXTINF:0.4,\nseg1.ts\n#EXT-X-ENDLIST\n"
    with serving(pages(2, **{"road.m3u8": text, "advert.ts": segment(0, (32, 24), 900)})) as server:
        frames, end = read_to_end(StreamSource(server.url("road.m3u8")))

    assert [frame.frame_wh for frame in frames] == [(64, 48)] * 10 + [(32, 24)] * 10 + [(64, 48)] * 10
    assert end == ""
    assert [frame.time_ns for frame in frames] == [40 * MS * at for at in range(30)]


@pytest.mark.parametrize("flags", ["", "single_file"])
def test_fragments_of_mp4_and_parts_of_one_file_are_read(flags: str, tmp_path: Path) -> None:
    options = {"hls_time": "0.4", "hls_list_size": "0", "hls_segment_type": "fmp4"}
    options |= {"hls_flags": flags} if flags else {}
    with av.open(tmp_path / "road.m3u8", "w", format="hls", options=options) as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for at in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * at, np.uint8), "rgb24")
            frame.pts = at
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
    with serving({file.name: file.read_bytes() for file in tmp_path.iterdir()}) as server:
        over_http = read_to_end(StreamSource(server.url("road.m3u8")))
    from_file = read_to_end(PlaylistSource.of_file(tmp_path / "road.m3u8"))

    assert (len(over_http[0]), over_http[1]) == (30, "")
    assert (len(from_file[0]), from_file[1]) == (30, "")


def test_a_live_one_begins_three_segments_back_and_keeps_its_pace_until_its_end() -> None:
    lists = iter([listed(names(5), "")])
    server_pages: dict[str, Any] = pages(6)

    def playlist(request: Any) -> None:
        Page(next(lists, listed(names(6), "#EXT-X-ENDLIST")).encode())(request)

    with serving(server_pages | {"road.m3u8": playlist}) as server:
        source = StreamSource(server.url("road.m3u8"))
        info = source.open()
        began_s = time.monotonic()
        frames, ages_s = [], []
        with contextlib.suppress(EndOfSource):
            while True:
                frames.append(source.read())
                ages_s.append((time.monotonic_ns() - frames[-1].captured_ns) / 1e9)
        took_s = time.monotonic() - began_s
        source.close()

    assert info.is_live
    assert info.burst_s == 1
    assert "about 1 s behind" in info.description
    assert len(frames) == 40  # of segments 2 to 5
    steps_ns = {after.captured_ns - before.captured_ns for before, after in pairwise(frames)}
    assert steps_ns == {40 * MS} or took_s > 1.62  # a machine that stood still puts all that follows off
    assert took_s > 1.5
    assert min(ages_s) >= 0
    assert frames[-1].time_ns >= 39 * 40 * MS
    assert not any(frame.is_damaged for frame in frames)
    assert server.asked.count("seg2.ts") == 1
    assert "seg1.ts" not in server.asked


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (listed(["http://10.0.0.7/seg.ts"]), "refers to addresses on the network; give its own address"),
        (listed(["seg0.ts"]).replace("#EXTINF", "#EXT-X-KEY:METHOD=AES-128,URI=k\n#EXTINF"), "are encrypted"),
        (listed(["http://[7/seg.ts"]), "refers to a malformed address"),
        (listed(["seg%00.ts"]), "refers to a malformed address"),
        (listed([]), "lists no segments"),
        (listed(["seg0.ts"]).replace("0.4", "long"), "is malformed: 'long' instead of a number"),
        (MASTER.partition("#EXT-X-STREAM-INF:BANDWIDTH=100000")[0], "has no video stream"),
        ("#EXTM3U\n#EXTINF:-1 logo=a.png,Channel 1\nhttp://10.0.0.7/one\n", "is a list of videos (M3U)"),
        (listed(["text.ts"]), "its segments are not a readable video"),
    ],
)
def test_what_cannot_be_read_is_reported_in_one_line(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "road.m3u8").write_text(text)
    (tmp_path / "text.ts").write_text("no video " * 100)

    with pytest.raises(SourceError) as caught:
        build_source(str(tmp_path / "road.m3u8")).open()

    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("road.m3u8") == 1
