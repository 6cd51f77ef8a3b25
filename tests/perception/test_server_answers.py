"""Servers that give no video: one line says what the address answered, and what to do."""

from __future__ import annotations

import contextlib
import errno
import gzip
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from clips import frames_of

from perception.sources.network.tls import TlsSettings
from perception.sources.source import SourceError
from perception.sources.stream import RtspTransport, StreamSource

Answer = Callable[[str], bytes]
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=road\r\nt=0 0\r\n"
VIDEO = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\n"


class Server:
    """Answers every request of every connection by a function of its head; nothing hangs up."""

    def __init__(self, answer: Answer, certificate: trustme.LeafCert | None = None) -> None:
        self.heads: list[str] = []
        self._answer = answer
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if certificate and self._context:
            certificate.configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, scheme: str, path: str = "road", user: str = "") -> str:
        return f"{scheme}://{user}127.0.0.1:{self.port}/{path}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            connection = self._context.wrap_socket(client, server_side=True) if self._context else client
            with connection, connection.makefile("rb") as requests:
                head = ""
                for line in requests:
                    head += line.decode("latin-1")
                    if not line.strip():
                        self.heads.append(head)
                        answer = self._answer(head)
                        connection.sendall(answer)
                        if not answer.startswith(b"RTSP"):
                            return
                        head = ""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """A function that starts a server."""
    started: list[Server] = []

    def start(answer: Answer, certificate: trustme.LeafCert | None = None) -> Server:
        started.append(Server(answer, certificate))
        return started[-1]

    yield start
    for server in started:
        server.close()


Serve = Callable[..., Server]


def problem_of(url: str, transport: RtspTransport = "auto", tls: TlsSettings | None = None) -> str:
    source = StreamSource(url, 4.0, 1.0, transport, tls)
    with pytest.raises(SourceError) as caught:
        source.open()
    source.close()
    message = str(caught.value)
    assert "hunter2" not in message
    assert "\n" not in message
    return message.partition("cannot be opened: ")[2] or message


def frame_count(url: str) -> int:
    """Of a recording."""
    source = StreamSource(url, 4.0, 2.0)
    with contextlib.closing(source):
        assert not source.open().is_live
        return len(list(frames_of(source, is_open=True)))


def http(status: str, *headers: str, body: bytes = b"") -> Answer:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return lambda _: "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (http("403 Forbidden"), "answers 403 Forbidden: this user may not see it"),
        (http("404 Not Found"), "answers 404 Not Found: it has nothing under that path"),
        (http("404"), "answers 404 Not Found"),
        (http("500 Oops"), "answers 500 Oops: the fault is the server's own"),
        (http("503 Service Unavailable", "Retry-After: 5"), "it is busy, or not ready yet; try again later"),
        (http("418 I'm a teapot"), "answers 418 I'm a teapot"),
        (
            http("401 Unauthorized", 'WWW-Authenticate: Digest realm="a", nonce="1"'),
            "asks for a user and a password",
        ),
        (http("401 Unauthorized"), "asks for a user and a password"),
        (
            http("401 Unauthorized", "WWW-Authenticate: NTLM"),
            "asks for a password by NTLM, which is not supported",
        ),
        (
            http("200 OK", "Content-Type: text/html", body=b"\n<!doctype HTML>..."),
            "200 OK, text/html: a web page",
        ),
        (http("200 OK", "Content-Type: video/mp4", body=b"<html>..."), "200 OK, video/mp4: a web page"),
        (http("200 OK", "Content-Type: application/json", body=b"{}"), "json: not a readable video"),
        (http("200 OK", body=b"hello" * 99), "200 OK, without a type: not a readable video"),
        (http("200 OK", "Content-Type: video/mp4"), "200 OK, video/mp4, but sends nothing"),
        (http("204 No Content"), "204 No Content, without a type, but sends nothing"),
        (http("302 Found", "Location: /road"), "redirects in a circle, or too often"),
        (http("302 Found"), "answers 302 without a location"),
        (http("301 Moved", "Location: rtsp://cam/road"), "redirects to rtsp://, which is not followed"),
        (lambda _: b"RTSP/1.0 400 Bad Request\r\n\r\n", "answers RTSP, not HTTP; is it rtsp://?"),
        (lambda _: b"\x15\x03\x01\0\2\2\n", "answers encrypted, not HTTP; is it https://?"),
        (lambda _: b"SSH-2.0-OpenSSH_9\r\n", "answers SSH, not HTTP"),
        (lambda _: b"hello\r\n", "does not answer in HTTP"),
        (lambda _: b"", "closes the connection without an answer"),
    ],
)
def test_what_a_web_server_answers_is_reported(answer: Answer, problem: str, serve: Serve) -> None:
    assert problem in problem_of(serve(answer).url("http"))


def rtsp(status: str, *headers: str, body: str = "", methods: str = "DESCRIBE SETUP PLAY") -> Answer:
    """This to these methods, and what is well to all others."""

    def answer(head: str) -> bytes:
        method = head.split()[0]
        number = next(line for line in head.splitlines() if line.lower().startswith("cseq"))
        first, lines, text = "200 OK", ("Public: DESCRIBE, SETUP, PLAY",), ""
        if method in methods.split():
            first, lines, text = status, headers, body
        elif method == "DESCRIBE":
            text = SDP + VIDEO
        lines = (*lines, f"Content-Length: {len(text)}", *(["Content-Type: application/sdp"] if text else []))
        return "\r\n".join([f"RTSP/1.0 {first}", number, *lines, "", text]).encode()

    return answer


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (rtsp("401 Unauthorized", 'WWW-Authenticate: Basic realm="a"'), "asks for a user and a password"),
        (rtsp("403 Forbidden"), "answers 403 Forbidden: this user may not see it"),
        (rtsp("404 Stream Not Found"), "answers 404 Stream Not Found: it has nothing under that path"),
        (rtsp("453 x", methods="SETUP"), "453 Not Enough Bandwidth: it has no bandwidth left"),
        (rtsp("454 x", methods="SETUP"), "454 Session Not Found: it has lost the session"),
        (rtsp("461 x", methods="SETUP"), "461 Unsupported Transport: it does not support"),
        (
            rtsp("500 Internal Server Error"),
            "answers 500 Internal Server Error: the fault is the server's own",
        ),
        (rtsp("503 Service Unavailable"), "it is busy, or not ready yet"),
        (rtsp("200 OK", body=SDP, methods="DESCRIBE"), "has no video stream"),
        (http("400 Bad Request"), "answers HTTP, not RTSP; is it http://?"),
        (lambda _: b"<!DOCTYPE HTML>\n", "answers HTTP, not RTSP; is it http://?"),
        (lambda _: b"\x15\x03\x01\0\2\2\n", "answers encrypted, not RTSP; is it rtsps://?"),
        (lambda _: b"hello\r\n", "does not answer in RTSP"),
        (lambda _: b"", "closes the connection without an answer"),
    ],
)
def test_what_an_rtsp_server_answers_is_reported(answer: Answer, problem: str, serve: Serve) -> None:
    assert problem in problem_of(serve(answer).url("rtsp"))


def test_an_rtsp_server_that_is_busy_for_a_moment_is_asked_once_more(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.sources.network.rtsp.BUSY_S", 0.01)
    described: list[str] = []

    def answer(head: str) -> bytes:
        described.extend(["DESCRIBE"] * head.startswith("DESCRIBE"))
        return rtsp("503 Busy" if len(described) < 2 else "404 Not Found")(head)

    assert "404 Not Found" in problem_of(serve(answer).url("rtsp"))
    assert len(described) == 3, "the last one asks what is the matter"


def test_an_rtsp_server_that_falls_silent_is_no_bad_video(serve: Serve) -> None:
    def answer(head: str) -> bytes:
        if head.startswith("DESCRIBE"):
            threading.Event().wait(5)
            return b""
        return rtsp("200 OK", methods="OPTIONS")(head)

    with pytest.raises(SourceError, match=r"no video within 1(\.\d)? s"):
        StreamSource(serve(answer).url("rtsp"), 1.0, 0.5).open()


def test_silence_is_reported_with_the_time_waited(serve: Serve) -> None:
    def answer(_: str) -> bytes:
        threading.Event().wait(5)
        return b""

    url = serve(answer).url("rtsp").replace("//", "//ann:secret@")
    with pytest.raises(SourceError, match=r"no video within 0\.[5-9] s"):
        StreamSource(url, 1.0, 0.5).open()


def test_over_rtsp_nothing_but_video_is_asked_for(serve: Serve) -> None:
    sound = "m=audio 0 RTP/AVP 0\r\na=control:sound\r\n"
    beside = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:beside\r\n"

    def answer(head: str) -> bytes:
        if head.startswith("DESCRIBE"):
            return rtsp("200 OK", body=SDP + sound + beside + VIDEO, methods="DESCRIBE")(head)
        return rtsp("453 x", methods="SETUP")(head)

    server = serve(answer)

    assert "453 Not Enough Bandwidth" in problem_of(server.url("rtsp"))
    asked = {head.split()[1].rpartition("/")[2] for head in server.heads if head.startswith("SETUP")}
    assert asked == {"track0"}


def test_a_redirect_from_rtsp_to_another_protocol_is_reported(serve: Serve) -> None:
    server = serve(rtsp("302 Moved", "Location: http://10.0.0.7/road"))

    problem = problem_of(server.url("rtsp"))

    assert problem == "redirects to http://10.0.0.7/road; give that address as the source if you trust it"


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
@pytest.mark.parametrize("user", ["ann:hunter2@", "ann@"])
def test_a_refused_password_is_sent_once_and_reported(scheme: str, user: str, serve: Serve) -> None:
    kind = {"http": http, "rtsp": rtsp}[scheme]
    server = serve(kind("401 Unauthorized", 'WWW-Authenticate: Digest realm="a", nonce="1", qop="auth"'))

    problem = problem_of(server.url(scheme, user=user))

    assert ("refuses this user or password" if "hunter2" in user else "without a password") in problem
    if scheme == "http":
        assert ["Authorization" in head for head in server.heads] == [False, True]


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_digest_unknown_over_rtsp_works_over_http_or_is_reported(scheme: str, serve: Serve) -> None:
    kind = {"http": http, "rtsp": rtsp}[scheme]
    refused = kind("401 Unauthorized", 'WWW-Authenticate: Digest realm="a", nonce="1", algorithm=SHA-256')
    found = kind("404 Not Found") if scheme == "http" else rtsp("200 OK", methods="")
    server = serve(lambda head: (found if "SHA-256" in head else refused)(head))

    problem = problem_of(server.url(scheme, user="ann:hunter2@"))

    assert ("404 Not Found" if scheme == "http" else "by Digest SHA-256") in problem


def test_a_stale_nonce_is_answered_again(serve: Serve) -> None:
    answers = iter(["nonce=1", "nonce=2, stale=true", ""])

    def answer(head: str) -> bytes:
        nonce = next(answers)
        if not nonce:
            return http("404 Not Found")(head)
        return http("401 Unauthorized", f"WWW-Authenticate: Digest realm=a, {nonce}")(head)

    server = serve(answer)

    assert "404 Not Found" in problem_of(server.url("http", user="ann:hunter2@"))
    assert 'nonce="2"' in server.heads[-1]


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "rtsps"])
@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
            "Connection refused: nothing listens",
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "no host of that name; / ? # and at",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
            "no host of that name can be found: no name server",
        ),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable: there is no way"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "No route to host: there is no way"),
    ],
)
def test_a_host_that_is_not_reached_is_reported(
    scheme: str, error: OSError, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("socket.create_connection", fail)

    assert problem in problem_of(f"{scheme}://127.0.0.1:1/live/2@b")


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_port_at_which_nobody_listens_is_reported(scheme: str) -> None:
    assert "Connection refused: nothing listens on port 1 there" in problem_of(
        f"{scheme.upper()}://127.0.0.1:1/"
    )


def test_an_encrypted_port_and_one_that_is_not_are_distinguished(serve: Serve, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = TlsSettings(ca=str(tmp_path / "ca.pem"))

    def refuse(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as client:
                    client.recv(1 << 16)
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, args=(listener,), daemon=True).start()
        for scheme in ("http", "rtsp"):
            problem = problem_of(f"{scheme}s://127.0.0.1:{listener.getsockname()[1]}/road", tls=tls)
            assert f"does not answer encrypted; is it {scheme}://?" in problem


def test_an_mp4_whose_index_is_at_its_end_plays_without_ranges(
    make_clip: Callable[..., Path], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(frames=120, wh=(320, 240)).read_bytes()
    server = serve(http("200 OK", "Content-Type: video/mp4", body=clip))
    frames = frame_count(server.url("http"))
    monkeypatch.setattr("perception.sources.network.body.KEPT_BYTES", 10)
    problem = problem_of(server.url("http"))

    assert frames == 120
    assert problem.startswith(
        "the index of this mp4 is at its end, the server gives no ranges, and the whole"
    )
    assert "move the index to the front (ffmpeg -movflags +faststart)" in problem


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_mp4_whose_index_is_at_its_end_plays_without_a_length(
    is_whole: bool, make_clip: Callable[..., Path], serve: Serve
) -> None:
    clip = make_clip(frames=120, wh=(320, 240)).read_bytes()
    chunks = b"%x\r\n" % len(clip) + clip + b"\r\n0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    server = serve(lambda _: head + (chunks if is_whole else chunks[:-9]))

    if is_whole:
        assert frame_count(server.url("http")) == 120
    else:
        assert "the connection was cut after " in problem_of(server.url("http"))


@pytest.mark.parametrize(
    "status",
    [
        *("400 Bad Request", "403 Forbidden", "405 Method Not Allowed", "416 Range Not Satisfiable"),
        *("500 Internal Server Error", "501 Not Implemented"),
    ],
)
def test_a_server_that_stumbles_over_ranges_is_asked_for_all(
    status: str, make_clip: Callable[..., Path], serve: Serve
) -> None:
    clip = make_clip("clip.ts", frames=10).read_bytes()
    server = serve(lambda head: (http(status) if "Range" in head else http("200 OK", body=clip))(head))

    assert frame_count(server.url("http", "clip.ts")) == 10


def test_a_cookie_goes_back_to_who_gave_it(make_clip: Callable[..., Path], serve: Serve) -> None:
    clip = make_clip("clip.ts", frames=10).read_bytes()
    give = http("302 Found", "Set-Cookie: id=secret; Path=/", "Location: /clip.ts")
    server = serve(lambda head: (http("200 OK", body=clip) if "Cookie: id=secret" in head else give)(head))

    assert frame_count(server.url("http", "clip.ts")) == 10


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
def test_a_playlist_that_is_packed_unasked_is_read(
    encoding: str, make_clip: Callable[..., Path], serve: Serve
) -> None:
    text = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.ts\n#EXT-X-ENDLIST\n" + b"#" * 200_000
    packed = zlib.compress(text) if encoding == "deflate" else gzip.compress(text)
    playlist = http("200 OK", f"Content-Encoding: {encoding}", body=packed)
    clip = http("200 OK", body=make_clip("clip.ts", frames=10).read_bytes())
    server = serve(lambda head: (playlist if "m3u8" in head else clip)(head))

    assert frame_count(server.url("http", "road.m3u8")) == 10


def test_a_packed_answer_that_cannot_be_unpacked_is_reported(serve: Serve) -> None:
    text = gzip.compress(b"#EXTM3U\n" + bytes(range(256)) * 1000)
    cut = serve(http("200 OK", "Content-Encoding: gzip", body=text[:-20]))
    other = serve(http("200 OK", "Content-Encoding: br", body=text))

    assert "the connection was cut after " in problem_of(cut.url("http", "road.m3u8"))
    assert "the server compresses its answer (br), which is not supported" in problem_of(other.url("http"))


def test_a_server_that_gives_another_part_than_was_asked_for_is_not_believed(
    make_clip: Callable[..., Path], serve: Serve
) -> None:
    clip = make_clip(frames=200, wh=(320, 240), options={"qp": "1"}).read_bytes()
    lies = [f"Content-Range: bytes 0-{len(clip) - 1}/{len(clip)}", "Content-Type: video/mp4"]
    server = serve(http("206 Partial Content", *lies, body=clip))

    with pytest.raises(SourceError):
        frame_count(server.url("http", "clip.mp4"))


def test_what_another_host_answers_is_reported_of_that_host(serve: Serve) -> None:
    elsewhere = serve(http("401 Unauthorized", 'WWW-Authenticate: Basic realm="a"'))
    location = elsewhere.url("http").replace("127.0.0.1", "localhost")
    first = serve(http("302 Found", f"Location: {location}"))

    problem = problem_of(first.url("http", user="ann:hunter2@"))

    assert problem.startswith("it redirects to localhost, and there the server answers 401 Unauthorized")
    assert problem.endswith("the password given is not for there")


def test_a_proxy_that_is_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")

    assert "(127.0.0.1:1 is the proxy that http_proxy names)" in problem_of("http://10.0.0.7/road")


def test_a_proxy_gets_the_whole_address_and_the_password_for_it(
    make_clip: Callable[..., Path], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(http("200 OK", body=make_clip("clip.ts", frames=10).read_bytes()))
    monkeypatch.setenv("http_proxy", server.url("http", "", "ann:hunter%322@"))
    monkeypatch.setenv("no_proxy", "")

    assert frame_count("http://10.0.0.7/clip.ts?size=1") == 10
    assert server.heads[0].startswith("GET http://10.0.0.7/clip.ts?size=1 HTTP/1.1")
    assert "Host: 10.0.0.7" in server.heads[0]
    assert "Proxy-Authorization: Basic YW5uOmh1bnRlcjIy" in server.heads[0]


def test_through_a_proxy_what_is_encrypted_goes_by_a_tunnel(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(http("407 Proxy Authentication Required"))
    monkeypatch.setenv("https_proxy", server.url("http", "", "ann:hunter2@"))
    monkeypatch.setenv("no_proxy", "")

    problem = problem_of("https://10.0.0.7/road", tls=TlsSettings(is_insecure=True))

    assert "407 Proxy Authentication Required" in problem
    assert server.heads[0].startswith("CONNECT 10.0.0.7:443 ")
    assert "Proxy-Authorization: Basic YW5uOmh1bnRlcjI=" in server.heads[0]
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("file:///etc/passwd", "the server redirects to file://, which is not followed"),
        ("http://[7/road", "the server redirects to a malformed address"),
    ],
)
def test_a_redirect_that_is_not_followed_is_reported(location: str, problem: str, serve: Serve) -> None:
    assert problem in problem_of(serve(http("302 Found", f"Location: {location}")).url("http"))
