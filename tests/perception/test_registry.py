from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import Kind, write

from perception.config import NodeConfig
from perception.sources import SOURCES, EndOfSource, SourceError, SourceSettings, build_source
from perception.sources.camera import CameraSource
from perception.sources.images import ImagesSource
from perception.sources.isolated.reader import IS_SUPPORTED
from perception.sources.isolated.supervisor import IsolatedSource
from perception.sources.registry import Spec
from perception.sources.stream import StreamSource
from perception.sources.synthetic import SyntheticSettings, SyntheticSource
from perception.sources.video import VideoSource

SMALL = NodeConfig(synthetic=SyntheticSettings((64, 36), 10.0))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("0", CameraSource),
        ("/dev/video0", CameraSource),
        ("/dev/v4l/by-id/usb-road", CameraSource),
        ("rtsp://10.0.0.7/road", StreamSource),
        ("RTSP://10.0.0.7/road", StreamSource),
        ("http://10.0.0.7/road.mjpg", StreamSource),
        ("https://10.0.0.7/clip.mp4?x=[1]", StreamSource),
        ("synthetic", SyntheticSource),
        ("synthetic:no_such_scene", SyntheticSource),
        ("nowhere/*.png", ImagesSource),
    ],
)
def test_the_form_of_a_spec_decides_the_kind(spec: str, kind: type) -> None:
    of_kind = SOURCES[Spec.of(spec).kind]

    assert isinstance(of_kind.build(spec, of_kind.settings(), SourceSettings()), kind)


@pytest.mark.skipif(not IS_SUPPORTED, reason="sources have processes of their own on Linux alone")
@pytest.mark.parametrize(
    ("spec", "settings", "kind"),
    [
        ("/dev/video0", SourceSettings(), IsolatedSource),
        ("rtsp://10.0.0.7/road", SourceSettings(), IsolatedSource),
        ("http://10.0.0.7/clip.mp4", SourceSettings(), IsolatedSource),
        ("synthetic", SourceSettings(), SyntheticSource),
        ("synthetic", SourceSettings(isolate=True), IsolatedSource),
    ],
)
def test_what_may_hang_is_read_in_a_process_of_its_own(
    spec: str, settings: SourceSettings, kind: type
) -> None:
    assert isinstance(build_source(spec, settings), kind)


def test_files_and_folders_are_distinguished(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    image = tmp_path / "a[1].png"
    cv2.imwrite(str(image), np.zeros((8, 8, 3), np.uint8))

    assert isinstance(build_source(str(make_clip("night[2].mp4"))), VideoSource)
    assert isinstance(build_source(str(image)), ImagesSource)
    assert isinstance(build_source(str(tmp_path)), ImagesSource)


@pytest.mark.parametrize("spec", ["", "no_such.mp4", "ftp://ann:secret@10.0.0.7/a.mp4", "syntetic"])
def test_anything_else_is_one_line_that_lists_the_forms(spec: str) -> None:
    with pytest.raises(SourceError, match="a source is a video file") as caught:
        build_source(spec)

    assert "synthetic[:scene]" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_every_kind_is_in_the_dict(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    specs = [
        "0",
        "rtsp://a/b",
        "rtsps://a/b",
        "http://a/b",
        "https://a/b",
        "synthetic",
        "ros:/a",
        str(tmp_path / "images"),
    ]
    (tmp_path / "images").mkdir()
    specs.append(str(tmp_path / "pipe"))
    (tmp_path / "drive.mcap").write_bytes(b"\x89MCAP0\r\n")
    specs.append(f"{tmp_path / 'drive.mcap'}#/camera")

    playlists = [tmp_path / "whole.m3u8", tmp_path / "live.m3u8"]
    for file, end in zip(playlists, ("#EXT-X-ENDLIST", ""), strict=True):
        file.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nroad.ts\n{end}")
    specs += map(str, playlists)

    assert {Spec.of(spec).kind for spec in specs} | {"video"} == set(SOURCES)
    assert [SOURCES["playlist"].is_live(str(file)) for file in playlists] == [False, True]


def test_a_looped_clip_is_paced_from_its_end_to_its_beginning_too(make_clip: Callable[..., Path]) -> None:
    clip = make_clip(frames=2, rate_hz=20)
    source = build_source(str(clip), SourceSettings(realtime=True, loop=True, max_frames=6))
    source.open()

    captured_ns = [source.read().captured_ns for _ in range(6)]

    source.close()
    assert captured_ns[-1] - captured_ns[0] >= 0.95 * 5 * 50_000_000


def test_nobody_waits_in_real_time_for_a_frame_that_lies_behind_the_end(tmp_path: Path) -> None:
    file = write(tmp_path / "lapse.mkv", Kind("mpeg4"), frames=3, time_ms=lambda number: number * 9_000)
    source = build_source(str(file), SourceSettings(realtime=True, duration_s=1))
    began_s = time.monotonic()
    source.open()

    source.read()
    with pytest.raises(EndOfSource):
        source.read()

    source.close()
    assert time.monotonic() - began_s < 5


def test_a_looped_clip_gives_as_many_frames_as_the_limit_says(make_clip: Callable[..., Path]) -> None:
    source = build_source(str(make_clip(frames=4)), SourceSettings(loop=True, max_frames=10))
    source.open()
    frames = []
    with contextlib.suppress(EndOfSource):
        while True:
            frames.append(source.read())
    source.close()

    assert [frame.frame_id for frame in frames] == list(range(10))
    assert [frame.time_ns // 100_000_000 for frame in frames] == list(range(10))


def test_the_synthetic_drive_repeats_byte_for_byte_and_knows_its_truth() -> None:
    first, again = build_source("synthetic", SMALL), build_source("synthetic", SMALL)
    assert isinstance(first, SyntheticSource)
    info, _ = first.open(), again.open()

    frames = [first.read(), first.read()]
    again.read()

    assert (info.frame_wh, info.rate_hz, info.is_live) == ((64, 36), 10.0, False)
    assert [frame.time_ns for frame in frames] == [0, 100_000_000]
    np.testing.assert_array_equal(frames[1].image_bgr, again.read().image_bgr)
    assert first.truth(1).shape == (36, 64)
    assert set(np.unique(first.truth(1))) <= {0, 1, 2}


def test_a_synthetic_drive_may_be_limited() -> None:
    source = SyntheticSource(frame_wh=(64, 36), frames=2)
    source.open()
    source.read()
    source.read()

    with pytest.raises(EndOfSource):
        source.read()


def test_an_unknown_scene_is_one_line_that_lists_the_known_ones() -> None:
    with pytest.raises(SourceError, match="synthetic:moon: unknown scene 'moon'; known: ") as caught:
        build_source("synthetic:moon").open()

    assert "\n" not in str(caught.value)
