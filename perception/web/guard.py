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
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perception.system.time_limits import HTTP_WRITE_LIMIT_S
from perception.web.address import is_own_host
from perception.web.answers import text_answer
from perception.web.connections import Connections
from perception.web.sources_api import CHANGES, PATH

log = logging.getLogger(__name__)

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""They need no token: probes and scrapers have none, and no picture is among them."""
PAGE: Final = "/"
DESKTOP: Final = "file://"
"""Origin of viewers that are programs of their own; that of a file in a browser is `null`."""

_OTHER_HOST: Final = "the name in Host is not this node's; --http-hosts adds names"
_OTHER_ORIGIN: Final = "a page of another site may not look through this node"
_NO_TOKEN: Final = "a token is needed: open the address that the node printed when it started"
_FIXED: Final = "the sources of this node are fixed; it allows changes with --http-sources KIND …"
_NO_BEARER: Final = (
    "changes need the token that the node printed when it started, in a header: Authorization: Bearer TOKEN"
)
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
        change_token: of changes to the sources, as `Authorization: Bearer` alone, which no page of another
            site can send; None allows none.
    """

    def __init__(
        self,
        app: ASGIApp,
        names: Collection[str],
        token: str | None,
        cookie: str,
        connections: Connections,
        change_token: str | None = None,
    ) -> None:
        self._app, self._names, self._token = app, names, token
        self._cookie, self._connections, self._change_token = cookie, connections, change_token

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
        elif scope["method"] in CHANGES and scope["path"].startswith(f"{PATH}/"):
            return self._refusal_of_change(request)
        elif scope["method"] not in _LOOKING_ON:
            return _only_to_look_at()
        if scope["path"] in OPEN_PATHS or self._token is None:
            return None
        if self._is_in_query(request) and scope["type"] == "http" and scope["path"] == PAGE:
            moved = RedirectResponse(PAGE, HTTPStatus.SEE_OTHER)
            moved.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            return moved
        given = (request.query_params.get("token"), request.cookies.get(self._cookie), _bearer(request))
        return None if any(_is_same(text, self._token) for text in given) else _unauthorized(_NO_TOKEN)

    def _refusal_of_change(self, request: HTTPConnection) -> Response | None:
        if self._change_token is None:
            return _only_to_look_at(_FIXED)
        return None if _is_same(_bearer(request), self._change_token) else _unauthorized(_NO_BEARER)

    def _is_in_query(self, request: HTTPConnection) -> bool:
        return _is_same(request.query_params.get("token"), self._token)


def _bearer(request: HTTPConnection) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_same(given: str | None, token: str | None) -> bool:
    """Whether a token was given, and the right one."""
    if not given or not token:
        return False
    return hmac.compare_digest(given.encode(), token.encode())


def _only_to_look_at(why: str = "") -> Response:
    refusal = text_answer(HTTPStatus.METHOD_NOT_ALLOWED, why)
    refusal.headers["Allow"] = "GET, HEAD"
    return refusal


def _unauthorized(why: str) -> Response:
    refusal = text_answer(HTTPStatus.UNAUTHORIZED, why)
    refusal.headers["WWW-Authenticate"] = "Bearer"
    return refusal


def _is_own_origin(request: HTTPConnection) -> bool:
    """Whether no page of another site asks: browsers let those open WebSockets anywhere."""
    origin = request.headers.get("Origin")
    return origin in (None, DESKTOP) or urlsplit(str(origin)).netloc == request.headers.get("Host")
