from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from clips import frames_of

from perception.cli_config import SettingsError
from perception.sources import SourceSettings, build_source
from perception.sources.choice import Choice, Offer, choice_note
from perception.sources.source import SourceError
from perception.sources.video import VideoSource

HD, SD, TINY = (
    Offer("h264 1280x720", (1280, 720)),
    Offer("h264 640x360", (640, 360)),
    Offer("h264", (160, 90)),
)
SMALL_DEFAULT = Offer("h264 640x360", (640, 360), is_default=True)


@dataclass(frozen=True)
class Track:
    """One video of a file: pictures of one grey, by which the track is recognised."""

    wh: tuple[int, int]
    grey: int
    frames: int = 40
    codec: str = "libx264"
    is_default: bool = False


def write(file: Path, tracks: Sequence[Track]) -> Path:
    with av.open(file, "w") as container:
        streams: list[Any] = []
        for track in tracks:
            stream: Any = container.add_stream(track.codec, rate=25)
            stream.width, stream.height = track.wh
            stream.pix_fmt = "yuvj420p" if track.codec == "mjpeg" else "yuv420p"
            if any(other.is_default for other in tracks):
                stream.disposition = Disposition.default if track.is_default else Disposition(0)
            streams.append(stream)
        for at in range(max(track.frames for track in tracks)):
            for track, stream in zip(tracks, streams, strict=True):
                if at >= track.frames:
                    continue
                grey = np.full((track.wh[1], track.wh[0], 3), track.grey, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format=stream.pix_fmt)
                frame.pts = at
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return file


def read(file: Path, stream: str = "best") -> tuple[int, int, str]:
    """Frames, the grey of the last one to the next ten, and how the source described itself."""
    source = VideoSource(file, choice=Choice.of(stream))
    description = source.open().description
    pixels: list[Any] = [frame.pixels for frame in frames_of(source, is_open=True)]
    return len(pixels), round((pixels[-1].y.mean() - 16) * 255 / 219, -1), description


VIDEO, STILL = Track((64, 48), 200), Track((96, 64), 50, frames=1, codec="mjpeg")


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "avi", "nut"])
def test_one_picture_before_a_video_is_not_the_video(tmp_path: Path, container: str) -> None:
    frames, grey, description = read(write(tmp_path / f"drive.{container}", [STILL, VIDEO]))

    assert (frames, grey) == (40, 200)
    assert "stream 1 of 2 (0: mjpeg 96x64, one picture)" in description


@pytest.mark.parametrize(
    ("tracks", "grey"),
    [
        ([Track((32, 24), 50), Track((128, 96), 200)], 200),  # a preview first, as the only default
        ([Track((64, 48), 50, is_default=True), Track((96, 64), 200)], 50),
        ([Track((96, 64), 50), Track((64, 48), 200, is_default=True)], 200),
        ([Track((64, 48), 50), Track((64, 48), 200, is_default=True)], 200),
        ([Track((64, 48), 50), Track((64, 48), 200)], 50),  # two cameras: the first
    ],
)
def test_the_default_is_taken_and_the_larger_one_over_a_preview(
    tmp_path: Path, tracks: list[Track], grey: int
) -> None:
    frames, seen, description = read(write(tmp_path / "drive.mp4", tracks))

    assert (frames, seen) == (40, grey)
    assert f"stream {[track.grey for track in tracks].index(grey)} of 2" in description


def test_the_largest_of_several_programs_is_taken(tmp_path: Path) -> None:
    tracks = [Track((64, 48), 50), Track((128, 96), 200), Track((96, 64), 100)]

    assert read(write(tmp_path / "drive.ts", tracks))[:2] == (40, 200)


def test_a_stream_without_a_decoder_is_passed_over(tmp_path: Path) -> None:
    file = write(tmp_path / "drive.mp4", [Track((128, 96), 50, codec="mpeg4"), VIDEO])
    content = file.read_bytes()
    file.write_bytes(content.replace(b"mp4v", b"zzzz", 1).replace(b"\x20\x11", b"\xfe\x11", 1))

    frames, grey, description = read(file)

    assert (frames, grey) == (40, 200)
    assert "no decoder" in description


@pytest.mark.parametrize(
    ("stream", "grey"), [("0", 50), ("2", 100), ("64x48", 50), ("100x100", 100), ("8x8", 50), ("best", 200)]
)
def test_a_stream_can_be_asked_for_by_index_and_by_size(tmp_path: Path, stream: str, grey: int) -> None:
    tracks = [Track((64, 48), 50), Track((128, 96), 200), Track((96, 64), 100)]

    assert read(write(tmp_path / "drive.mkv", tracks), stream)[:2] == (40, grey)


def test_an_index_that_is_not_there_lists_what_is(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"no video stream 5; it has 0: mjpeg 96x64, one picture; 1: h264 64x48$"
    ):
        read(write(tmp_path / "drive.mp4", [STILL, VIDEO]), "5")


def test_a_choice_is_noted_only_where_there_was_one(tmp_path: Path) -> None:
    assert "stream" not in read(write(tmp_path / "drive.mp4", [VIDEO]))[2]


@pytest.mark.parametrize(
    ("offers", "text", "index"),
    [
        ([TINY, HD, SD], "best", 1),
        ([TINY, HD, SD], "800x800", 2),
        ([TINY, HD, SD], "640X360", 2),
        ([HD, SD], "100x100", 1),
        ([HD, SMALL_DEFAULT], "best", 1),
        ([Offer("h264 1920x1080", (1920, 1080)), SMALL_DEFAULT], "best", 0),  # a preview for all its mark
        ([Offer("av1", (1920, 1080), is_decodable=False), SD], "best", 1),
        ([Offer("h264", (1920, 1080), is_aside=True), SD], "best", 1),
        ([Offer("", rank=1e5), Offer("", rank=5e5)], "best", 1),
        ([Offer("mjpeg", (9, 9), is_still=True)], "best", 0),
    ],
)
def test_the_best_is_what_can_be_decoded_moves_and_is_large(
    offers: list[Offer], text: str, index: int
) -> None:
    assert Choice.of(text).among(offers) == index


def test_many_streams_are_listed_in_short() -> None:
    assert choice_note([TINY] * 20, 0).endswith("; and 13 more)")


@pytest.mark.parametrize("text", ["", "-1", "first", "0x720", "1280x", "1.5"])
def test_what_is_no_stream_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it must be best, an index from 0, or a size"):
        Choice.of(text)


@pytest.mark.parametrize("spec", ["synthetic", "0"])
def test_a_stream_of_what_has_one_video_is_refused(spec: str) -> None:
    with pytest.raises(SettingsError, match="has one video; leave --stream 1 out"):
        build_source(spec, SourceSettings(stream="1"))
