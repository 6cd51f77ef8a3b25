from __future__ import annotations

import contextlib
import itertools
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from perception.frame import Frame
from perception.imaging.yuv import Yuv420
from perception.sources.source import EndOfSource, Source, SourceError, SourceInfo
from perception.sources.stream import StreamSource, redacted_url
from perception.sources.video import VideoSource

BT709, FULL_RANGE = 1, 2
RED_BGR, BLUE_BGR = (30, 40, 200), (200, 60, 30)


def play(source: Source) -> tuple[SourceInfo, list[Frame], Exception]:
    """Everything a source gives, and how it ended."""
    info, frames = source.open(), []
    try:
        while True:
            frames.append(source.read())
    except (EndOfSource, SourceError) as end:
        return info, frames, end
    finally:
        source.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_every_frame_is_given_once_and_in_order(make_clip: Callable[..., Path], threads: int) -> None:
    info, frames, end = play(VideoSource(make_clip(frames=12), threads))

    assert isinstance(end, EndOfSource)
    assert (info.source_id, info.is_live, info.frame_wh, info.rate_hz) == ("clip.mp4", False, (64, 48), 10.0)
    assert [frame.frame_id for frame in frames] == list(range(12))
    assert [frame.time_ns for frame in frames] == [100_000_000 * i for i in range(12)]
    greys = [int(frame.image_bgr[-4, 4, 0]) for frame in frames]
    assert greys == sorted(greys)


def test_planes_are_the_decoders_own_memory_and_outlive_the_source(make_clip: Callable[..., Path]) -> None:
    _, frames, _ = play(VideoSource(make_clip(frames=30)))

    pixels = frames[0].pixels
    assert isinstance(pixels, Yuv420)
    assert not pixels.y.flags.owndata
    assert not pixels.y.flags.writeable
    np.testing.assert_allclose(frames[0].image_bgr[20, 10], RED_BGR, atol=6)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "matrix", "color_range"),
    [
        ("limited.mp4", "libx264", "yuv420p", None, None),
        ("limited709.mp4", "libx264", "yuv420p", BT709, None),
        ("full.mp4", "libx264", "yuv420p", None, FULL_RANGE),
        ("full709.mp4", "libx264", "yuv444p", BT709, FULL_RANGE),
        ("vp9full.webm", "libvpx-vp9", "yuv420p", None, FULL_RANGE),
        ("half.mp4", "libx264", "yuv422p", None, None),
        ("deep.mp4", "libx264", "yuv420p10le", BT709, None),
        ("mjpeg.mp4", "mjpeg", "yuvj420p", None, None),
        ("rgb.mkv", "ffv1", "bgr0", None, None),
    ],
)
def test_every_pixel_format_gives_the_same_colours(
    make_clip: Callable[..., Path],
    name: str,
    codec: str,
    pix_fmt: str,
    matrix: int | None,
    color_range: int | None,
) -> None:
    file = make_clip(name, 2, codec=codec, pix_fmt=pix_fmt, matrix=matrix, color_range=color_range)

    _, frames, _ = play(VideoSource(file))

    assert isinstance(frames[0].pixels, Yuv420)
    assert frames[0].pixels.matrix == ("bt709" if matrix == BT709 else "bt601")
    np.testing.assert_allclose(frames[0].image_bgr[24, 12], RED_BGR, atol=8)
    np.testing.assert_allclose(frames[0].image_bgr[24, 52], BLUE_BGR, atol=8)
    np.testing.assert_allclose(frames[0].image_bgr[4, 30], (255, 255, 255), atol=8)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.mp4", "libx264", "mp4"),
        ("a.MOV", "libx264", "mov"),
        ("a.mkv", "libx264", "matroska"),
        ("a.webm", "libvpx", "webm"),
    ],
)
def test_container_is_called_as_people_call_it(
    make_clip: Callable[..., Path], name: str, codec: str, container: str
) -> None:
    info, _, _ = play(VideoSource(make_clip(name, 2, codec=codec)))

    assert f"64x48 in {container}, about 2 frames" in info.description


def test_grey_video_stays_grey_at_full_contrast(make_clip: Callable[..., Path]) -> None:
    _, frames, _ = play(VideoSource(make_clip("grey.mkv", 2, codec="ffv1", pix_fmt="gray")))

    np.testing.assert_allclose(frames[0].image_bgr[4, 30], (255, 255, 255), atol=3)
    assert np.ptp(frames[0].image_bgr.astype(int), axis=2).max() <= 3


@pytest.mark.parametrize(("codec", "name"), [("ffv1", "odd.mkv"), ("libx264", "odd.mp4")])
def test_odd_sizes_keep_their_last_row_and_column(
    make_clip: Callable[..., Path], codec: str, name: str
) -> None:
    file = make_clip(name, 2, (61, 35), codec=codec, pix_fmt="yuv420p" if codec == "ffv1" else "yuv444p")

    info, frames, _ = play(VideoSource(file))

    pixels = frames[0].pixels
    assert isinstance(pixels, Yuv420)
    assert info.frame_wh == frames[0].frame_wh == (61, 35)
    assert pixels.u.shape == pixels.v.shape == (18, 31)
    np.testing.assert_allclose(frames[0].image_bgr[18, 60], BLUE_BGR, atol=10)


@pytest.mark.parametrize(
    ("rotation", "wh", "white_xy"),
    [(0, (64, 48), (32, 4)), (90, (48, 64), (4, 32)), (-90, (48, 64), (43, 32)), (180, (64, 48), (32, 43))],
)
def test_a_phone_held_upright_gives_upright_frames(
    make_clip: Callable[..., Path], rotation: int, wh: tuple[int, int], white_xy: tuple[int, int]
) -> None:
    info, frames, _ = play(VideoSource(make_clip(frames=2, rotation=rotation)))

    assert info.frame_wh == frames[0].frame_wh == wh
    np.testing.assert_allclose(frames[0].image_bgr[white_xy[1], white_xy[0]], (255, 255, 255), atol=8)


def test_a_variable_rate_is_kept(make_clip: Callable[..., Path]) -> None:
    pts = [5, 6, 9, 10]

    _, frames, _ = play(VideoSource(make_clip("vfr.mkv", 4, pts=pts, options={"bf": "0"})))

    assert [frame.time_ns for frame in frames] == [0, 100_000_000, 400_000_000, 500_000_000]


def test_a_video_without_times_runs_at_the_nominal_rate_and_may_change_size(
    make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    small, large = make_clip("small.h264", 3), make_clip("large.h264", 3, (96, 64))
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())

    info, frames, end = play(VideoSource(both))

    assert isinstance(end, EndOfSource)
    assert [frame.frame_wh for frame in frames] == [(64, 48)] * 3 + [(96, 64)] * 3
    period_ns = round(1e9 / info.rate_hz)
    assert [frame.time_ns for frame in frames] == [period_ns * i for i in range(6)]


def test_a_file_cut_in_half_gives_all_frames_up_to_the_cut_and_then_says_so(
    make_clip: Callable[..., Path],
) -> None:
    fast = {"movflags": "faststart"}
    file = make_clip("trip.mp4", 40, container_options=fast, options={"bf": "0", "g": "1"})
    whole = file.read_bytes()
    with av.open(str(file)) as container:
        entries = list(container.streams.video[0].index_entries)
    file.write_bytes(whole[: entries[25].pos + entries[25].size // 2])

    source = VideoSource(file)
    _, frames, end = play(source)

    assert [frame.frame_id for frame in frames] == list(range(25))
    assert isinstance(end, SourceError)
    assert str(end) == f"{file}: incomplete: 25 frames of about 40 read; the file ends early"
    assert source.decode_errors == 1


@pytest.mark.parametrize("name", ["cut.mkv", "cut.flv"])
def test_containers_without_an_index_are_known_to_be_cut_by_their_duration(
    make_clip: Callable[..., Path], name: str
) -> None:
    file = make_clip(name, 60, options={"bf": "0", "g": "1"})
    _, whole, end = play(VideoSource(file))
    assert isinstance(end, EndOfSource)

    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    _, half, end = play(VideoSource(file))

    assert 20 < len(half) < len(whole)
    assert isinstance(end, SourceError)
    assert "the file ends early" in str(end)


def test_undecodable_packets_are_passed_over_and_counted(make_clip: Callable[..., Path]) -> None:
    file = make_clip(frames=20, options={"bf": "0", "g": "1"})
    data = bytearray(file.read_bytes())
    with av.open(str(file)) as container:
        entry = container.streams.video[0].index_entries[10]
    data[entry.pos : entry.pos + entry.size] = bytes([255]) * entry.size
    file.write_bytes(data)

    source = VideoSource(file)
    _, frames, end = play(source)

    assert isinstance(end, EndOfSource)
    assert len(frames) == 19
    assert source.decode_errors == 1


def write_cut_before_index(file: Path, clip: Path) -> None:
    file.write_bytes(clip.read_bytes()[:400])


def test_a_playlist_without_an_end_gives_what_it_lists_and_ends_within_the_limit(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.sources.decoding.video_file.FILE_LIMIT_S", 0.3)
    part = make_clip("part.ts", 8)
    file = part.with_name("list.m3u8")
    file.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\n{part.name}\n")
    started_s = time.monotonic()

    _, frames, end = play(VideoSource(file))

    assert len(frames) == 8
    assert isinstance(end, EndOfSource)
    assert time.monotonic() - started_s < 3


def test_a_file_that_does_not_open_within_the_limit_is_reported(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.sources.decoding.video_file.FILE_LIMIT_S", 1e-6)

    with pytest.raises(SourceError, match=r"clip\.mp4: gives nothing for 10 s"):
        VideoSource(make_clip()).open()


def test_a_file_that_falls_silent_is_reported(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = VideoSource(make_clip())
    source.open()

    def fall_silent(decoder: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("perception.sources.decoding.decoder.Decoder.next", fall_silent)

    with pytest.raises(SourceError, match=r"clip\.mp4: gives nothing for 10 s"):
        source.read()
    source.close()


def write_text(file: Path, clip: Path) -> None:
    file.write_text("not a video\n" * 50)


def write_sound(file: Path, clip: Path) -> None:
    with av.open(str(file), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (lambda file, clip: None, "No such file"),
        (lambda file, clip: file.mkdir(), "is a directory"),
        (lambda file, clip: file.touch(), "is empty"),
        (write_text, "is not a readable video file"),
        (write_sound, "has no video stream"),
        (write_cut_before_index, "incomplete: its index (moov) is missing"),
    ],
)
def test_an_unusable_file_is_one_line_with_its_name(
    make_clip: Callable[..., Path], tmp_path: Path, write: Callable[[Path, Path], None], problem: str
) -> None:
    file = tmp_path / "trip: 1.mp4"
    write(file, make_clip())

    with pytest.raises(SourceError, match=re.escape(problem)) as caught:
        VideoSource(file).open()

    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_libav_prints_nothing(make_clip: Callable[..., Path]) -> None:
    file = make_clip(frames=20)
    data = bytearray(file.read_bytes())
    data[400:900] = bytes(500)
    file.write_bytes(data)
    script = (
        "import sys; from pathlib import Path; from perception.sources.video import VideoSource\n"
        "source = VideoSource(Path(sys.argv[1])); source.open()\n"
        "try:\n    while True: source.read()\nexcept Exception: pass\n"
    )

    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("", "")


def test_a_source_may_be_closed_before_open_and_twice(make_clip: Callable[..., Path]) -> None:
    source = VideoSource(make_clip())
    source.close()
    source.open()
    source.close()
    source.close()


class _Server(ThreadingHTTPServer):
    """Loopback HTTP: a file; MJPEG that ends, falls silent or turns to garbage; and silence."""

    daemon_threads = True
    file: Path
    release: threading.Event


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):  # the client has hung up
            getattr(self, f"_give_{self.path.strip('/').split('.')[0]}")()

    def _give_clip(self) -> None:
        data = self.server.file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _give_mjpeg(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=road")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
        for _ in range(30):
            self._give_part(jpeg)

    def _give_part(self, jpeg: bytes) -> None:
        head = f"--road\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        self.wfile.write(head.encode() + jpeg + b"\r\n")

    def _give_garbage(self) -> None:
        self._give_mjpeg()
        for _ in itertools.takewhile(lambda _: not self.server.release.wait(0.005), itertools.count()):
            self._give_part(b"\xff\xd8" + bytes(200))

    def _give_stall(self) -> None:
        self._give_mjpeg()
        self.server.release.wait(10)

    def _give_silence(self) -> None:
        self.server.release.wait(10)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(make_clip: Callable[..., Path]) -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.file = make_clip(frames=15, container_options={"movflags": "faststart"})
        server.release = threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


def url_of(server: _Server, path: str) -> str:
    return f"http://ann:secret@127.0.0.1:{server.server_address[1]}/{path}"


def test_a_file_over_http_is_a_recording_and_loses_nothing(server: _Server) -> None:
    info, frames, end = play(StreamSource(url_of(server, "clip.mp4")))

    assert isinstance(end, EndOfSource)
    assert not info.is_live
    assert len(frames) == 15
    assert frames[-1].time_ns == 1_400_000_000


def test_mjpeg_over_http_is_live_and_its_end_is_an_error(server: _Server) -> None:
    before_ns = time.monotonic_ns()
    info, frames, end = play(StreamSource(url_of(server, "mjpeg")))

    assert info.is_live
    assert info.frame_wh == frames[0].frame_wh == (64, 48)
    assert before_ns < frames[0].captured_ns < time.monotonic_ns()
    assert isinstance(end, SourceError)
    assert "the stream ended after 30 frames" in str(end)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("silence", r"no video within 0\.[5-9] s"),
        ("stall", "no frame for 0.1 s"),
        ("garbage", "no frame for 0.1 s"),
    ],
)
def test_a_stream_without_pictures_ends_within_its_limit(server: _Server, path: str, problem: str) -> None:
    started_s = time.monotonic()

    with pytest.raises(SourceError, match=problem) as caught:
        raise play(StreamSource(url_of(server, path), open_timeout_s=0.5, read_timeout_s=0.1))[2]

    assert time.monotonic() - started_s < 1.5
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_nobody_listening_is_one_line_without_the_password(scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started_s = time.monotonic()

    with pytest.raises(SourceError) as caught:
        StreamSource(f"{scheme}://ann:secret@127.0.0.1:{port}/road", open_timeout_s=1.0).open()

    assert time.monotonic() - started_s < 1.5
    shown = f"{scheme}://ann:***@127.0.0.1:{port}/road"
    assert (
        str(caught.value)
        == f"{shown}: cannot be opened: Connection refused: nothing listens on port {port} there"
    )
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://10.0.0.7:554/road", "rtsp://10.0.0.7:554/road"),
        ("rtsp://ann@10.0.0.7/road", "rtsp://ann@10.0.0.7/road"),
        ("rtsp://ann:se@c/r:et@10.0.0.7/road", "rtsp://ann:***@10.0.0.7/road"),
        ("RTSP://:secret@10.0.0.7/road", "RTSP://:***@10.0.0.7/road"),
        ("http://10.0.0.7/v?a=1&password=secret&b=2", "http://10.0.0.7/v?a=1&password=***&b=2"),
    ],
)
def test_passwords_are_masked_and_the_rest_is_kept(url: str, shown: str) -> None:
    assert redacted_url(url) == shown


def test_rewound_video_gives_the_same_frames_again(make_clip: Callable[..., Path]) -> None:
    source = VideoSource(make_clip(frames=5))
    source.open()
    first = [source.read() for _ in range(5)]
    with pytest.raises(EndOfSource):
        source.read()

    source.rewind()
    second = [source.read() for _ in range(5)]
    source.close()

    assert [(frame.frame_id, frame.time_ns) for frame in second] == [
        (frame.frame_id, frame.time_ns) for frame in first
    ]
    assert all(np.array_equal(a.image_bgr, b.image_bgr) for a, b in zip(first, second, strict=True))
