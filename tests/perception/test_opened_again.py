"""A live stream that is opened again: it is back with its first picture, and its silence ends it in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from itertools import accumulate
from pathlib import Path

import pytest
from rtsp_script import SDP, rtp_packets, serve
from web_server import serving

from perception.sources.source import SourceError
from perception.sources.stream import StreamSource

MakeClip = Callable[..., Path]
Sending = Callable[[MakeClip, Sequence[int]], "contextmanager[str]"]
FRAMES, RATE_HZ = 60, 25


@contextmanager
def sending_rtp(
    make_clip: MakeClip, lengths: Sequence[int], before: Callable[[str], None] = lambda method: None
) -> Iterator[str]:
    """A camera of RTSP that sends so many frames in each session, and then stays silent; its address."""
    clip = make_clip("road.h264", frames=FRAMES, rate_hz=RATE_HZ, options={"bf": "0", "g": "10"})
    packets = rtp_packets(clip)
    sessions = [packets[: _end_of_frame(packets, length)] for length in lengths]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script = (listener, SDP.replace(b"a=framerate:25\r\n", b""), sessions, before, True)
        threading.Thread(target=serve, args=script, daemon=True).start()
        yield f"rtsp://ann:secret@127.0.0.1:{listener.getsockname()[1]}/road"


@contextmanager
def sending_ts(make_clip: MakeClip, lengths: Sequence[int]) -> Iterator[str]:
    """The same by MPEG-TS over HTTP."""
    body = make_clip("road.ts", frames=FRAMES, rate_hz=RATE_HZ, options={"bf": "0", "g": "10"}).read_bytes()
    is_over, left = threading.Event(), iter(lengths)

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "video/mp2t")
        request.end_headers()
        request.wfile.write(body[: len(body) * next(left) // FRAMES])
        request.wfile.flush()
        is_over.wait(30)

    with serving({"road": answer}) as server:
        try:
            yield server.url("road")
        finally:
            is_over.set()


def _end_of_frame(packets: bytes, number: int) -> int:
    """Where the packets end of so many frames: the last of each carries RTP's marker."""
    sizes, at = [], 0
    while at < len(packets):
        sizes.append((4 + int.from_bytes(packets[at + 2 : at + 4], "big"), bool(packets[at + 5] & 0x80)))
        at += sizes[-1][0]
    ends = accumulate(size for size, _ in sizes)
    return [end for end, (_, is_last) in zip(ends, sizes, strict=True) if is_last][number - 1]


@pytest.mark.parametrize("sending", [sending_rtp, sending_ts])
def test_rate_that_was_measured_once_is_not_waited_for_again(sending: Sending, make_clip: MakeClip) -> None:
    with sending(make_clip, (FRAMES, 12)) as url:
        source = StreamSource(url)
        first = source.open()
        source.close()

        began_s = time.monotonic()
        again = source.open()
        took_s = time.monotonic() - began_s

        assert took_s < 3, "libav waits for more frames until its limit of 5 s"
        assert again.is_live
        assert (again.rate_hz, again.rate_kind) == (first.rate_hz, first.rate_kind)
        assert first.rate_hz == RATE_HZ
        assert source.read().frame_id == 0
        source.close()


def test_server_that_answers_at_last_has_time_for_the_rest(make_clip: MakeClip) -> None:
    """As one that was frozen, and thaws when the limit for its first answer is nearly over."""
    asked: list[str] = []

    def before(method: str) -> None:
        asked.append(method)
        time.sleep({"DESCRIBE": 1.7, "PLAY": 0.6}.get(method, 0) if asked.count(method) == 1 else 0)

    with sending_rtp(make_clip, (FRAMES,), before) as url:
        source = StreamSource(url, open_timeout_s=4.0, read_timeout_s=4.0)
        assert source.open().is_live
        source.close()


def test_silence_ends_a_stream_though_a_picture_was_held_back(make_clip: MakeClip) -> None:
    with sending_rtp(make_clip, (FRAMES,)) as url:
        source = StreamSource(url, read_timeout_s=1.0)
        source.open()
        waited_s = []

        def read_to_the_end() -> None:
            while True:
                began_s = time.monotonic()
                source.read()
                waited_s.append(time.monotonic() - began_s)

        with pytest.raises(SourceError, match=r"no frame for 1 s"):
            read_to_the_end()
        source.close()

    assert len(waited_s) >= FRAMES - 2
    assert max(waited_s) < 1.0
