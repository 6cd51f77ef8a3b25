"""A web server for tests: answers by path, and notes what it was asked for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Page:
    """Bytes at a path, as servers give them."""

    body: bytes
    content_type: str = ""
    has_ranges: bool = True
    tells_length: bool = True
    is_chunked: bool = False
    cut_after: int | None = None
    location: str = ""

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        body, status = self.body, 302 if self.location else 200
        first, _, last = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        if self.has_ranges and not self.location:
            body, status = body[int(first) : int(last) + 1 if last else None], 206
        request.send_response(status)
        if self.location:
            request.send_header("Location", self.location)
        if self.content_type:
            request.send_header("Content-Type", self.content_type)
        if status == 206:
            end = int(first) + len(body) - 1
            request.send_header("Content-Range", f"bytes {first}-{end}/{len(self.body)}")
        if self.is_chunked:
            request.send_header("Transfer-Encoding", "chunked")
        elif self.tells_length:
            request.send_header("Content-Length", str(len(body)))
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        if self.is_chunked:
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body, b"") if part or body)
        request.wfile.write(body[: self.cut_after])


class Handler(BaseHTTPRequestHandler):
    """Answers by the server's pages."""

    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/")
        self.server.asked.append(path)
        page = self.server.pages.get(path)
        with contextlib.suppress(OSError):
            if page is None:
                self.send_error(404)
            elif isinstance(page, bytes | str):
                Page(page if isinstance(page, bytes) else page.encode())(self)
            else:
                page(self)

    def log_message(self, *_: object) -> None:
        pass


class WebServer(ThreadingHTTPServer):
    """On loopback."""

    daemon_threads = True

    def __init__(self, pages: dict[str, bytes | str | Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.asked = pages, list[str]()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


@contextlib.contextmanager
def serving(pages: dict[str, bytes | str | Answer]) -> Iterator[WebServer]:
    """A server, while it is needed."""
    with WebServer(pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
