"""What is live, and what is a recording, by what an address gives; and the address of one image."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import frames_of
from web_server import Page, serving

from perception.sources import SourceSettings, build_source
from perception.sources.choice import Choice
from perception.sources.isolated.reader import IS_SUPPORTED
from perception.sources.source import EndOfSource, SourceError
from perception.sources.stream import StreamSource
from perception.sources.video import VideoSource

MakeClip = Callable[..., Path]


def picture(suffix: str) -> bytes:
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8), (5, 5), 0)
    return cv2.imencode(suffix, image)[1].tobytes()


JPEG, PNG, WEBP = picture(".jpg"), picture(".png"), picture(".webp")
PICTURES: dict[str, Any] = {
    "photo.jpg": Page(JPEG, "image/jpeg"),
    "photo.png": Page(PNG, "image/png"),
    "photo.webp": Page(WEBP, "image/webp"),
    "snapshot": Page(JPEG, "image/jpeg", has_ranges=False),
    "cgi-bin/snapshot.cgi": Page(JPEG, "image/jpeg", has_ranges=False, tells_length=False),
    "chunks": Page(PNG, "image/png", has_ranges=False, is_chunked=True),
    "odd-type": Page(JPEG, "image/jpg; q=1"),
    "bytes.jpg": Page(JPEG, "application/octet-stream"),
    "no-type": Page(WEBP),
    "moved": Page(b"", location="/photo.png"),
}


@pytest.mark.parametrize("path", [*PICTURES, "photo.jpg?token=a/b.mjpeg&x=1", "snapshot?size=640x480"])
def test_the_address_of_one_picture_gives_one_picture_and_ends(path: str) -> None:
    with serving(PICTURES) as server:
        source = StreamSource(server.url(path))
        info, frame = source.open(), source.read()
        with pytest.raises(EndOfSource):
            source.read()
        source.close()

    assert not info.is_live
    assert (frame.frame_wh, frame.frame_id, frame.source_id) == ((64, 48), 0, info.source_id)
    assert "b.mjpeg" not in info.source_id
    assert len(server.asked) == (2 if path == "moved" else 1)


def test_one_picture_has_no_second_stream() -> None:
    with serving(PICTURES) as server, pytest.raises(SourceError, match="is one picture; leave --stream out"):
        StreamSource(server.url("photo.jpg"), choice=Choice(index=1)).open()


def test_a_recording_at_an_address_loops_and_a_live_stream_is_refused_at_once(make_clip: MakeClip) -> None:
    clip = make_clip("road.mp4", frames=8, container_options={"movflags": "frag_keyframe+empty_moov"})
    pages: dict[str, Any] = {
        "live": Page(clip.read_bytes(), "video/mp4", has_ranges=False, is_chunked=True),
        "file": Page(clip.read_bytes(), "video/mp4"),
    }
    looped = SourceSettings(loop=True, max_frames=20, open_retries="forever")

    with serving(pages) as server:
        source = build_source(server.url("file"), looped)
        assert not source.open().is_live
        ids = [source.read().frame_id for _ in range(20)]
        source.close()
        live = build_source(server.url("live"), looped)
        with pytest.raises(SourceError, match="is live and cannot be looped"):
            live.open()

    assert ids == list(range(20))


def test_fragments_of_mp4_without_a_length_are_live(make_clip: MakeClip) -> None:
    clip = make_clip("road.mp4", frames=30, container_options={"movflags": "frag_keyframe+empty_moov"})
    pages: dict[str, Any] = {
        "live": Page(clip.read_bytes(), "video/mp4", has_ranges=False, is_chunked=True),
        "file": Page(clip.read_bytes(), "video/mp4"),
    }

    with serving(pages) as server:
        for path in pages:
            source = StreamSource(server.url(path))
            assert source.open().is_live == (path == "live")
            source.close()


def test_a_file_that_is_still_being_written_is_reported_to_be(make_clip: MakeClip) -> None:
    file = make_clip("road.mkv", frames=60, options={"g": "5"})
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    source = VideoSource(file)
    source.open()
    with file.open("ab") as recorder:
        recorder.write(whole[len(whole) // 2 : len(whole) // 2 + 10])
    os.utime(file, ns=(0, 1))  # no clock of a file system is fine enough for a test

    frames, problem = 0, ""
    try:
        while True:
            source.read()
            frames += 1
    except SourceError as error:
        problem = str(error)
    source.close()

    assert 0 < frames < 60
    assert problem.endswith(", as it is still being written")


@pytest.mark.skipif(not IS_SUPPORTED, reason="sources have processes of their own on Linux alone")
def test_a_picture_is_asked_for_once_and_named_after_its_address() -> None:
    with serving(PICTURES) as server:
        source = build_source(server.url("photo.png?token=1"), SourceSettings(open_retries="forever"))
        source.open()
        frame = source.read()
        with pytest.raises(EndOfSource):
            source.read()
        source.close()

    assert frame.name == "photo"
    assert server.asked == ["photo.png"]


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (
            Page(PNG, "image/png", has_ranges=False, cut_after=len(PNG) // 2),
            "incomplete: the connection was cut",
        ),
        (Page(PNG[:200], "image/png"), "corrupt"),
        (Page(b"", "image/png"), "road"),
    ],
)
def test_a_picture_that_does_not_come_whole_is_one_line(page: Page, problem: str) -> None:
    with serving({"road": page}) as server:
        source = StreamSource(server.url("road"))
        with pytest.raises(SourceError) as caught:
            source.open()

    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "/tmp" not in str(caught.value)


def test_pictures_in_parts_are_a_stream_whatever_length_is_stated() -> None:
    parts = b"".join(b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG + b"\r\n" for _ in range(3))
    with serving({"road": Page(parts, "multipart/x-mixed-replace; boundary=b")}) as server:
        source = StreamSource(server.url("road"))
        info = source.open()
        source.close()

    assert info.is_live


@pytest.mark.parametrize(
    ("container", "answer", "is_live"),
    [
        ("ts", {}, False),
        ("ts", {"has_ranges": False}, False),
        ("ts", {"has_ranges": False, "tells_length": False}, True),
        ("ts", {"has_ranges": False, "is_chunked": True}, True),
        ("mkv", {"has_ranges": False, "is_chunked": True}, False),
        ("mkv", {"has_ranges": False}, False),
        ("mp4", {}, False),
        ("mp4", {"has_ranges": False, "is_chunked": True}, False),
        ("flv", {"has_ranges": False}, False),
    ],
)
def test_a_stream_is_live_where_neither_length_nor_duration_is_stated(
    make_clip: MakeClip, container: str, answer: dict[str, bool], is_live: bool
) -> None:
    options = {"movflags": "faststart"} if container == "mp4" else {}
    clip = make_clip(f"road.{container}", frames=30, container_options=options).read_bytes()
    with serving({"road": Page(clip, **answer)}) as server:
        source = StreamSource(server.url("road"))
        info = source.open()
        frames = 0
        try:
            for _ in frames_of(source, is_open=True):
                frames += 1
            ended = True
        except SourceError:
            ended = False

    assert (info.is_live, frames, ended) == (is_live, 30, not is_live)
