"""A camera's side of RTSP for one client: an SDP and RTP packets as given, damaged or not."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av

RTP_CLOCK_HZ = 90_000
PAYLOAD_BYTES = 1200
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=road\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=control:*\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=framerate:25\r\na=fmtp:96 packetization-mode=1\r\n"
    b"a=control:track0\r\n"
)


def rtp_packets(clip: Path) -> bytes:
    """An Annex B file as RTP packets (RFC 6184), interleaved as RTSP over TCP has them."""
    sequence, stream = 0, b""
    with av.open(str(clip)) as container:
        for picture, packet in enumerate(container.demux(video=0)):
            units = [unit.rstrip(b"\0") for unit in bytes(packet).split(b"\0\0\1") if unit.strip(b"\0")]
            for last, payload in _payloads(units):
                marker = 0x80 if last else 0
                head = struct.pack(">BBHII", 0x80, marker | 96, sequence, picture * RTP_CLOCK_HZ // 25, 7)
                stream += b"$\0" + struct.pack(">H", len(head) + len(payload)) + head + payload
                sequence += 1
    return stream


def _payloads(units: list[bytes]) -> Iterator[tuple[bool, bytes]]:
    for number, unit in enumerate(units):
        is_last = number == len(units) - 1
        if len(unit) <= PAYLOAD_BYTES:
            yield is_last, unit
            continue
        indicator, kind, rest = unit[0] & 0xE0 | 28, unit[0] & 0x1F, unit[1:]
        parts = [rest[at : at + PAYLOAD_BYTES] for at in range(0, len(rest), PAYLOAD_BYTES)]
        for at, part in enumerate(parts):
            ends = at == len(parts) - 1
            flags = (0x80 if at == 0 else 0) | (0x40 if ends else 0) | kind
            yield is_last and ends, bytes([indicator, flags]) + part


def serve(
    listener: socket.socket,
    sdp: bytes,
    sessions: Sequence[bytes],
    before: Callable[[str], None] = lambda method: None,
    stays: bool = False,
) -> None:
    """Answer clients in turn until each of `sessions` was played: a client may only ask where the stream is.

    Args:
        listener: where clients come.
        sdp: what the stream is said to be.
        sessions: the packets of each.
        before: called with the method of every request before it is answered.
        stays: a session ends when its client hangs up, and not behind the last packet.
    """
    left = deque(sessions)
    with contextlib.suppress(OSError):  # nobody listens any more
        while left:
            client, _ = listener.accept()
            with contextlib.suppress(OSError), client, client.makefile("rb") as requests:
                while request := _request(requests):
                    method, number = request
                    before(method)
                    client.sendall(_answer(method, number, sdp))
                    if method == "PLAY":
                        client.sendall(left.popleft())
                        while stays and requests.read(1):
                            pass
                        break


def _request(lines: Iterator[bytes]) -> tuple[str, str] | None:
    method, number = "", "0"
    for line in lines:
        if not line.strip():
            return method, number
        method = method or line.split()[0].decode(errors="replace")
        if line.lower().startswith(b"cseq:"):
            number = line.split(b":")[1].strip().decode(errors="replace")
    return None


def _answer(method: str, number: str, sdp: bytes) -> bytes:
    head = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n"
    if method == "OPTIONS":
        head += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
    if method == "SETUP":
        head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
    body = sdp if method == "DESCRIBE" else b""
    if body:
        head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
