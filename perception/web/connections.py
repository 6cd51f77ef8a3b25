"""Connections of the server: so many at a time, each within limits, whatever the client does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from perception.system.time_limits import HTTP_READ_LIMIT_S, HTTP_WRITE_LIMIT_S

CONNECTIONS: Final = 64
"""Open at the same time, without viewers. One more closes the oldest: since an answer takes milliseconds,
only a slow client is ever the oldest of 64."""
VIEWERS: Final = 16
"""Who see pictures move, at the same time; their connections stay open."""

Client = tuple[str, int]
"""Address and port of a connection's other end."""


class TooManyViewersError(Exception):
    """There are `VIEWERS` already."""


class Connections:
    """Those that are open, by the client. Used by the server's thread alone."""

    def __init__(self) -> None:
        self._open: dict[Client, asyncio.Transport] = {}  # oldest first
        self._viewers: dict[Client, asyncio.Transport | None] = {}

    def opened(self, client: Client, transport: asyncio.Transport) -> None:
        """Count a connection; close the oldest where there are too many."""
        for other in [it for it, opened in self._open.items() if _has_ended(opened)]:
            del self._open[other]
        self._open[client] = transport
        if len(self._open) > CONNECTIONS:
            self.end(next(iter(self._open)))

    def closed(self, client: Client) -> None:
        """It has ended."""
        self._open.pop(client, None)

    def end(self, client: Client) -> None:
        """Close a connection now, and drop what the client has not taken."""
        transport = self._open.pop(client, None) or self._viewers.get(client)
        if transport is not None:
            transport.abort()

    @contextmanager
    def viewing(self, scope: Any) -> Iterator[None]:
        """Keep the connection of an ASGI scope open for as long as a block runs, and close it then.

        Raises:
            TooManyViewersError: if it cannot be kept.
        """
        if len(self._viewers) >= VIEWERS:
            raise TooManyViewersError
        client: Client = tuple(scope["client"])
        self._viewers[client] = self._open.pop(client, None)
        try:
            yield
        finally:
            if (transport := self._viewers.pop(client)) is not None:
                self._open[client] = transport


def _has_ended(transport: asyncio.Transport) -> bool:
    """Whether the connection is closed, all of it; one that was upgraded does not say so by itself."""
    return bool(transport.get_extra_info("socket").fileno() < 0)


class NodeProtocol(H11Protocol):
    """One request per connection, whose head arrives in time and whose answer is taken in time.

    A subclass sets `open_connections`.
    """

    open_connections: ClassVar[Connections]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and limit the time of its head."""
        super().connection_made(transport)
        self._limit = self.loop.call_later(HTTP_READ_LIMIT_S, self._end_slow_head)
        if self.client is None:  # it has gone already
            transport.abort()
        else:
            self.open_connections.opened(self.client, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        self._limit.cancel()
        if self.client is not None:
            self.open_connections.closed(self.client)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Limit the time in which the last of the answer is taken."""
        super().on_response_complete()
        self._limit.cancel()
        self._limit = self.loop.call_later(HTTP_WRITE_LIMIT_S, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, and nothing that the client sent."""
        content = f"{HTTPStatus.BAD_REQUEST.phrase}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(content)))]
        head = h11.Response(status_code=400, headers=[*headers, ("Connection", "close")], reason=content[:-1])
        for event in (head, h11.Data(data=content), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _end_slow_head(self) -> None:
        is_upgraded = self.transport.get_protocol() is not self
        if self.cycle is None and not is_upgraded:
            self.transport.abort()
