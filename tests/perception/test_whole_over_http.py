"""Recordings over HTTP: what a server loses is fetched again or reported."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import av
import pytest
from clips import FRAMES, Kind, played, write
from web_server import serving

from perception.sources.decoding.completeness import Completeness
from perception.sources.stream import StreamSource

KINDS = {
    "mp4": Kind("libx264"),
    "start.mp4": Kind("libx264", options={"movflags": "faststart"}),
    "mkv": Kind("libx264"),
    "avi": Kind("mpeg4"),
    "ts": Kind("libx264", "mpegts"),
    "flv": Kind("libx264"),
    "webm": Kind("libvpx"),
    "mjpeg": Kind("mjpeg", "mjpeg"),
}
WH = (96, 64)


@dataclass
class Faulty:
    """A server of one file that has a fault.

    - `quiet` hangs up after every answer and does not say that it will.
    - `once` breaks the first answer off, `reset` with a reset, `refuses` and answers 500 from then on.
    - `always` never gives the last part.
    - `short` states a length that is not the file's, and sends no more than that.
    - `no_ranges` breaks off, and gives no other part.
    """

    data: bytes
    fault: str
    answers: int = 0
    asked_from: list[int] = field(default_factory=list)

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        self.answers += 1
        whole = self.data[: len(self.data) * 7 // 10] if self.fault == "short" else self.data
        first = int(re.findall(r"\d+", request.headers["Range"])[0]) if self.fault != "no_ranges" else 0
        body = whole[first:]
        is_first = self.answers == 1
        if self.fault == "refuses" and not is_first:
            request.send_error(500)
            return
        request.send_response(200 if self.fault == "no_ranges" else 206)
        request.send_header("Content-Type", "application/octet-stream")
        request.send_header("Content-Range", f"bytes {first}-{len(whole) - 1}/{len(whole)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.fault in ("once", "reset", "refuses") and is_first:
            body = body[: len(body) // 2]
        if self.fault in ("always", "no_ranges"):
            body = body[: max(0, len(whole) * 7 // 10 - first)]
        request.close_connection = True
        request.wfile.write(body)
        if self.fault == "reset" and is_first:
            linger = struct.pack("ii", 1, 0)
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """A function that gives a recording's bytes."""
    folder = tmp_path_factory.mktemp("recordings")

    @cache
    def make(name: str) -> bytes:
        return write(folder / f"video.{name}", KINDS[name], wh=WH).read_bytes()

    return make


@pytest.mark.parametrize("fault", ["quiet", "once", "reset"])
@pytest.mark.parametrize("name", KINDS)
def test_every_picture_comes_where_the_server_gives_it_when_asked_again(
    name: str, fault: str, recording: Callable[[str], bytes]
) -> None:
    with serving({f"clip.{name}": Faulty(recording(name), fault)}) as server:
        assert played(StreamSource(server.url(f"clip.{name}"))) == (FRAMES, "")


@pytest.mark.parametrize("fault", ["refuses", "always", "short", "no_ranges"])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "mp4"])
def test_missing_pictures_are_reported(name: str, fault: str, recording: Callable[[str], bytes]) -> None:
    with serving({f"clip.{name}": Faulty(recording(name), fault)}) as server:
        frames, problem = played(StreamSource(server.url(f"clip.{name}")))

    assert 0 < frames < FRAMES
    if (name, fault) == ("ts", "short"):  # a whole packet may be its last one
        return
    why = "the file ends early" if fault == "short" else r"the connection was cut after \d+ of \d+ bytes"
    why += "; asked for the rest, .*500.*" if fault == "refuses" else ""
    assert re.search(rf"incomplete: {frames} frames .*read; {why}$", problem)


@pytest.mark.parametrize("percent", [30, 70, 99])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "ts"])
def test_a_file_that_was_cut_off_on_the_server_is_incomplete(
    name: str, percent: int, recording: Callable[[str], bytes]
) -> None:
    whole = recording(name)
    with serving({f"clip.{name}": Faulty(whole[: len(whole) * percent // 100], "quiet")}) as server:
        frames, problem = played(StreamSource(server.url(f"clip.{name}")))

    assert f"incomplete: {'its index (moov) is missing' if name == 'mp4' else f'{frames} frames '}" in problem


@pytest.mark.parametrize("fault", ["refuses", "always", "short", "no_ranges"])
def test_an_index_that_does_not_come_is_no_video(fault: str, recording: Callable[[str], bytes]) -> None:
    with serving({"clip.mp4": Faulty(recording("mp4"), fault)}) as server:
        frames, problem = played(StreamSource(server.url("clip.mp4")))

    why = {"short": r"incomplete: its index \(moov\) is missing", "refuses": "500"}
    assert frames == 0
    assert re.search(f"cannot be opened: .*{why.get(fault, 'the connection was cut after')}", problem)


@pytest.mark.parametrize("lost", [slice(0, 25), slice(40, 41), slice(99, 100)], ids=["first", "one", "last"])
def test_packets_that_the_index_names_and_libav_loses_are_reported(
    lost: slice, recording: Callable[[str], bytes], tmp_path: Path
) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(recording("mp4"))
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        completeness = Completeness(container, stream, 25.0)
        packets = [packet for packet in container.demux(stream) if packet.size]
        missing = packets[lost]
        del packets[lost]
        for packet in packets:
            completeness.read(packet)

        assert completeness.problem() == f"{len(missing)} packets listed in its index are missing"
