"""Endpoints: `/healthz`, `/readyz` and `/metrics` over HTTP, computed at each request.

The server has a thread of its own, and one more for each open connection. They are outside the data path, and
answer even if that is stuck.
"""

from __future__ import annotations

import logging
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, Final

from perception.metrics.histogram import Histogram
from perception.system.redaction import redacted_line
from perception.telemetry.address import EndpointsError, is_own_host, parse_address
from perception.telemetry.health import HealthReport
from perception.telemetry.http_request import Answer, Answers, Request

log = logging.getLogger(__name__)

CONNECTIONS: Final = 64
"""Open at the same time; each ends within the limits of `http_request.py`. One more closes the oldest: since
an answer takes milliseconds, only a slow client is ever the oldest of 64."""
THREADS: Final = 2 * CONNECTIONS
"""Including those of connections just closed; one connection more is closed without an answer."""
POLL_S: Final = 0.2
"""Longest wait of `close` for the server's thread."""

Status = Callable[[], HealthReport]


class Endpoints:
    """The node's health over HTTP.

    - `/healthz`: 200 while the node can do its work, with or without a camera; otherwise 503 and the reason.
    - `/readyz`: 200 only while masks are fresh; otherwise 503 and the reason.
    - `/metrics`: in Prometheus' text format, or OpenMetrics if the client accepts it.

    Args:
        setting: a port on the loopback interface, or `host:port`.
        names: names accepted in `Host` besides addresses, `localhost` and the machine's own; * is any.
    """

    def __init__(self, setting: str, names: Collection[str] = ()) -> None:
        """Raises EndpointsError if the setting is not an address."""
        self._host, self._port = parse_address(setting)
        self._names = (self._host, *names)
        self._server: _Server | None = None

    def start(self, status: Status, age: Histogram, stages: Mapping[str, Histogram]) -> None:
        """Start to listen.

        Args:
            status: the current status; called at every request, from other threads.
            age: from capture to publication.
            stages: times by stage; stages may be added while the node runs.

        Raises:
            EndpointsError: if the address cannot be listened on.
        """
        answers = {
            "/healthz": lambda _: _state(status().why_not_alive),
            "/readyz": lambda _: _state(status().why_not_ready),
            "/metrics": _metrics(status, age, stages),
        }
        try:
            self._server = _Server(self._host, self._port, answers, self._names)
        except OSError as error:
            where = f"[{self._host}]" if ":" in self._host else self._host
            raise EndpointsError(
                f"http {where}:{self._port}: cannot listen there: {error.strerror}; "
                "choose another port or interface"
            ) from error
        Thread(target=self._server.serve_forever, args=(POLL_S,), name="endpoints", daemon=True).start()

    @property
    def port(self) -> int:
        """The port in use, once started."""
        assert self._server is not None
        port: int = self._server.server_address[1]
        return port

    def close(self) -> None:
        """Stop listening, without waiting for answers in progress. Safe to call twice."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _state(why_not: str | None) -> Answer:
    if why_not is None:
        return Answer(HTTPStatus.OK, "ok\n")
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, redacted_line(why_not) + "\n")


def _metrics(status: Status, age: Histogram, stages: Mapping[str, Histogram]) -> Callable[[str], Answer]:
    # Imported only here, because it takes 80 ms.
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    from perception.telemetry.prometheus import NodeCollector

    registry = CollectorRegistry(auto_describe=False)
    registry.register(NodeCollector(status, age, stages))

    def answer(accept: str) -> Answer:
        encode, content_type = choose_encoder(accept)
        return Answer(HTTPStatus.OK, encode(registry).decode(), content_type)

    return answer


class _Server(ThreadingMixIn, TCPServer):
    """One thread per connection, at most `CONNECTIONS` open."""

    allow_reuse_address = True  # a restarted node must not wait for old connections to time out
    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(self, host: str, port: int, answers: Answers, names: Collection[str]) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        address: Any = found[0][4]  # two or four parts, depending on the family
        self._free = BoundedSemaphore(THREADS)
        self._lock = Lock()
        self._open: dict[Any, None] = {}  # oldest first
        own = {"answers": answers, "is_own_host": partial(is_own_host, names=names)}
        super().__init__(address, type("NodeRequest", (Request,), own))

    def get_request(self) -> Any:
        """Accept a connection; wait after a failure, since without descriptors it is called again at once."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(POLL_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._lock:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
                with suppress(OSError):  # it has just ended
                    oldest.shutdown(socket.SHUT_RDWR)
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._ended(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ended(request)

    def _ended(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print errors in one line, except those of the connection."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("http: %s: %s", type(error).__name__, " ".join(str(error).split()))
