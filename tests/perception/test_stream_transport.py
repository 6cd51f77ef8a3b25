from __future__ import annotations

import re
import socket
import threading

import pytest

from perception.sources.source import SourceError
from perception.sources.stream import RtspTransport, StreamSource

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=road\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\n"
)


def refuse_every_transport(listener: socket.socket, asked: list[str]) -> None:
    """A camera that describes its stream, and answers each SETUP with 461, Unsupported Transport."""
    client, _ = listener.accept()
    with client, client.makefile("rb") as requests:
        head: list[str] = []
        for line in requests:
            if line.strip():
                head.append(line.decode().strip())
                continue
            method = head[0].split()[0]
            number = next(entry for entry in head if entry.lower().startswith("cseq"))
            asked.extend(entry for entry in head if entry.startswith("Transport:"))
            body = SDP if method == "DESCRIBE" else b""
            status = "461 Unsupported Transport" if method == "SETUP" else "200 OK"
            answer = f"RTSP/1.0 {status}\r\n{number}\r\nPublic: DESCRIBE, SETUP, PLAY\r\n"
            if body:
                answer += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            client.sendall(answer.encode() + b"\r\n" + body)
            head = []


@pytest.mark.parametrize(
    ("transport", "kinds"), [("auto", ["tcp", "udp"]), ("tcp", ["tcp"]), ("udp", ["udp"])]
)
def test_transports_that_are_asked_for_of_a_camera_that_refuses_all(
    transport: RtspTransport, kinds: list[str]
) -> None:
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse_every_transport, args=(listener, asked), daemon=True).start()
        source = StreamSource(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/road", 2.0, 1.0, transport)

        with pytest.raises(SourceError, match="cannot be opened"):
            source.open()

    assert ["tcp" if re.search("TCP|interleaved", header) else "udp" for header in asked] == kinds
