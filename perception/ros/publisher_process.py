"""The process that publishes: a middleware that hangs holds its interpreter, and not the node's."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from perception.ros.network import Network, Publishing, RosError, Topic

PART_BYTES: Final = 65_536
"""Of a message that is sent at once."""
LOOK_S: Final = 0.1
"""Interval of looks for subscribers."""
RETRY_S: Final = 0.5
"""Interval of attempts to enter a network that does not answer yet."""


def serve(connection: socket.socket, network: Network, topics: Sequence[Topic]) -> None:
    """Publish what comes through the connection, until the other end is closed.

    It gets heads in JSON, `{"topic": …, "bytes": …}`, each followed by the message in parts. It gives
    `{"waiting": …}` or `{"warning": …}`, `{"open": …}` once it can publish, `{"subscribed": […]}` when that
    has changed, and `{"problem": …}` at its end if it cannot go on.
    """
    try:
        _serve(connection, network, topics)
    except OSError:
        pass  # the other end is gone
    except RosError as error:
        _say(connection, problem=str(error))
    except Exception as error:  # of the middleware
        _say(connection, problem=f"ros: {type(error).__name__}: {error}")


def _serve(connection: socket.socket, network: Network, topics: Sequence[Topic]) -> None:
    at = _entered(network, connection)
    offered = set()
    for topic in topics:
        try:
            at.advertise(topic)
            offered.add(topic.name)
        except RosError as error:
            _say(connection, warning=f"ros: {topic.name} is left out: {error}")
    _say(connection, open=at.description)
    subscribed: list[str] | None = None
    next_look_s = 0.0
    while True:
        now_s = time.monotonic()
        if now_s >= next_look_s:
            next_look_s = now_s + LOOK_S
            if subscribed != (found := at.subscribed()):
                subscribed = found
                _say(connection, subscribed=found)
        if not select.select([connection], [], [], LOOK_S)[0]:
            continue
        head = connection.recv(PART_BYTES)
        if not head:
            break
        message = json.loads(head)
        data = _received(connection, message["bytes"])
        if message["topic"] in offered:
            at.publish(message["topic"], data)
    at.close()


def _entered(network: Network, connection: socket.socket) -> Publishing:
    """The network, waited for if it need not answer at once; raises RosError, and OSError at the end."""
    is_waiting = False
    while True:
        try:
            return network.publishing()
        except RosError as error:
            if network.must_answer:
                raise
            if not is_waiting:
                _say(connection, waiting=f"{error}; waiting for it")
                is_waiting = True
        is_over = select.select([connection], [], [], 0.0)[0] and not connection.recv(1, socket.MSG_PEEK)
        if is_over:
            raise ConnectionError
        time.sleep(RETRY_S)


def _received(connection: socket.socket, size_bytes: int) -> bytes:
    data = bytearray(size_bytes)
    parts, got = memoryview(data), 0
    while got < size_bytes:
        part = connection.recv_into(parts[got:])
        if not part:
            raise ConnectionError
        got += part
    return bytes(data)


def _say(connection: socket.socket, **what: Any) -> None:
    with suppress(OSError):
        connection.send(json.dumps(what).encode())
