"""Who gets the password of a stream: the server it is for, once its certificate has been verified."""

from __future__ import annotations

import base64
import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from clips import played

from perception.node import main
from perception.sources.network.tls import TlsSettings
from perception.sources.registry import Spec
from perception.sources.stream import StreamSource

PASSWORD = "hunter2"
USER = f"ann:{PASSWORD}"
TOKEN = base64.b64encode(USER.encode()).decode()
Route = Callable[["Request"], tuple[int, dict[str, str], bytes]]


class Request(BaseHTTPRequestHandler):
    """Answers by the server's route, and notes all that it was sent."""

    server: WebServer

    def do_GET(self) -> None:
        self.server.heads.append(f"{self.requestline}\n{self.headers}")
        status, headers, body = self.server.route(self)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class WebServer(ThreadingHTTPServer):
    """On loopback, encrypted or not."""

    daemon_threads = True

    def __init__(self, route: Route, certificate: trustme.LeafCert | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.route, self.heads = route, list[str]()
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up at a certificate is what is tested."""

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def url(self, path: str) -> str:
        return f"{self.scheme}://{USER}@127.0.0.1:{self.server_port}/{path}"

    @property
    def got_password(self) -> bool:
        return any("Authorization" in head or PASSWORD in head for head in self.heads)


Serve = Callable[..., WebServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that starts a server."""
    started: list[tuple[WebServer, threading.Thread]] = []

    def start(route: Route, certificate: trustme.LeafCert | None = None) -> WebServer:
        server = WebServer(route, certificate)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Trust:
    """An authority and its file, and a server's certificates good and bad."""

    file: str
    good: trustme.LeafCert
    bad: dict[str, trustme.LeafCert] = field(default_factory=dict)

    @property
    def tls(self) -> TlsSettings:
        return TlsSettings(ca=self.file)


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("trust") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    return Trust(
        str(file),
        authority.issue_cert("127.0.0.1", "localhost"),
        {
            "another authority's": trustme.CA().issue_cert("127.0.0.1"),
            "another host's": authority.issue_cert("evil.example"),
            "expired": authority.issue_cert("127.0.0.1", not_after=past),
        },
    )


@pytest.fixture
def guarded(make_clip: Callable[..., Path]) -> Route:
    """A clip of 15 frames for who sends the password, and else 401."""
    clip = make_clip("clip.ts", frames=15).read_bytes()

    def route(request: Request) -> tuple[int, dict[str, str], bytes]:
        if TOKEN in request.headers.get("Authorization", ""):
            return 200, {}, clip
        return 401, {"WWW-Authenticate": 'Basic realm="road"'}, b""

    return route


def frames_of(url: str, tls: TlsSettings | None = None) -> tuple[int, str]:
    """How many frames came, and what ended them, without the password."""
    frames, problem = played(StreamSource(url, 5.0, 2.0, tls=tls))
    assert PASSWORD not in problem
    return frames, problem


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_of_the_given_authority_is_trusted(
    host: str, serve: Serve, guarded: Route, trust: Trust
) -> None:
    server = serve(guarded, trust.good)

    frames, _ = frames_of(server.url("road.ts").replace("127.0.0.1", host), trust.tls)

    assert frames == 15
    assert server.got_password


@pytest.mark.parametrize("which", ["another authority's", "another host's", "expired"])
def test_a_bad_certificate_is_refused_before_anything_is_sent(
    which: str, serve: Serve, guarded: Route, trust: Trust
) -> None:
    server = serve(guarded, trust.bad[which])

    frames, problem = frames_of(server.url("road.ts"), trust.tls)

    assert frames == 0
    assert "cannot be opened: its certificate is not trusted: " in problem
    assert server.heads == []


def test_an_authority_that_the_system_does_not_know_is_not_trusted_by_default(
    serve: Serve, guarded: Route, trust: Trust
) -> None:
    server = serve(guarded, trust.good)

    frames, problem = frames_of(server.url("road.ts"))

    assert frames == 0
    assert problem.endswith("give the file of its authority as --tls-ca FILE")
    assert server.heads == []


def test_any_certificate_is_taken_if_the_user_insists(serve: Serve, guarded: Route, trust: Trust) -> None:
    server = serve(guarded, trust.bad["another host's"])

    assert frames_of(server.url("road.ts"), TlsSettings(is_insecure=True))[0] == 15


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_the_command_verifies_and_says_at_every_start_when_it_does_not(
    scheme: str, serve: Serve, guarded: Route, trust: Trust, capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve(guarded, trust.bad["another host's"])
    arguments = ["--source", server.url("road.ts").replace("https", scheme), "--max-frames", "3"]
    arguments += ["--model", "rt_s-int8", "--open_timeout_s", "20"]

    insecure = main([*arguments, "--tls-insecure"])

    err = capfd.readouterr().err
    assert insecure == 0, err
    assert "warning: tls_insecure: certificates of https, rtsps and mqtts are not verified" in err
    assert PASSWORD not in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--tls-ca", "nowhere.pem"], "nowhere.pem: cannot be read as certificates in PEM: No such file"),
        (["--tls-ca", __file__], "cannot be read as certificates in PEM"),
        (["--tls-ca", "a.pem", "--tls-insecure"], "leave one of them out"),
    ],
)
def test_authorities_that_cannot_be_used_are_one_line_at_the_start(
    arguments: list[str], problem: str, only_error_line: Callable[[str], str]
) -> None:
    status = main([*arguments, "--source", "https://127.0.0.1:9/road"])

    assert status == (2 if "leave one" in problem else 1)
    assert problem in only_error_line("drivable-node")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["other host", "other port"])
def test_a_redirect_elsewhere_is_followed_without_the_password_and_without_cookies(
    host: str, serve: Serve, guarded: Route
) -> None:
    elsewhere = serve(guarded)
    location = f"http://{host}:{elsewhere.server_port}/road.ts"
    first = serve(lambda _: (302, {"Location": location, "Set-Cookie": f"id={PASSWORD}"}, b""))

    frames, problem = frames_of(first.url("road.ts"))

    assert frames == 0
    assert "401 Unauthorized" in problem
    assert elsewhere.heads
    assert not elsewhere.got_password


def test_a_redirect_on_the_same_host_keeps_the_password(serve: Serve, guarded: Route) -> None:
    server = serve(
        lambda request: (
            (302, {"Location": "/moved.ts"}, b"") if request.path == "/road.ts" else guarded(request)
        )
    )

    assert frames_of(server.url("road.ts"))[0] == 15


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/road.ts", "concat:a|b"])
def test_a_redirect_to_anything_but_the_web_is_refused(location: str, serve: Serve) -> None:
    server = serve(lambda _: (302, {"Location": location}, b""))

    frames, problem = frames_of(server.url("road.ts"))

    assert (frames, len(server.heads)) == (0, 1)
    assert "cannot be opened" in problem


def test_neither_a_redirect_nor_a_playlist_leads_from_https_to_http(
    serve: Serve, guarded: Route, trust: Trust
) -> None:
    plain = serve(guarded)
    redirects = serve(lambda _: (302, {"Location": f"{plain.origin}/road.ts"}, b""), trust.good)
    lists = serve(lambda _: (200, {}, playlist(f"{plain.origin}/road.ts")), trust.good)

    problems = [
        frames_of(redirects.url("road.ts"), trust.tls)[1],
        frames_of(lists.url("road.m3u8"), trust.tls)[1],
    ]

    assert all("from https to http, which is not followed" in problem for problem in problems)
    assert plain.heads == []


def playlist(*parts: str) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2"]
    for part in parts:
        lines += ["#EXTINF:1.5,", part]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()


def test_parts_of_a_playlist_on_its_own_host_get_the_password(
    serve: Serve, guarded: Route, trust: Trust
) -> None:
    def route(request: Request) -> tuple[int, dict[str, str], bytes]:
        return (200, {}, playlist("road.ts")) if request.path.endswith("m3u8") else guarded(request)

    server = serve(route, trust.good)

    assert frames_of(server.url("road.m3u8"), trust.tls) == (15, "")


def test_parts_of_a_playlist_elsewhere_get_no_password(serve: Serve, guarded: Route) -> None:
    elsewhere = serve(guarded)
    server = serve(lambda _: (200, {}, playlist(f"http://localhost:{elsewhere.server_port}/road.ts")))

    frames, problem = frames_of(server.url("road.m3u8"))

    assert frames == 0
    assert "401 Unauthorized" in problem
    assert elsewhere.heads
    assert not elsewhere.got_password


def test_certificates_of_the_parts_of_a_playlist_are_verified(
    serve: Serve, guarded: Route, trust: Trust
) -> None:
    elsewhere = serve(guarded, trust.bad["another host's"])
    server = serve(lambda _: (200, {}, playlist(f"{elsewhere.origin}/road.ts")), trust.good)

    frames, problem = frames_of(server.url("road.m3u8"), trust.tls)

    assert frames == 0
    assert "its certificate is not trusted" in problem
    assert elsewhere.heads == []


@pytest.mark.parametrize(
    "part",
    [
        "file://CLIP",
        "concat:CLIP",
        "pipe:0",
        "subfile,,start,0,end,0,,:CLIP",
        "crypto+file://CLIP",
        "data:,x",
    ],
)
def test_a_playlist_from_the_web_opens_no_local_file(
    part: str, serve: Serve, make_clip: Callable[..., Path]
) -> None:
    part = part.replace("CLIP", str(make_clip("local.ts", frames=15)))
    server = serve(lambda _: (200, {}, playlist(part)))
    script = serve(lambda _: (200, {}, f"ffconcat version 1.0\nfile '{part}'\n".encode()))

    assert frames_of(server.url("road.m3u8"))[0] == 0
    assert frames_of(script.url("road.ffconcat"))[0] == 0


def test_a_download_that_breaks_off_goes_on_where_it_was(
    serve: Serve, make_clip: Callable[..., Path]
) -> None:
    clip = make_clip(frames=200, wh=(320, 240), container_options={"movflags": "faststart"}).read_bytes()
    cuts = [len(clip) // 3, len(clip) // 3]

    def route(request: Request) -> tuple[int, dict[str, str], bytes]:
        first = int(request.headers["Range"].removeprefix("bytes=").split("-")[0])
        return 206, {"Content-Range": f"bytes {first}-{len(clip) - 1}/{len(clip)}"}, clip[first:]

    class Cutting(Request):
        def do_GET(self) -> None:
            status, headers, body = route(self)
            self.send_response(status)
            self.send_header("Content-Range", headers["Content-Range"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body[: cuts.pop()] if cuts else body)

    server = serve(route)
    server.RequestHandlerClass = Cutting

    assert frames_of(server.url("clip.mp4")) == (200, "")
    assert cuts == []


def test_a_download_that_cannot_go_on_is_incomplete(serve: Serve, make_clip: Callable[..., Path]) -> None:
    clip = make_clip(frames=200, wh=(320, 240), container_options={"movflags": "faststart"}).read_bytes()
    size = len(clip)

    class Cutting(Request):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.write(clip[: size // 2])

    server = serve(lambda _: (404, {}, b""))
    server.RequestHandlerClass = Cutting

    frames, problem = frames_of(server.url("clip.mp4"))

    assert 50 < frames < 200
    assert f"frames of about 200 read; the connection was cut after {size // 2} of {size} bytes" in problem


class RtspServer:
    """Answers DESCRIBE by 401 without the password, 404 with it, or with a redirect."""

    def __init__(
        self, certificates: list[trustme.LeafCert] | None = None, location: str = "", asks: str = "Basic"
    ) -> None:
        self.heads: list[str] = []
        self._location, self._asks = location, asks
        self._contexts = []
        for certificate in certificates or []:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self._contexts.append(context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.scheme = "rtsps" if certificates else "rtsp"
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self) -> str:
        return f"{self.scheme}://{USER}@127.0.0.1:{self.port}/road"

    def close(self) -> None:
        self._listener.close()

    @property
    def got_password(self) -> bool:
        return any("Authorization" in head or PASSWORD in head for head in self.heads)

    def _accept(self) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                # each connection has the next certificate, and all after the last one that
                context = self._contexts[min(number, len(self._contexts) - 1)] if self._contexts else None
                number += 1
                threading.Thread(target=self._serve, args=(client, context), daemon=True).start()

    def _serve(self, client: socket.socket, context: ssl.SSLContext | None) -> None:
        with client, contextlib.suppress(OSError):
            connection = context.wrap_socket(client, server_side=True) if context else client
            with connection, connection.makefile("rb") as requests:
                head = ""
                for line in requests:
                    head += line.decode()
                    if not line.strip():
                        self.heads.append(head)
                        connection.sendall(self._answer(head).encode())
                        head = ""

    def _answer(self, head: str) -> str:
        number = next(line for line in head.splitlines() if line.lower().startswith("cseq"))
        if head.startswith("OPTIONS"):
            first, more = "200 OK", "Public: DESCRIBE, SETUP, PLAY\r\n"
        elif self._location:
            first, more = "302 Moved", f"Location: {self._location}\r\n"
        elif "Authorization" not in head:
            first, more = "401 Unauthorized", f'WWW-Authenticate: {self._asks} realm="road", nonce="5"\r\n'
        else:
            first, more = "404 Not Found", ""
        return f"RTSP/1.0 {first}\r\n{number}\r\n{more}\r\n"


@pytest.fixture
def camera() -> Iterator[Callable[..., RtspServer]]:
    """A function that starts an RTSP server."""
    started: list[RtspServer] = []

    def start(
        certificates: list[trustme.LeafCert] | None = None, location: str = "", asks: str = "Basic"
    ) -> RtspServer:
        started.append(RtspServer(certificates, location, asks))
        return started[-1]

    yield start
    for server in started:
        server.close()


Camera = Callable[..., RtspServer]


@pytest.mark.parametrize("asks", ["Basic", "Digest"])
def test_rtsps_of_the_given_authority_is_trusted(asks: str, camera: Camera, trust: Trust) -> None:
    server = camera([trust.good], asks=asks)

    assert "404 Not Found" in frames_of(server.url(), trust.tls)[1]
    assert server.got_password


@pytest.mark.parametrize("which", ["another authority's", "another host's", "expired"])
@pytest.mark.parametrize("good_first", [False, True], ids=["at once", "at the second connection"])
def test_rtsps_with_a_bad_certificate_is_refused_before_a_password_is_sent(
    which: str, good_first: bool, camera: Camera, trust: Trust
) -> None:
    server = camera([trust.good] * good_first + [trust.bad[which]])

    _, problem = frames_of(server.url(), trust.tls)

    assert "cannot be opened" in problem
    assert [head.split()[0] for head in server.heads if "Authorization" in head] == ["DESCRIBE"] * good_first
    assert good_first or "its certificate is not trusted" in problem


def test_rtsps_is_taken_with_any_certificate_if_the_user_insists(camera: Camera, trust: Trust) -> None:
    server = camera([trust.bad["another host's"]])

    assert "404 Not Found" in frames_of(server.url(), TlsSettings(is_insecure=True))[1]


@pytest.mark.parametrize("asks", ["Basic", "Digest"])
def test_an_rtsp_redirect_elsewhere_gets_no_password(asks: str, camera: Camera) -> None:
    elsewhere = camera(asks=asks)
    server = camera(location=f"rtsp://localhost:{elsewhere.port}/road?token={PASSWORD}")

    _, problem = frames_of(server.url())

    assert "redirects to rtsp://localhost" in problem
    assert "the password is not for there" in problem
    assert elsewhere.heads == []


def test_an_rtsp_redirect_without_an_end_is_one_line(camera: Camera) -> None:
    assert "redirects in a circle, or too often" in frames_of(camera(location="/road2").url())[1]


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
def test_schemes_are_known_in_capitals_too(scheme: str, camera: Camera) -> None:
    assert Spec.of(f"{scheme.upper()}://[::1]/road").kind == "stream"


def test_an_address_in_capitals_is_opened(serve: Serve, guarded: Route, camera: Camera) -> None:
    assert frames_of(serve(guarded).url("road.ts").replace("http:", "HTTP:"))[0] == 15
    assert "404 Not Found" in frames_of(camera().url().replace("rtsp:", "RTSP:"))[1]
