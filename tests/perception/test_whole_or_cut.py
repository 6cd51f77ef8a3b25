"""The matrix: containers, cut or whole, by where their clock begins; and all that looks cut, and is not."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from clips import FRAMES, RATE_HZ, Kind, play, write

from perception.sources.source import EndOfSource
from perception.sources.video import VideoSource

WH = (96, 64)
WRAP_S = 2**33 / 90_000  # of the clock of MPEG
KINDS = {
    "mp4": Kind("libx264"),
    "start.mp4": Kind("libx264", options={"movflags": "faststart"}),
    "parts.mp4": Kind("libx264", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "mjpeg.mp4": Kind("mjpeg"),
    "mov": Kind("libx264", codec_options={"preset": "medium", "bf": "3"}),
    "mkv": Kind("libx264"),
    "live.mkv": Kind("libx264", options={"live": "1"}),
    "avi": Kind("mpeg4", sound="mp2"),
    "mjpeg.avi": Kind("mjpeg", sound="mp2"),
    "ts": Kind("libx264", "mpegts"),
    "m2ts": Kind("libx264", "mpegts", sound="mp2"),
    "flv": Kind("libx264"),
    "live.flv": Kind("libx264", options={"flvflags": "no_duration_filesize"}),
    "webm": Kind("libvpx", sound="libopus"),
    "live.webm": Kind("libvpx", options={"live": "1"}, sound="libopus"),
    "mjpeg": Kind("mjpeg", "mjpeg"),
    "h264": Kind("libx264", "h264"),
}
RAW = ("mjpeg", "h264")
STARTS_S = {"at 0": 0.0, "late": 36_000.0, "wrapped": WRAP_S - 2}
CELLS = [
    (name, start)
    for name in KINDS
    for start in STARTS_S
    if start == "at 0"
    or (start == "late" and name not in RAW and not name.endswith("avi"))  # those have no clock
    or (start == "wrapped" and name.endswith("ts"))
]
SOUNDS_S = {"none": 0.0, "shorter": 2.5, "longer": 6.0}


def cut(data: bytes, percent: int) -> bytes:
    """So much of a recording, never ending between two packets of MPEG-TS, which would be invisible."""
    at = len(data) * percent // 100
    return data[: at + 10 * (at % 188 < 5 or at % 192 < 5)]


def joined(*parts: bytes) -> bytes:
    return b"".join(parts)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """A function that gives a recording's bytes: by its name, when it starts, and how long its sound is."""
    folder = tmp_path_factory.mktemp("recordings")

    @cache
    def make(name: str, start: str = "at 0", sound: str = "none", frames: int = FRAMES) -> bytes:
        file = folder / f"{start}-{sound}-{frames}.{name}"
        return write(file, KINDS[name], SOUNDS_S[sound], STARTS_S[start], frames, wh=WH).read_bytes()

    return make


@pytest.fixture
def outcome(tmp_path: Path) -> Callable[[str, bytes], tuple[int, str]]:
    """A function that gives how many frames come of a file of these bytes, and what ended them."""

    def see(name: str, data: bytes) -> tuple[int, str]:
        file = tmp_path / f"recording.{name}"
        file.write_bytes(data)
        frames, problem = play(file)
        return frames, problem.removeprefix(f"{file}: ")

    return see


@pytest.mark.parametrize(("name", "start"), CELLS)
def test_a_whole_recording_is_whole_wherever_its_clock_begins(
    name: str, start: str, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    assert outcome(name, recording(name, start)) == (FRAMES, "")


@pytest.mark.one_in(5)
@pytest.mark.parametrize("percent", [30, 70, 99])
@pytest.mark.parametrize(("name", "start"), [cell for cell in CELLS if cell[0] != "h264"])
def test_a_recording_that_was_cut_off_is_incomplete_wherever_its_clock_begins(
    name: str,
    start: str,
    percent: int,
    recording: Callable[..., bytes],
    outcome: Callable[..., tuple[int, str]],
) -> None:
    whole = recording(name, start)

    frames, problem = outcome(name, cut(whole, percent))

    assert 0 <= frames <= FRAMES
    assert re.fullmatch(r"incomplete: (\d+ frames .*; the file ends early|its index .*)", problem)


@pytest.mark.one_in(7)
@pytest.mark.parametrize("percent", [30, 70, 99])
@pytest.mark.parametrize("sound", ["shorter", "longer"])
@pytest.mark.parametrize("name", [name for name in KINDS if name not in RAW])
def test_a_recording_with_sound_that_was_cut_off_is_incomplete(
    name: str,
    sound: str,
    percent: int,
    recording: Callable[..., bytes],
    outcome: Callable[..., tuple[int, str]],
) -> None:
    whole = recording(name, sound=sound)

    assert outcome(name, whole) == (FRAMES, "")
    assert "incomplete: " in outcome(name, cut(whole, percent))[1]


@pytest.mark.parametrize("name", KINDS)
def test_a_recording_of_one_frame_is_whole(
    name: str, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    assert outcome(name, recording(name, frames=1)) == (1, "")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("what", ["zeros", "many zeros", "garbage", "text"])
@pytest.mark.parametrize("name", KINDS)
def test_what_follows_the_end_is_no_part_of_the_recording(
    name: str, what: str, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    after = {
        "zeros": bytes(500),
        "many zeros": bytes(2_000_000),
        "garbage": random.Random(7).randbytes(100_000),
        "text": b"<p>copied by a browser</p>\n" * 50,
    }

    assert outcome(name, recording(name) + after[what]) == (FRAMES, "")


@pytest.mark.parametrize("name", ["mkv", "live.mkv", "webm", "ts", "m2ts", "mjpeg", "h264"])
def test_recordings_that_were_joined_are_read_to_the_end_of_the_last(
    name: str, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    assert outcome(name, recording(name) * 2) == (2 * FRAMES, "")


@pytest.mark.parametrize("name", ["mp4", "start.mp4", "mov"])
def test_a_recording_that_follows_another_unread_is_reported(
    name: str, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    problem = (
        f"incomplete: {FRAMES} frames of about {FRAMES} read; another recording follows in the same file"
    )

    assert outcome(name, recording(name) * 2) == (FRAMES, f"{problem} and is not read")


@pytest.mark.parametrize("order", [("wrapped", "at 0"), ("at 0", "late"), ("late", "at 0")])
def test_joined_transport_streams_are_whole_whatever_their_clocks_do(
    order: tuple[str, str], recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    data = joined(*(recording("ts", start) for start in order))

    assert outcome("ts", data) == (2 * FRAMES, "")


@pytest.mark.one_in(5)
@pytest.mark.parametrize("sound_s", [0.0, 12.0], ids=["silent", "sound goes on"])
@pytest.mark.parametrize("name", ["mp4", "parts.mp4", "mkv", "webm", "flv", "ts"])
@pytest.mark.parametrize("pause_at", [50, FRAMES - 1], ids=["in the midst", "before the last"])
def test_a_pause_of_the_pictures_is_no_hole(name: str, pause_at: int, sound_s: float, tmp_path: Path) -> None:
    def time_ms(number: int) -> int:
        return number * 1000 // RATE_HZ + 8_000 * (number >= pause_at)

    file = write(tmp_path / f"paused.{name}", KINDS[name], sound_s, time_ms=time_ms, wh=WH)

    assert play(file) == (FRAMES, "")


def test_stuffing_of_a_constant_rate_is_no_hole(
    recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    data = recording("ts")
    middle = len(data) // 2 // 188 * 188
    stuffing = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 3000

    assert outcome("ts", data[:middle] + stuffing + data[middle:]) == (FRAMES, "")


def test_pictures_after_a_hole_in_a_transport_stream_are_read(
    recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    data = recording("ts")
    middle = len(data) // 2 // 188 * 188

    frames, problem = outcome("ts", data[:middle] + bytes(2_000_000) + data[middle:])

    assert frames >= FRAMES - 2
    assert problem == f"incomplete: {frames} frames read; a part of the file cannot be read"


def with_counts(avi: bytes, count: int, has_index: bool = True, is_closed: bool = True) -> bytes:
    """An AVI whose header states a frame count, without lengths if its recorder died."""
    data = bytearray(avi if has_index else avi[: avi.index(b"idx1")])
    header, stream, movie = data.index(b"avih"), data.index(b"strh"), data.index(b"movi") - 8
    for at in (header + 8 + 16, stream + 8 + 32):
        data[at : at + 4] = count.to_bytes(4, "little")
    data[4:8] = (len(data) - 8 if is_closed else 0).to_bytes(4, "little")
    if not is_closed:
        data[movie + 4 : movie + 8] = bytes(4)
    return bytes(data)


def in_two_parts(avi: bytes) -> bytes:
    """An AVI of OpenDML, which begins a second RIFF where the first one is long."""
    data = with_counts(avi, FRAMES, has_index=False)
    movie = data.index(b"movi") - 8
    at, middle = movie + 12, (movie + len(data)) // 2
    while at < middle:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    rest = data[at:]
    lists = [
        b"LIST" + (4 + len(part)).to_bytes(4, "little") + b"movi" + part
        for part in (data[movie + 12 : at], rest)
    ]
    first, second = data[12:movie] + lists[0], lists[1]
    return joined(
        *(b"RIFF", (4 + len(first)).to_bytes(4, "little"), b"AVI ", first),
        *(b"RIFF", (4 + len(second)).to_bytes(4, "little"), b"AVIX", second),
    )


@pytest.mark.parametrize("name", ["avi", "mjpeg.avi"])
def test_an_avi_is_whole_whatever_its_header_counts_where_its_index_is_there(
    name: str, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    for count in (0, 60, FRAMES, 1000):
        assert outcome(name, with_counts(recording(name), count)) == (FRAMES, "")


@pytest.mark.parametrize("name", ["avi", "mjpeg.avi"])
def test_an_avi_without_an_index_is_whole_and_in_two_parts_too(
    name: str, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    avi = recording(name)

    assert outcome(name, with_counts(avi, FRAMES, has_index=False)) == (FRAMES, "")
    assert outcome(name, in_two_parts(avi)) == (FRAMES, "")
    assert "the file ends early" in outcome(name, in_two_parts(avi)[: len(avi) * 8 // 10])[1]


@pytest.mark.parametrize("name", ["avi", "mjpeg.avi"])
def test_an_avi_that_was_never_closed_is_cut_off_where_a_chunk_is_torn(
    name: str, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    data = with_counts(recording(name), 0, has_index=False, is_closed=False)

    assert outcome(name, data) == (FRAMES, "")
    assert "the file ends early" in outcome(name, data[: len(data) * 7 // 10])[1]


def test_frames_that_a_recorder_dropped_in_the_midst_of_an_avi_are_no_hole(tmp_path: Path) -> None:
    def time_ms(number: int) -> int:  # an avi holds one empty chunk for each ms of it
        return number * 1000 // RATE_HZ + 9_000 * (number >= 50)

    still = Kind("mpeg4", sound="mp2", codec_options={"qscale": "31", "g": "1000"})
    file = write(tmp_path / "parked.avi", still, time_ms=time_ms, wh=(32, 16))

    assert play(file) == (FRAMES, "")

    data = bytearray(file.read_bytes())
    begin = data.index(bytes(3).join([b"00dc", b"\0"]) + b"00dc")
    data[begin : begin + 60_000] = bytes(60_000)
    file.write_bytes(data)
    assert "a part of the file cannot be read" in play(file)[1]


@pytest.mark.parametrize("has_index", [True, False])
def test_frames_that_a_recorder_dropped_at_the_end_of_an_avi_are_not_missing(
    has_index: bool, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    avi, dropped = recording("avi"), b"00dc" + bytes(4)
    index = avi.index(b"idx1")
    entries = b"".join(dropped[:4] + bytes(12) for _ in range(30))
    length = (int.from_bytes(avi[index + 4 : index + 8], "little") + len(entries)).to_bytes(4, "little")
    behind = b"idx1" + length + avi[index + 8 :] + entries
    data = bytearray(avi[:index] + dropped * 30 + behind * has_index)
    movie = data.index(b"movi") - 8
    end = int.from_bytes(data[movie + 4 : movie + 8], "little") + len(dropped) * 30
    data[movie + 4 : movie + 8] = end.to_bytes(4, "little")

    for at in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        data[at : at + 4] = (FRAMES + 30).to_bytes(4, "little")
    data[4:8] = (len(data) - 8).to_bytes(4, "little")

    assert outcome("avi", bytes(data)) == (FRAMES, "")


def test_a_length_that_counts_its_own_header_is_no_cut(
    recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    avi = recording("avi")

    assert outcome("avi", avi[:4] + len(avi).to_bytes(4, "little") + avi[8:]) == (FRAMES, "")


@pytest.mark.parametrize("left_out", [10, 60])
def test_what_an_edit_list_leaves_out_is_not_missing(
    left_out: int, recording: Callable[..., bytes], outcome: Callable[..., tuple[int, str]]
) -> None:
    data = bytearray(recording("mov"))
    at = data.index(b"elst") + 16
    begin = int.from_bytes(data[at : at + 4]) + left_out * 512  # a frame of 25 Hz in 12,800 Hz
    data[at : at + 4] = begin.to_bytes(4)

    assert outcome("mov", bytes(data)) == (FRAMES - left_out, "")


@pytest.mark.parametrize("data", [b"", bytes(10_000)], ids=["empty", "zeros"])
@pytest.mark.parametrize("name", ["mp4", "mkv", "avi", "ts", "h264"])
def test_a_file_with_nothing_in_it_says_so(
    name: str, data: bytes, outcome: Callable[..., tuple[int, str]]
) -> None:
    frames, problem = outcome(name, data)

    assert frames == 0
    assert problem == ("is not a readable video file" if data else "is empty")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("frames", [FRAMES, 1])
@pytest.mark.parametrize("name", KINDS)
def test_a_recording_is_whole_each_time_that_it_is_played(
    name: str, frames: int, recording: Callable[..., bytes], tmp_path: Path
) -> None:
    file = tmp_path / f"looped.{name}"
    file.write_bytes(recording(name, frames=frames))
    source = VideoSource(file)
    source.open()

    for _ in range(2):
        ids = [source.read().frame_id for _ in range(frames)]
        with pytest.raises(EndOfSource):
            source.read()
        source.rewind()

        assert ids == list(range(frames))
    source.close()
