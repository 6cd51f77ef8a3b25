"""Answers in plain text."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import PlainTextResponse


def text_answer(status: HTTPStatus, text: str = "") -> PlainTextResponse:
    """One line of text, the name of the status without another; also to who asks for a WebSocket."""
    return PlainTextResponse((text or status.phrase) + "\n", status)
