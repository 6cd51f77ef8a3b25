"""The page and its pictures: a WebSocket that a viewer pulls at, an MJPEG stream, and single pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from perception.system.redaction import redacted_line
from perception.system.time_limits import VIEWER_LIMIT_S
from perception.telemetry.health import HealthReport
from perception.web.connections import Connections, TooManyViewersError
from perception.web.pictures import NoMorePicturesError, Pictures, Published
from perception.web.views import VIEWS, View

STATE_EVERY_S: Final = 0.2
"""Longest time between two messages to a viewer, with or without a picture."""
HIDDEN_EVERY_S: Final = 0.5
"""The same to one whose page is hidden, and gets no pictures."""
STATUS_EVERY_S: Final = 1.0
"""How often the report for all viewers is made."""
PICTURE_WAIT_S: Final = 5.0
"""How long `/frame.jpg` waits for one that is newer."""
BOUNDARY: Final = b"frame"
_GONE: Final = (WebSocketDisconnect, TimeoutError, NoMorePicturesError)
"""The viewer, or what it looked at."""
_POLICY: Final = (
    "default-src 'none'; img-src blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self' ws: wss:; frame-ancestors 'self'"
)


class LivePage:
    """What viewers get of one run.

    Args:
        pictures: of the run.
        report: the current health.
        connections: those of the server.
    """

    def __init__(
        self, pictures: Pictures, report: Callable[[], HealthReport], connections: Connections
    ) -> None:
        self._pictures, self._report, self._connections = pictures, report, connections
        self._status: dict[str, Any] = {}
        self._reporting: asyncio.Task[None] | None = None

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [
            Route("/", self._page),
            WebSocketRoute("/live", self._live),
            Route("/stream.mjpg", self._stream),
            Route("/frame.jpg", self._picture),
        ]

    async def _page(self, _: Request) -> Response:
        return HTMLResponse(page(), headers={"Content-Security-Policy": _POLICY})

    async def _live(self, socket: WebSocket) -> None:
        """For each text that the viewer sends, `{"view": …}`, one message: a header in JSON and a picture.

        So there is one picture on the way, however slow the network is. Of a hidden page the view is null.
        The message begins with the header's length, in four bytes.
        """
        try:
            with self._connections.viewing(socket.scope), suppress(*_GONE):
                await socket.accept()
                await self._show(socket)
        except TooManyViewersError:
            refusal = PlainTextResponse("too many viewers\n", HTTPStatus.SERVICE_UNAVAILABLE)
            await socket.send_denial_response(refusal)
        self._connections.end((socket.scope["client"][0], socket.scope["client"][1]))

    async def _show(self, socket: WebSocket) -> None:
        seen, shown = -1, None
        while (view := await _asked_view(socket)) in (*VIEWS, None):
            if view is None:
                await asyncio.sleep(HIDDEN_EVERY_S)
                self._pictures.check()
                await socket.send_bytes(self._message(self._pictures.latest, None, b""))
                continue
            seen = seen if view == shown else -1
            published = await self._pictures.after(seen, STATE_EVERY_S)
            content = b""
            if published is not None and published.number > seen:
                content = await self._pictures.jpeg(published, view)
                seen, shown = published.number, view
            await socket.send_bytes(self._message(published or self._pictures.latest, view, content))
        await socket.close(code=1008)

    def _message(self, published: Published | None, view: View | None, content: bytes) -> bytes:
        self._refresh_status()
        state = {"view": view, **self._pictures.state(published), **self._status}
        header = json.dumps(state, separators=(",", ":")).encode()
        return len(header).to_bytes(4, "big") + header + content

    def _refresh_status(self) -> None:
        """Let a report be made where the last is old; nobody waits, because it takes the run's lock."""
        if self._reporting is None or self._reporting.done():
            self._reporting = asyncio.create_task(self._make_status())

    async def _make_status(self) -> None:
        report = await asyncio.to_thread(self._report)
        self._pictures.period_ms = report.period_ms
        self._status = {"status": status(report) | {"certainty": self._pictures.certainties()}}
        await asyncio.sleep(STATUS_EVERY_S)

    async def _stream(self, request: Request) -> Response:
        view = _view_of(request)
        if view is None:
            return _unknown_view()
        media_type = f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}"
        if request.method == "HEAD":
            return Response(media_type=media_type)
        return StreamingResponse(self._parts(request, view), media_type=media_type)

    async def _parts(self, request: Request, view: View) -> AsyncIterator[bytes]:
        """The boundary stands behind each picture: browsers show one when the next part begins."""
        with suppress(TooManyViewersError, NoMorePicturesError), self._connections.viewing(request.scope):
            yield b"--" + BOUNDARY + b"\r\n"
            seen = -1
            while True:
                published = await self._pictures.after(seen, self._pictures.held_limit_ms / 1e3)
                if published is None:
                    content = await self._pictures.held_jpeg()
                else:
                    content, seen = await self._pictures.jpeg(published, view), published.number
                head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content)
                yield head + content + b"\r\n--" + BOUNDARY + b"\r\n"

    async def _picture(self, request: Request) -> Response:
        """The newest picture, or with `?after=ID` the first that is newer; 503 where it would not be live."""
        view, after = _view_of(request), request.query_params.get("after", "-1")
        if view is None:
            return _unknown_view()
        if not after.removeprefix("-").isdecimal() or len(after) > 18:
            return PlainTextResponse("after is not a number\n", HTTPStatus.BAD_REQUEST)
        try:
            return await self._picture_after(int(after), view)
        except NoMorePicturesError:
            return PlainTextResponse("no more pictures\n", HTTPStatus.SERVICE_UNAVAILABLE)

    async def _picture_after(self, number: int, view: View) -> Response:
        published = await self._pictures.after(number, PICTURE_WAIT_S)
        held_ms = self._pictures.held_ms
        if published is None or held_ms is None or held_ms > self._pictures.held_limit_ms:
            why = (
                "nothing has been published yet"
                if held_ms is None
                else f"no picture for {held_ms / 1e3:.1f} s"
            )
            return PlainTextResponse(f"{why}\n", HTTPStatus.SERVICE_UNAVAILABLE)
        content = await self._pictures.jpeg(published, view)
        state = self._pictures.state(published)
        headers = {
            "X-Picture-Id": str(published.number),
            "X-Camera-State": state["camera"]["state"],
            "X-Engine-State": state["engine"]["state"],
            "X-Has-Mask": str(state["has_mask"]).lower(),
        }
        if state["age_ms"] is not None:
            headers["X-Age-Ms"] = str(state["age_ms"])
        return Response(content, media_type="image/jpeg", headers=headers)


def status(report: HealthReport) -> dict[str, Any]:
    """What the page shows of a report, ready for JSON."""
    frames = report.frames
    return {
        "source": report.source_id,
        "model": report.model_id,
        "provider": report.provider,
        "nominal_hz": round(report.rate.hz, 2),
        "frames": asdict(frames),
        "sinks": {
            name: asdict(sink) | {"issue": redacted_line(sink.issue) if sink.issue else None}
            for name, sink in report.sinks.items()
        },
        "not_alive": redacted_line(report.why_not_alive) if report.why_not_alive else None,
        "memory_bytes": report.memory.resident_bytes,
    }


@cache
def page() -> str:
    """The page, which needs nothing else."""
    return files("perception.web").joinpath("page.html").read_text()


async def _asked_view(socket: WebSocket) -> Any:
    """What the viewer asks for next; "" for anything that is no view."""
    async with asyncio.timeout(VIEWER_LIMIT_S):
        text = await socket.receive_text()
    try:
        asked = json.loads(text)
    except ValueError:
        return ""
    view = asked.get("view", "") if isinstance(asked, dict) else ""
    return view if view is None or isinstance(view, str) else ""


def _view_of(request: Request) -> Any:
    """The view in the query, the overlay without one; None if there is no such view."""
    view = request.query_params.get("view", VIEWS[0])
    return view if view in VIEWS else None


def _unknown_view() -> Response:
    return PlainTextResponse(f"view must be one of {', '.join(VIEWS)}\n", HTTPStatus.BAD_REQUEST)
