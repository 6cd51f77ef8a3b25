"""A live stream whose sender sets its clock or keeps another rate: masks are soon back, ages stay honest."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from perception.frame import Frame
from perception.sources import SourceSettings, build_source
from perception.sources.isolated.reader import IS_SUPPORTED
from perception.sources.source import NoFrame, Source

pytestmark = pytest.mark.skipif(not IS_SUPPORTED, reason="sources have processes of their own on Linux alone")

WH, RATE_HZ = (320, 240), 25
STEP_AT_S = 4.0
NOTHING = np.zeros((1, 1, 3), np.uint8)
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n"


@dataclass
class Sender:
    """MPEG-TS over HTTP, in real time."""

    step_s: float = 0.0
    rate_hz: float = RATE_HZ
    """That it keeps, whatever it announces."""
    sent_ns: list[int] = field(default_factory=list)
    """When each picture was handed to the network."""

    def serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                with contextlib.suppress(OSError), client:
                    client.recv(4096)
                    client.sendall(HEAD)
                    self._send(client)

    def _send(self, client: socket.socket) -> None:
        muxed = _Pipe(client)
        container, stream = _muxer(muxed)
        has_stepped = False
        began_s = time.monotonic()
        number = 0
        while True:
            at_s = number / self.rate_hz
            time.sleep(max(0.0, began_s + at_s - time.monotonic()))
            if at_s >= STEP_AT_S and not has_stepped:
                has_stepped = True
                container, stream = _muxer(muxed)  # one muxer takes no clock that goes back
            for packet in stream.encode(_picture(number)):
                stamp_s = 10_000 + at_s + (self.step_s if at_s >= STEP_AT_S else 0.0)
                packet.pts = packet.dts = round(stamp_s * 90_000)
                packet.time_base = Fraction(1, 90_000)
                self.sent_ns.append(time.monotonic_ns())
                container.mux(packet)
            number += 1


def _muxer(muxed: _Pipe) -> tuple[av.container.OutputContainer, av.VideoStream]:
    container = av.open(muxed, "w", format="mpegts", options={"flush_packets": "1"})
    stream = container.add_stream("mpeg2video", rate=RATE_HZ, options={"g": "5", "bf": "0"})
    stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *WH, "yuv420p", 2_000_000
    return container, stream


class _Pipe(io.RawIOBase):
    """What is muxed goes out at once."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._client.sendall(data)
        return len(data)


def _picture(number: int) -> av.VideoFrame:
    noise = np.random.default_rng(number).integers(60, 200, (12, 16, 3), np.uint8)
    return av.VideoFrame.from_ndarray(cv2.resize(noise, WH), format="bgr24")


Play = Callable[[Sender, float], list[tuple[int, Frame | NoFrame]]]


@pytest.fixture
def play() -> Iterator[Play]:
    """A function that reads a sender's stream for some seconds: what came, and when."""
    sources: list[Source] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def run(sender: Sender, seconds: float) -> list[tuple[int, Frame | NoFrame]]:
        threading.Thread(target=sender.serve, args=(listener,), daemon=True).start()
        source = build_source(f"http://127.0.0.1:{listener.getsockname()[1]}/road.ts", SourceSettings())
        sources.append(source)
        assert source.open().is_live
        seen: list[tuple[int, Frame | NoFrame]] = []
        until_ns = time.monotonic_ns() + round(seconds * 1e9)
        while time.monotonic_ns() < until_ns:
            item: Frame | NoFrame
            try:
                item = replace(source.read(), pixels=NOTHING)  # its memory is needed for other frames
            except NoFrame as silence:
                item = silence
            seen.append((time.monotonic_ns(), item))
        return seen

    yield run
    for source in sources:
        source.close()
    listener.close()


@pytest.mark.one_in(3)
@pytest.mark.parametrize("step_s", [-3.0, 3.0, -7_200.0])
def test_clock_that_is_set_costs_at_most_a_second_of_masks(play: Play, step_s: float) -> None:
    sender = Sender(step_s=step_s)

    seen = play(sender, 6.5)

    frames = [(at_ns, item) for at_ns, item in seen if isinstance(item, Frame)]
    good_ns = [at_ns for at_ns, frame in frames if at_ns - frame.captured_ns < 500_000_000]
    step_ns = sender.sent_ns[round(STEP_AT_S * RATE_HZ)]
    assert frames[0][0] < step_ns - 200_000_000 < good_ns[-1] - 1_500_000_000
    assert max(later - before for before, later in pairwise(good_ns)) < 1_000_000_000
    assert frames[-1][0] - good_ns[-1] < 200_000_000
    times_ns = [frame.time_ns for _, frame in frames]
    assert times_ns == sorted(set(times_ns))
    assert times_ns[-1] < 9_000_000_000


def test_no_frame_is_taken_for_fresher_than_it_is(play: Play) -> None:
    """What came while the stream was looked at is as old as that took."""
    sender = Sender()

    seen = play(sender, 2.0)

    frames = [(at_ns, item) for at_ns, item in seen if isinstance(item, Frame)]
    true_s = [(at_ns - sender.sent_ns[frame.frame_id]) / 1e9 for at_ns, frame in frames]
    seen_s = [(at_ns - frame.captured_ns) / 1e9 for at_ns, frame in frames]
    assert true_s[0] > 0.5
    assert min(seen - true for seen, true in zip(seen_s, true_s, strict=True)) > -0.1
    assert seen_s[-1] < 0.3


@pytest.mark.one_in(2)
@pytest.mark.parametrize("rate_hz", [8.0, 50.0])
def test_rate_that_is_not_the_announced_one_is_learnt(play: Play, rate_hz: float) -> None:
    seen = play(Sender(rate_hz=rate_hz), 5.0)

    first_ns = next(at_ns for at_ns, item in seen if isinstance(item, Frame))
    later = [item for at_ns, item in seen if at_ns > first_ns + 2_200_000_000]
    silences_s = [float(str(item).split()[3]) for item in later if isinstance(item, NoFrame)]
    assert [it for it in silences_s if it < 2.5 / rate_hz] == []  # a busy machine may be late by more
    assert sum(isinstance(item, Frame) for item in later) > 1.5 * rate_hz
