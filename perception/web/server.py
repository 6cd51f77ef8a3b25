"""The server: `/healthz`, `/readyz` and `/metrics`, computed at each request, and the live page.

It has a thread of its own, outside the data path, and answers even if that is stuck.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from perception.metrics.histogram import Histogram
from perception.system.redaction import redacted_line
from perception.telemetry.health import HealthReport
from perception.web.address import EndpointsError, is_loopback, parse_address, reachable_host
from perception.web.answers import text_answer
from perception.web.changes import ChangeableSources
from perception.web.connections import CONNECTIONS, Connections, NodeProtocol
from perception.web.grid import grid_route
from perception.web.guard import Guard
from perception.web.live import LivePage
from perception.web.pictures import Pictures
from perception.web.settings import NO_TOKEN
from perception.web.sources_api import SourcesApi

if TYPE_CHECKING:
    from perception.telemetry.prometheus import NodeCollector

HEAD_LIMIT_BYTES: Final = 8192
MESSAGE_LIMIT_BYTES: Final = 65536
"""Of what a client may send over a WebSocket."""
SEND_BUFFER_BYTES: Final = 262_144
"""Of the system, for a connection: pictures in it grow old."""
PING_S: Final = 5.0
CLOSE_WAIT_S: Final = 1.0
"""Longest wait of `close` for the server's thread."""

Status = Callable[[], HealthReport]


class Served(NamedTuple):
    """What there is to serve of one run."""

    name: str | None
    """Of one of several sources, below whose name its page and pictures are; None of the only one."""
    status: Status
    """The current status; called at every request, from other threads."""
    age: Histogram
    """From capture to publication."""
    stages: Mapping[str, Histogram]
    """Times by stage; stages may be added while the node runs."""
    pictures: Pictures | None = None
    """For the live page; None has none."""
    more_routes: Sequence[BaseRoute] = ()
    """A `WebSocketRoute` may have the path of a page. A long connection belongs in a
    `with Endpoints.viewing(scope)`."""


class Endpoints:
    """The node over HTTP.

    - `/`, `/live`, `/stream.mjpg`, `/frame.jpg`: the live page and its pictures, with a token where the
      address is not of the loopback interface.
    - `/healthz`: 200 while the node can do its work, with or without a camera; otherwise 503 and the reason.
    - `/readyz`: 200 only while masks are fresh; otherwise 503 and the reason.
    - `/metrics`: in Prometheus' text format, or OpenMetrics if the client accepts it.

    Of several sources `/` shows all, `/NAME/…` has the page and pictures of each, and `/sources` their list.

    Args:
        setting: a port on the loopback interface, or `host:port`.
        names: names accepted in `Host` besides addresses, `localhost` and the machine's own; * is any.
        token: of page and pictures; `none` needs none. None is a random one, and none on the loopback
            interface.
        allows_changes: of the sources, with a token wherever they come from.
    """

    def __init__(
        self,
        setting: str,
        names: Collection[str] = (),
        token: str | None = None,
        *,
        allows_changes: bool = False,
    ) -> None:
        """Raises EndpointsError if the setting is not an address."""
        self._host, self._port = parse_address(setting)
        self._names = (self._host, *names)
        if token is None:
            token = NO_TOKEN if is_loopback(self._host) else secrets.token_urlsafe(12)
        self.token = None if token == NO_TOKEN else token
        """That page and pictures need; None if anyone who reaches the address sees them."""
        self.change_token = (self.token or secrets.token_urlsafe(12)) if allows_changes else None
        """That changes of the sources need; None allows none."""
        self._connections = Connections()
        self._served: dict[str | None, Served] = {}
        self._routers: dict[str | None, Router] = {}
        self._collectors: dict[str | None, NodeCollector] = {}
        self._missing: dict[str | None, str] = {}
        """Why there is nothing to serve of a source that there should be."""
        self._server: uvicorn.Server | None = None
        self._thread: Thread | None = None

    def serve(self, one: Served) -> None:
        """Serve a source, from any thread; its page, where it is the only one, from the start alone."""
        from perception.telemetry.prometheus import NodeCollector  # only here, because it takes 80 ms

        routes = list(one.more_routes)
        if one.pictures is not None:
            routes += LivePage(one.pictures, one.status, self._connections).routes()
        self._routers[one.name] = _router(routes)
        self._collectors[one.name] = NodeCollector(one.status, one.age, one.stages)
        self._served[one.name] = one
        self._missing.pop(one.name, None)

    def withdraw(self, name: str, missing: str | None = None) -> None:
        """Serve a source no more, from any thread; who looks at it goes on until its pictures are closed.

        Args:
            missing: why it is not there, where it should be; None if all is well without it.
        """
        if missing is not None:
            self._missing[name] = missing
        else:
            self._missing.pop(name, None)
        for known in (self._served, self._routers, self._collectors):
            known.pop(name, None)

    def start(self, served: Sequence[Served], sources: ChangeableSources | None = None) -> None:
        """Start to listen.

        Args:
            served: a run, or several with names.
            sources: which they are; None for the only one.

        Raises:
            EndpointsError: if the address cannot be listened on.
        """
        listening = self._listen()
        for one in served:
            self.serve(one)
        routes: list[BaseRoute] = [
            Route("/healthz", lambda _: _state(self._why_not_alive())),
            Route("/readyz", lambda _: _state(self._why_not_ready())),
            Route("/metrics", self._metrics(has_names=sources is not None)),
        ]
        if sources is not None:
            routes += [grid_route(), *SourcesApi(sources).routes(), Mount("/{source}", self._of_source)]
        else:
            routes += self._routers[None].routes
        own = {"open_connections": self._connections}
        guard = Guard(
            *(_router(routes), self._names, self.token, f"drivable-{self._port}", self._connections),
            change_token=self.change_token,
        )
        config = uvicorn.Config(
            guard,
            http=type("OwnProtocol", (NodeProtocol,), own),
            ws=WebSocketsSansIOProtocol,
            ws_max_size=MESSAGE_LIMIT_BYTES,
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            ws_per_message_deflate=False,
            h11_max_incomplete_event_size=HEAD_LIMIT_BYTES,
            backlog=CONNECTIONS,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        for name in ("uvicorn.error", "uvicorn.access", "asyncio"):  # the guard logs what matters
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._server = uvicorn.Server(config)
        self._thread = Thread(
            target=self._serve, args=(self._server, listening), name="endpoints", daemon=True
        )
        self._thread.start()

    @property
    def is_open_to_all(self) -> bool:
        """Whether the address is not of the loopback interface, and pictures need no token."""
        return self.token is None and not is_loopback(self._host)

    def viewing(self, scope: Any) -> Any:
        """See `Connections.viewing`."""
        return self._connections.viewing(scope)

    @property
    def port(self) -> int:
        """The port in use, once started."""
        return self._port

    @property
    def page_url(self) -> str:
        """Address of the live page, with its token, for another machine where one reaches it."""
        query = f"?token={self.token}" if self.token else ""
        return f"http://{reachable_host(self._host)}:{self.port}/{query}"

    def close(self) -> None:
        """Stop listening, without waiting for answers in progress. Safe to call twice."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(CLOSE_WAIT_S)
            self._server = None
        for one in list(self._served.values()):
            if one.pictures is not None:
                one.pictures.close()

    async def _of_source(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page and pictures of one of several sources, below its name."""
        router = self._routers.get(scope["path_params"]["source"])
        await (router or text_answer(HTTPStatus.NOT_FOUND))(scope, receive, send)

    def _why_not_alive(self) -> str | None:
        reasons = {one.name: one.status().why_not_alive for one in list(self._served.values())}
        return "; ".join(_with_names(reasons)) or None

    def _why_not_ready(self) -> str | None:
        """A source that has come to its end does not count beside others; alone it is not ready."""
        missing = [f"{name}: {why}" for name, why in list(self._missing.items())]
        statuses = {one.name: one.status() for one in list(self._served.values())}
        left = {name: status for name, status in statuses.items() if not status.has_ended_well} or statuses
        others = _with_names({name: status.why_not_ready for name, status in left.items()})
        if not statuses and not missing:
            return "there is no source"
        return "; ".join([*missing, *others]) or None

    def _metrics(self, *, has_names: bool) -> Callable[[Request], Response]:
        # Imported only here, because it takes 80 ms.
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        from perception.telemetry.prometheus import SourcesCollector

        registry = CollectorRegistry(auto_describe=False)
        if has_names:
            registry.register(SourcesCollector(self._collectors, self._missing))
        else:
            registry.register(self._collectors[None])

        def answer(request: Request) -> Response:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
            return Response(encode(registry), headers={"Content-Type": content_type})

        return answer

    def _listen(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(
                *(self._host, self._port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            listening = socket.socket(found[0][0], socket.SOCK_STREAM)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
                listening.bind(found[0][4])
                listening.listen(CONNECTIONS)
            except BaseException:
                listening.close()
                raise
        except OSError as error:
            where = f"[{self._host}]" if ":" in self._host else self._host
            raise EndpointsError(
                f"http {where}:{self._port}: cannot listen there: {error.strerror}; "
                "choose another port or interface"
            ) from error
        self._port = listening.getsockname()[1]
        return listening

    @staticmethod
    def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
        with asyncio.Runner() as runner:
            runner.run(server.serve([listening]))


def _state(why_not: str | None) -> Response:
    if why_not is None:
        return PlainTextResponse("ok\n")
    return PlainTextResponse(redacted_line(why_not) + "\n", HTTPStatus.SERVICE_UNAVAILABLE)


def _with_names(reasons: Mapping[str | None, str | None]) -> list[str]:
    """Of the sources of which something is to be said."""
    return [f"{name}: {reason}" if name else reason for name, reason in reasons.items() if reason]


def _router(routes: Sequence[BaseRoute]) -> Router:
    return Router(routes, redirect_slashes=False, default=text_answer(HTTPStatus.NOT_FOUND))
