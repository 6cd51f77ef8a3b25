"""Ten clients that mean no good, each in threads of its own until it is ended."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Event, Thread
from typing import Final

Client = Callable[["Target"], None]


class Target:
    """A node's port, and when the clients are to end."""

    def __init__(self, port: int) -> None:
        self.port, self.is_over = port, Event()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=2)

    def say(self, request: bytes, wait_s: float = 0.0) -> bytes:
        """What comes first for these bytes."""
        with self.connect() as connection:
            connection.sendall(request)
            self.is_over.wait(wait_s)
            return connection.recv(65536)


def drips(target: Target) -> None:
    """A head that never ends."""
    with target.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        while not target.is_over.wait(0.1):
            connection.sendall(b"x")


def half_opens(target: Target) -> None:
    """A connection that says nothing."""
    with target.connect():
        target.is_over.wait(3)


def thousand(target: Target) -> None:
    """A thousand connections at a time."""
    with ExitStack() as stack:
        for _ in range(1000):
            with suppress(OSError):
                stack.enter_context(target.connect())
        target.is_over.wait(1)


def huge_head(target: Target) -> None:
    """A megabyte of headers."""
    target.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + 10_000 * (b"X-Y: " + 95 * b"z" + b"\r\n"))


def huge_body(target: Target) -> None:
    """A body without an end."""
    with target.connect() as connection:
        connection.sendall(b"POST /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        while not target.is_over.is_set():
            connection.sendall(65536 * b"x")


def wrong_host(target: Target) -> None:
    """Another site's name."""
    target.say(b"GET /frame.jpg HTTP/1.1\r\nHost: attacker.example\r\n\r\n")


def wrong_token(target: Target) -> None:
    """Guesses."""
    target.say(b"GET /frame.jpg?token=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % time.monotonic_ns())


def traversal(target: Target) -> None:
    """Files that are none of the page's."""
    target.say(b"GET /../../../etc/passwd?token=rig HTTP/1.1\r\nHost: localhost\r\n\r\n")


def takes_nothing(target: Target) -> None:
    """A viewer of the stream that reads nothing."""
    target.say(b"GET /stream.mjpg?token=rig HTTP/1.1\r\nHost: localhost\r\n\r\n", wait_s=10)


def garbage_in_socket(target: Target) -> None:
    """An upgrade to a WebSocket, and then garbage."""
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    target.say(b"GET /live?token=rig HTTP/1.1\r\nHost: localhost\r\n" + upgrade + key + bytes(range(256)))


CLIENTS: Final[tuple[Client, ...]] = (
    *(drips, half_opens, thousand, huge_head, huge_body),
    *(wrong_host, wrong_token, traversal, takes_nothing, garbage_in_socket),
)


@contextmanager
def hostile_clients(port: int, pause_s: float = 0.05) -> Iterator[None]:
    """All ten at work for as long as a block runs, again and again."""
    target = Target(port)

    def keep_at(client: Client) -> None:
        while not target.is_over.is_set():
            with suppress(OSError):
                client(target)
            target.is_over.wait(pause_s)

    threads = [Thread(target=keep_at, args=(client,)) for client in CLIENTS]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        target.is_over.set()
        for thread in threads:
            thread.join()
