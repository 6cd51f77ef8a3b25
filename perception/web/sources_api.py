"""`/sources`: what sources there are, and with the node's token others, while it runs.

- `GET /sources`: all of them, as JSON.
- `PUT /sources/NAME`: adds one, of the settings in the body, `{"source": …}` as in a file of settings. One
  that is there is replaced; without a body it is restarted.
- `DELETE /sources/NAME`: ends one, in good order, and removes it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from perception.system.redaction import redacted_line
from perception.system.time_limits import HTTP_READ_LIMIT_S
from perception.web.answers import text_answer
from perception.web.changes import STOPPING, ChangeableSources, RefusedError

PATH: Final = "/sources"
CHANGES: Final = frozenset({"PUT", "DELETE"})
BODY_LIMIT_BYTES: Final = 65536
WAITING: Final = 16
"""Changes that may wait for each other."""


class SourcesApi:
    """Answers for `/sources`; who may change them is the guard's business."""

    def __init__(self, sources: ChangeableSources) -> None:
        self._sources = sources
        self._waiting = 0

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [
            Route(PATH, self._list),
            Route(f"{PATH}/{{name}}", self._show, methods=["GET"]),
            Route(f"{PATH}/{{name}}", self._put, methods=["PUT"]),
            Route(f"{PATH}/{{name}}", self._delete, methods=["DELETE"]),
        ]

    def _list(self, _: Request) -> Response:
        return JSONResponse({"sources": [dict(one) for one in self._sources.listed()]})

    def _show(self, request: Request) -> Response:
        name = request.path_params["name"]
        if (shown := self._shown(name)) is None:
            return text_answer(HTTPStatus.NOT_FOUND, redacted_line(f"there is no source {name}"))
        return JSONResponse(shown)

    def _shown(self, name: str) -> dict[str, Any] | None:
        return next((dict(one) for one in self._sources.listed() if one["name"] == name), None)

    async def _put(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            settings = _settings_in(await _body(request))
            is_new, problems = await self._change(self._sources.put, name, settings)
        except RefusedError as error:
            return text_answer(error.status, str(error))
        shown = await asyncio.to_thread(self._shown, name) or {"name": name}
        shown["problems"] = [redacted_line(it) for it in problems]
        return JSONResponse(shown, HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    async def _delete(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            problems = await self._change(self._sources.delete, name)
        except RefusedError as error:
            return text_answer(error.status, str(error))
        return JSONResponse({"name": name, "problems": [redacted_line(it) for it in problems]})

    async def _change(self, change: Callable[..., Any], *arguments: Any) -> Any:
        """Make a change, after those that came before; it goes on where the client does not wait for it."""
        if self._waiting >= WAITING:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{WAITING} changes are waiting already; try later"
            )
        try:
            made = self._sources.changes.submit(change, *arguments)
        except RuntimeError:  # it takes none any more
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, STOPPING) from None
        self._waiting += 1
        made.add_done_callback(self._changed)
        try:
            return await asyncio.wrap_future(made)
        except asyncio.CancelledError:
            if made.cancelled():
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, STOPPING) from None
            raise

    def _changed(self, _: Future[Any]) -> None:
        self._waiting -= 1


async def _body(request: Request) -> bytes:
    """All of it, in time and within the limit; raises RefusedError."""
    body = b""
    try:
        async with asyncio.timeout(HTTP_READ_LIMIT_S):
            async for part in request.stream():
                body += part
                if len(body) > BODY_LIMIT_BYTES:
                    raise RefusedError(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"settings of a source have up to {BODY_LIMIT_BYTES} bytes",
                    )
    except (TimeoutError, ClientDisconnect):
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the settings did not arrive in time") from None
    return body


def _settings_in(body: bytes) -> Mapping[str, Any] | None:
    """The settings of a source; None of an empty body. Raises RefusedError."""
    if not body.strip():
        return None
    try:
        settings = json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, f"the settings are not readable as JSON: {error}"
        ) from None
    if not isinstance(settings, dict):
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, 'the settings of a source are expected, such as {"source": "0"}'
        )
    return settings


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for a name that stands twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name occurs twice")
    return values
