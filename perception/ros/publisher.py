"""The node's end of the process that publishes to ROS 2."""

from __future__ import annotations

import json
import logging
import math
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from perception.ros.network import Network, RosError, Topic
from perception.ros.publisher_process import PART_BYTES, serve
from perception.system.child_process import ChildProcess
from perception.system.time_limits import OPEN_TIMEOUT_S, ROS_GRACE_S, ROS_TAKE_LIMIT_S

log = logging.getLogger(__name__)

_LONGEST_MESSAGE: Final = 65_536


class RosPublisher:
    """Publishes messages by a process of its own, and knows who subscribes.

    Args:
        network: to publish on.
        topics: that are offered.

    Raises:
        RosError: if the process cannot be started, or the network not be reached; and by every method but
            `close` if the process is gone or takes nothing any more.
    """

    def __init__(self, network: Network, topics: Sequence[Topic]) -> None:
        try:
            self._process = ChildProcess(partial(serve, network=network, topics=topics))
        except (OSError, RuntimeError, MemoryError) as error:
            why = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
            raise RosError(f"ros: the process that publishes cannot be started: {why.lower()}") from None
        self._socket = self._process.connection
        self._socket.settimeout(ROS_TAKE_LIMIT_S)
        self._subscribed: frozenset[str] = frozenset()
        self._is_ready = self._is_closed = False
        try:
            self._wait_until_open()
        except BaseException:
            self.close(grace_s=0.0)
            raise

    def subscribed(self) -> frozenset[str]:
        """Topics with subscribers, as of a moment ago; latched ones left out."""
        self._listen()
        return self._subscribed

    def publish(self, topic: str, data: bytes) -> None:
        """Send a message, in CDR."""
        try:
            self._socket.send(json.dumps({"topic": topic, "bytes": len(data)}).encode())
            parts = memoryview(data)
            for start in range(0, len(data), PART_BYTES):
                self._socket.send(parts[start : start + PART_BYTES])
        except TimeoutError:
            self.close(grace_s=0.0)
            raise RosError(f"ros: the network accepted nothing for {ROS_TAKE_LIMIT_S:g} s") from None
        except OSError:
            self._listen()  # it may have said why
            raise self._death() from None

    def close(self, grace_s: float = ROS_GRACE_S) -> None:
        """Let the process publish what it has, and end; safe to call twice."""
        if not self._is_closed:
            self._is_closed = True
            with suppress(OSError):  # it is gone
                self._socket.shutdown(socket.SHUT_WR)  # what closes at once loses what is on its way
                self._process.status(grace_s)
            self._process.close(grace_s=0.0)

    def _wait_until_open(self) -> None:
        until_s = time.monotonic() + OPEN_TIMEOUT_S
        while not self._is_ready:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise RosError(f"ros: the network could not be joined within {OPEN_TIMEOUT_S:g} s")
            self._listen(left_s)

    def _listen(self, wait_s: float = 0.0) -> None:
        """Take what the process has said so far."""
        while not self._is_closed and self._is_readable(wait_s):
            wait_s = 0.0
            try:
                said = self._socket.recv(_LONGEST_MESSAGE)
            except OSError:
                said = b""
            if not said:
                raise self._death()
            match json.loads(said):
                case {"subscribed": topics}:
                    self._subscribed = frozenset(topics)
                case {"warning": text}:
                    log.warning(text)
                case {"waiting": text}:
                    log.warning(text)
                    self._is_ready = True
                case {"open": description}:
                    log.info(f"ros: {description}")
                    self._is_ready = True
                case {"problem": text}:
                    self.close(grace_s=0.0)
                    raise RosError(" ".join(text.split()))

    def _is_readable(self, wait_s: float) -> bool:
        poll = select.poll()  # select.select takes no descriptor above 1023
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(math.ceil(wait_s * 1000)))

    def _death(self) -> RosError:
        self.close(grace_s=0.0)
        return RosError("ros: the process that publishes has ended")
