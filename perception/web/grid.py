"""The page of several sources: the picture of each, which leads to its own page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

POLICY = (
    "default-src 'none'; img-src 'self'; frame-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"
)


def grid_route(names: Sequence[str]) -> Route:
    """`/`, for these sources."""
    frames = "\n".join(
        f'<iframe src="/{escape(name)}/?tile" title="{escape(name)}" loading="eager"></iframe>'
        for name in names
    )
    text = files("perception.web").joinpath("grid.html").read_text().replace("<!-- sources -->", frames)

    async def grid(_: Request) -> Response:
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})

    return Route("/", grid)
