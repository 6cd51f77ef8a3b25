"""Recordings that are cut off or half gone end with an error, and whole ones do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import pytest
from clips import FRAMES, Kind, play, write

from perception.sources.video import VideoSource

UNSEEN_FRAMES = 3  # the length of a last frame is often not stated


KINDS = {
    "mpeg4.avi": Kind("mpeg4", sound="mp2"),
    "mjpeg.avi": Kind("mjpeg", sound="mp2"),
    "h264.avi": Kind("libx264", sound="mp2"),
    "video.wmv": Kind("wmv2", "asf", sound="mp2"),
    "video.ogv": Kind("libvpx", "ogg", sound="libopus"),
    "video.nut": Kind("mpeg4", sound="mp2"),
    "video.mpg": Kind("mpeg2video", "mpeg", sound="mp2"),
    "video.m2ts": Kind("libx264", "mpegts", sound="mp2"),
    "video.ts": Kind("libx264", "mpegts"),
    "video.mp4": Kind("libx264"),
    "start.mp4": Kind("libx264", options={"movflags": "faststart"}),
    "parts.mp4": Kind("libx264", options={"movflags": "frag_keyframe+empty_moov"}),
    "mjpeg.mov": Kind("mjpeg"),
    "video.mkv": Kind("libx264"),
    "video.webm": Kind("libvpx", sound="libopus"),
    "video.flv": Kind("flv"),
    "video.mxf": Kind("mpeg2video"),
    "video.ivf": Kind("libvpx"),
    "video.y4m": Kind("rawvideo", "yuv4mpegpipe"),
    "video.h264": Kind("libx264", "h264"),
    "video.mjpeg": Kind("mjpeg", "mjpeg"),
}
WITHOUT_SOUND = ("video.mxf", "video.ivf", "video.y4m", "video.h264", "video.mjpeg")
# A cut in these may be invisible: they state no length, and may be cut between two frames.
KNOWN_WHEREVER_CUT = [
    name for name in KINDS if name not in ("video.m2ts", "video.ts", "video.h264", "video.mjpeg")
]
KNOWN_WHEN_HALF_GONE = [
    name for name in KINDS if name not in ("video.h264", "video.mjpeg", "video.y4m", "video.ivf")
]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """A function that gives a recording's bytes."""
    folder = tmp_path_factory.mktemp("recordings")

    @cache
    def make(name: str) -> bytes:
        return write(folder / name, KINDS[name]).read_bytes()

    return make


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_recording_ends_well(name: str, recording: Callable[[str], bytes], tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(recording(name))

    assert play(file) == (FRAMES, "")


@pytest.mark.one_in(5)
@pytest.mark.parametrize("sound_s", [3.0, 4.0, 9.0], ids=["shorter", "as long", "longer"])
@pytest.mark.parametrize("name", [name for name in KINDS if name not in WITHOUT_SOUND])
def test_a_whole_recording_with_sound_ends_well(name: str, sound_s: float, tmp_path: Path) -> None:
    assert play(write(tmp_path / name, KINDS[name], sound_s)) == (FRAMES, "")


@pytest.mark.parametrize("percent", [30, 70, 80, 99])
@pytest.mark.parametrize("name", KNOWN_WHEREVER_CUT)
def test_a_recording_that_was_cut_off_is_incomplete(
    name: str, percent: int, recording: Callable[[str], bytes], tmp_path: Path
) -> None:
    whole, file = recording(name), tmp_path / name
    file.write_bytes(whole[: len(whole) * percent // 100])

    frames, problem = play(file)

    assert problem or frames >= FRAMES - UNSEEN_FRAMES


@pytest.mark.parametrize("name", ["video.m2ts", "video.ts", "video.h264"])
def test_streams_without_a_length_are_incomplete_where_a_picture_is_torn(
    name: str, recording: Callable[[str], bytes], tmp_path: Path
) -> None:
    whole, file = recording(name), tmp_path / name
    found = 0
    for percent in range(40, 60):
        file.write_bytes(whole[: len(whole) * percent // 100])
        found += "the file ends early" in play(file)[1]

    assert found >= 10  # of twenty; the others were cut between two pictures, or within the last bytes of one


@pytest.mark.parametrize("name", KNOWN_WHEN_HALF_GONE)
def test_a_recording_that_is_half_zeros_is_incomplete(
    name: str, recording: Callable[[str], bytes], tmp_path: Path
) -> None:
    data, file = bytearray(recording(name)), tmp_path / name
    begin, end = len(data) // 2, len(data) * 95 // 100
    data[begin:end] = bytes(end - begin)
    file.write_bytes(data)

    frames, problem = play(file)

    assert frames < FRAMES - UNSEEN_FRAMES
    assert "incomplete: " in problem


@pytest.mark.parametrize("name", ["video.mkv", "video.flv"])
def test_frames_of_a_recording_that_starts_late_are_counted_from_there(name: str, tmp_path: Path) -> None:
    file = write(tmp_path / name, KINDS[name], start_s=100.0)
    source = VideoSource(file)

    description = source.open().description
    source.close()

    assert FRAMES - 2 <= int(re.findall(r"about (\d+) frames", description)[0]) <= FRAMES + 2
    assert play(file) == (FRAMES, "")


def test_pictures_that_are_shown_once_more_are_not_missing(
    recording: Callable[[str], bytes], tmp_path: Path
) -> None:
    (tmp_path / "video.nut").write_bytes(recording("video.nut"))
    file, again = tmp_path / "still.nut", range(40, 60)
    with av.open(str(tmp_path / "video.nut")) as whole, av.open(str(file), "w") as still:
        stream = still.add_stream_from_template(whole.streams.video[0])
        for number, packet in enumerate(whole.demux(video=0)):
            if packet.size:
                empty = av.Packet(0)
                empty.pts, empty.dts, empty.time_base = packet.pts, packet.dts, packet.time_base
                shown = empty if number in again else packet
                shown.stream = stream
                still.mux(shown)

    assert play(file) == (FRAMES - len(again), "")


def test_recordings_joined_to_one_file_end_well(recording: Callable[[str], bytes], tmp_path: Path) -> None:
    file = tmp_path / "joined.ts"
    file.write_bytes(recording("video.ts") + recording("video.ts"))

    assert play(file) == (2 * FRAMES, "")


@pytest.mark.parametrize("is_ticks", [False, True])
def test_an_ivf_promises_no_number_of_frames_where_it_may_count_its_clock(
    is_ticks: bool, tmp_path: Path
) -> None:
    kind, file = KINDS["video.ivf"], tmp_path / "clock.ivf"
    write(file, kind, time_ms=lambda number: number * 40) if is_ticks else write(file, kind)
    source = VideoSource(file)

    info = source.open()

    source.close()
    assert info.description.endswith("in ivf" if is_ticks else f"in ivf, about {FRAMES} frames")
