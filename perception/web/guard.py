"""Who gets an answer: requests to this node by one of its names, with its token where one is needed."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Collection
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perception.system.time_limits import HTTP_WRITE_LIMIT_S
from perception.web.address import is_own_host
from perception.web.connections import Connections

log = logging.getLogger(__name__)

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""They need no token: probes and scrapers have none, and no picture is among them."""
PAGE: Final = "/"
DESKTOP: Final = "file://"
"""Origin of viewers that are programs of their own; that of a file in a browser is `null`."""

_OTHER_HOST: Final = "the name in Host is not this node's; --http-hosts adds names"
_OTHER_ORIGIN: Final = "a page of another site may not look through this node"
_NO_TOKEN: Final = "a token is needed: open the address that the node printed when it started"
_LOOKING_ON: Final = frozenset({"GET", "HEAD"})


class Guard:
    """Answers what may not be asked, and passes the rest on.

    No answer lets other sites read it (CORS), and each ends its connection.

    Args:
        app: gets what may be asked.
        names: as of `is_own_host`.
        token: of all but `OPEN_PATHS`, in the query, the cookie or as `Authorization: Bearer`; None needs
            none.
        cookie: its name, which no other node on this machine uses.
        connections: those of the server.
    """

    def __init__(
        self, app: ASGIApp, names: Collection[str], token: str | None, cookie: str, connections: Connections
    ) -> None:
        self._app, self._names, self._token = app, names, token
        self._cookie, self._connections = cookie, connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, within the limit of time for each part of the answer."""
        is_begun = False

        async def send_in_time(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                headers["Connection"] = "close"
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                # another site shows a picture only with an address that has the token
                headers["Cross-Origin-Resource-Policy"] = (
                    "cross-origin" if self._is_in_query(HTTPConnection(scope)) else "same-origin"
                )
            try:
                async with asyncio.timeout(HTTP_WRITE_LIMIT_S):
                    await send(message)
            except TimeoutError:
                self._connections.end(tuple(scope["client"]))
                raise

        try:
            answer: ASGIApp = self._refusal(scope) or self._app
            await answer(scope, receive, send_in_time)
        except OSError:  # the client has gone
            pass
        except Exception as error:
            log.error("http: %s: %s", type(error).__name__, " ".join(str(error).split()))
            if not is_begun:
                await text_answer(HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, send_in_time)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to what may not be asked; None for what may."""
        request = HTTPConnection(scope)
        if not all(is_own_host(host, self._names) for host in request.headers.getlist("Host")):
            return text_answer(HTTPStatus.MISDIRECTED_REQUEST, _OTHER_HOST)
        if scope["type"] == "websocket":
            if not (_is_own_origin(request) or self._is_in_query(request)):
                return text_answer(HTTPStatus.FORBIDDEN, _OTHER_ORIGIN)
        elif scope["method"] not in _LOOKING_ON:
            refusal = text_answer(HTTPStatus.METHOD_NOT_ALLOWED)
            refusal.headers["Allow"] = "GET, HEAD"
            return refusal
        if scope["path"] in OPEN_PATHS or self._token is None:
            return None
        if self._is_in_query(request) and scope["type"] == "http" and scope["path"] == PAGE:
            moved = RedirectResponse(PAGE, HTTPStatus.SEE_OTHER)
            moved.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            return moved
        given = (
            request.query_params.get("token"),
            request.cookies.get(self._cookie),
            request.headers.get("Authorization", "").removeprefix("Bearer "),
        )
        if any(self._is_token(text) for text in given):
            return None
        refusal = text_answer(HTTPStatus.UNAUTHORIZED, _NO_TOKEN)
        refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal

    def _is_token(self, text: str | None) -> bool:
        if not text or not self._token:
            return False
        return hmac.compare_digest(text.encode(), self._token.encode())

    def _is_in_query(self, request: HTTPConnection) -> bool:
        return self._is_token(request.query_params.get("token"))


def _is_own_origin(request: HTTPConnection) -> bool:
    """Whether no page of another site asks: browsers let those open WebSockets anywhere."""
    origin = request.headers.get("Origin")
    return origin in (None, DESKTOP) or urlsplit(str(origin)).netloc == request.headers.get("Host")


def text_answer(status: HTTPStatus, text: str = "") -> PlainTextResponse:
    """One line of text, the name of the status without another; also to who asks for a WebSocket."""
    return PlainTextResponse((text or status.phrase) + "\n", status)
