"""One HTTP request, answered within limits of time and size whatever the client does."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar, Final

from perception.system.time_limits import HTTP_READ_LIMIT_S, HTTP_WRITE_LIMIT_S

HEAD_LIMIT_BYTES: Final = 8192

_OTHER_HOST: Final = "the name in Host is not this node's; --http-hosts adds names\n"


@dataclass(frozen=True)
class Answer:
    """The response to a request."""

    status: HTTPStatus
    text: str
    content_type: str = "text/plain; charset=utf-8"


Answers = Mapping[str, Callable[[str], Answer]]
"""By path; each takes the client's `Accept`."""


class Request(BaseHTTPRequestHandler):
    """GET or HEAD of one of a few known paths, once per connection; no file is ever read.

    A subclass sets `answers` and `is_own_host`.
    """

    answers: ClassVar[Answers]
    is_own_host: ClassVar[Callable[[str], bool]]
    server_version = "drivable"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # else an unreadable request would be answered without a status line

    def setup(self) -> None:
        """Read the head within its limits."""
        super().setup()
        self.rfile.close()
        self._head = _Head(self.connection)
        self.rfile = io.BufferedReader(self._head)

    def do_GET(self) -> None:
        """Answer by path."""
        if self._head.is_too_large:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        is_own_host = type(self).is_own_host
        if not all(is_own_host(host) for host in self.headers.get_all("Host", [])):
            self._reply(Answer(HTTPStatus.MISDIRECTED_REQUEST, _OTHER_HOST))
            return
        answer = self.answers.get(self.path.partition("?")[0])
        if answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            answered = answer(self.headers.get("Accept", ""))
        except Exception:  # the server prints it; the client gets no details
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            raise
        self._reply(answered)

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with the name of the error, and nothing that the client sent."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # http.server's answer to other methods
            status = HTTPStatus.METHOD_NOT_ALLOWED
        self._reply(Answer(status, f"{status.phrase}\n"))

    def log_message(self, *_: Any) -> None:
        """Log no requests: there is a scrape every few seconds."""

    def _reply(self, answer: Answer) -> None:
        content = answer.text.encode()
        self.close_connection = True
        self.connection.settimeout(HTTP_WRITE_LIMIT_S)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class _Head(io.RawIOBase):
    """The head of a request as a stream limited in size and time; it ends at the size limit."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self._ends_ns = time.monotonic_ns() + round(HTTP_READ_LIMIT_S * 1e9)
        self._left_bytes = HEAD_LIMIT_BYTES

    @property
    def is_too_large(self) -> bool:
        return self._left_bytes <= 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError at the time limit."""
        left_s = (self._ends_ns - time.monotonic_ns()) / 1e9
        if left_s <= 0:
            raise TimeoutError
        if self.is_too_large:
            return 0
        self._connection.settimeout(left_s)
        read_bytes = self._connection.recv_into(memoryview(buffer)[: self._left_bytes])
        self._left_bytes -= read_bytes
        return read_bytes
