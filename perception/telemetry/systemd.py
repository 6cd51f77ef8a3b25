"""What systemd is told of the node: ready, alive, stopping, and a line of state. Nothing where there is none.

The protocol is that of sd_notify(3): datagrams of `NAME=value` lines to the socket in `NOTIFY_SOCKET`.

What keeps the watchdog quiet: **records that go out at their rate**, with masks or without, from a node
without a dead end. Not masks alone: a node that tells for an hour that the camera is lost, and tries to
reconnect, does its work, and to kill it would only add a restart to the outage. Readers of masks are
protected by the camera state on every record and by `/readyz`, which falls with the masks. And not the life
of the process alone: one whose data path stands publishes no record, outages neither, and is restarted.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from perception.frame import EngineState
from perception.system.redaction import redacted_line
from perception.telemetry.health import NodeStatus, Phase

STATUS_EVERY_S = 5.0
STARTING_LIMIT_S = 30.0
"""systemd gives up on a start that was not heard of for so long, once its own limit has passed."""


class SystemdNotifier:
    """Tells systemd of the node, at every `tick`; does nothing where `NOTIFY_SOCKET` is not set.

    A message that cannot be delivered never holds the node up, and is sent again at the next tick.

    Args:
        is_ready_at_start: ready at the first tick, as for a recording; or else once the first mask of a
            fresh frame was published.
        environment: where systemd says what it wants.
    """

    def __init__(self, is_ready_at_start: bool = False, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self._is_ready = is_ready_at_start
        self._told: set[str] = set()
        self._heartbeat_s = _watchdog_s(environment) / 2
        self._heartbeat_due_s = self._status_due_s = 0.0
        self._last_state: tuple[object, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether systemd waits to be told anything."""
        return self._socket is not None

    def tick(self, status: NodeStatus) -> None:
        """Tell what is due; to be called every half second or faster, and never once the node stands still.

        A watchdog of less than 2 seconds would leave no room between two ticks.
        """
        if self._socket is None:
            return
        now_s = time.monotonic_ns() / 1e9
        self._is_ready |= status.is_fresh
        if self._is_ready:
            self._once("READY=1")
        if status.phase is Phase.STOPPING:
            self._once("STOPPING=1")
        if self._is_heartbeat_due(status, now_s) and self._send("WATCHDOG=1"):
            self._heartbeat_due_s = now_s + self._heartbeat_s
        state = (
            *(status.phase, status.camera_state, status.engine_state),
            *(status.is_fresh, status.is_alive),
        )
        if now_s >= self._status_due_s or state != self._last_state:
            lines = [f"STATUS={_one_line(status)}"]
            if status.is_alive and "READY=1" not in self._told:
                lines.append(f"EXTEND_TIMEOUT_USEC={STARTING_LIMIT_S * 1e6:.0f}")
            if self._send("\n".join(lines)):
                self._status_due_s, self._last_state = now_s + STATUS_EVERY_S, state

    def close(self) -> None:
        """Tell nothing more; safe to call twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _is_heartbeat_due(self, status: NodeStatus, now_s: float) -> bool:
        is_watched = self._heartbeat_s > 0 and "READY=1" in self._told
        return is_watched and status.is_alive and now_s >= self._heartbeat_due_s

    def _once(self, message: str) -> None:
        if message not in self._told and self._send(message):
            self._told.add(message)

    def _send(self, message: str) -> bool:
        assert self._socket is not None
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:  # nobody listens, or more waits to be read there than may
            return False
        return True


def _address(told: str) -> bytes:
    """Of a socket file (`/…`) or an abstract socket (`@…`); empty for none and for other kinds."""
    if told.startswith("@"):
        return b"\0" + os.fsencode(told[1:])
    return os.fsencode(told) if told.startswith("/") else b""


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """The time after which systemd misses a heartbeat; 0 where it waits for none of this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    told = environment.get("WATCHDOG_USEC", "")
    return int(told) / 1e6 if told.isdecimal() else 0.0


def _one_line(status: NodeStatus) -> str:
    """What `systemctl status` shows."""
    if not status.is_alive:
        state = f"stands still: {status.why_not_alive}"
    elif status.is_fresh:
        state = f"masks are fresh, camera {status.camera_state}"
        state += f" ({status.camera_reason})" if status.camera_reason else ""
    else:
        state = f"no fresh mask: {status.why_not_fresh}"
    frames = status.frames
    told = [state, f"{frames.published} published", f"{frames.dropped_in_all} dropped"]
    if status.engine_state is EngineState.FALLBACK:
        told.append(f"engine {status.engine_state} on {status.provider}")
    told += [f"{name} failed" for name, sink in status.sinks.items() if sink.error]
    return redacted_line(" ".join("; ".join(told).split()))
