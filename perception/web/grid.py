"""The page of several sources: the picture of each, which leads to its own page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

POLICY: Final = (
    "default-src 'none'; img-src 'self'; frame-src 'self'; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'self'"
)


def grid_route() -> Route:
    """`/`, which asks `/sources` what there is to show."""

    async def grid(_: Request) -> Response:
        return HTMLResponse(_text(), headers={"Content-Security-Policy": POLICY})

    return Route("/", grid)


@cache
def _text() -> str:
    return files("perception.web").joinpath("grid.html").read_text()
