"""A Zenoh router and clients of it, which are not ours; the router stands for rmw_zenohd."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zenoh

LIMIT_S = 20.0


def free_router() -> str:
    """An address for a router, where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def session(mode: str, **endpoints: str) -> Iterator[Any]:
    """A session, `mode` router or client; `listen` or `connect` as its endpoint."""
    config = zenoh.Config()
    config.insert_json5("mode", json.dumps(mode))
    config.insert_json5("scouting/multicast/enabled", "false")
    for name, endpoint in endpoints.items():
        config.insert_json5(f"{name}/endpoints", json.dumps([endpoint]))
    opened: Any = zenoh.open(config)
    try:
        yield opened
    finally:
        opened.close()


def tokens(client: Any) -> list[list[str]]:
    """Parts of all tokens by which nodes and their topics are found."""
    return [str(reply.ok.key_expr).split("/") for reply in client.liveliness().get("@ros2_lv/**")]


def wait_until(holds: Callable[[], object]) -> None:
    """Raises TimeoutError if it never holds."""
    until_s = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > until_s:
            raise TimeoutError
        time.sleep(0.01)
