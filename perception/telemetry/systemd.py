"""Notifications to systemd: ready, watchdog, stopping and a status line.

The protocol is sd_notify(3): datagrams of `NAME=value` lines to the socket in `NOTIFY_SOCKET`.

A heartbeat is sent while **outputs are published at their rate**, with or without masks, and the node has no
dead end. Masks are not required: a node that reports for an hour that the camera is lost, and tries to
reconnect, does its work, and a restart would only prolong the outage. Readers of masks are protected by the
camera state in every record and by `/readyz`. A living process is not enough either: if its data path is
stuck it publishes nothing, and is restarted.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from perception.frame import EngineState
from perception.system.redaction import redacted_line
from perception.system.time_limits import STARTING_LIMIT_S
from perception.telemetry.health import HealthReport

STATUS_EVERY_S = 5.0


class SystemdNotifier:
    """Notifies systemd at every `tick`; does nothing if `NOTIFY_SOCKET` is not set.

    A message that cannot be delivered does not block the node, and is sent again at the next tick.

    Args:
        is_ready_at_start: ready at the first tick, as for a recording; otherwise once the first mask of a
            fresh frame is published.
        environment: the variables that systemd sets.
    """

    def __init__(self, is_ready_at_start: bool = False, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self._is_ready = is_ready_at_start
        self._sent: set[str] = set()
        self._heartbeat_s = _watchdog_s(environment) / 2
        self._heartbeat_due_s = self._status_due_s = 0.0
        self._last_state: tuple[object, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether systemd expects notifications."""
        return self._socket is not None

    def tick(self, status: HealthReport | None, *, is_stopping: bool = False) -> None:
        """Send what is due; call it at least every half second.

        A watchdog of less than 2 seconds would leave no margin between two ticks.

        Args:
            status: None of a node that has no source, and waits for one.
            is_stopping: the node is about to end.
        """
        if self._socket is None:
            return
        now_s = time.monotonic_ns() / 1e9
        is_alive = status is None or status.is_alive
        self._is_ready |= status is None or status.is_ready
        if self._is_ready:
            self._once("READY=1")
        if is_stopping:
            self._once("STOPPING=1")
        if is_alive and self._is_heartbeat_due(now_s) and self._send("WATCHDOG=1"):
            self._heartbeat_due_s = now_s + self._heartbeat_s
        state: tuple[object, ...] = (is_alive,)
        if status is not None:
            state += (status.phase, status.camera_state, status.engine_state, status.is_ready)
        if now_s >= self._status_due_s or state != self._last_state:
            lines = [f"STATUS={_one_line(status)}"]
            if is_alive and "READY=1" not in self._sent:
                lines.append(f"EXTEND_TIMEOUT_USEC={STARTING_LIMIT_S * 1e6:.0f}")
            if self._send("\n".join(lines)):
                self._status_due_s, self._last_state = now_s + STATUS_EVERY_S, state

    def close(self) -> None:
        """Close the socket. Safe to call twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _is_heartbeat_due(self, now_s: float) -> bool:
        is_watched = self._heartbeat_s > 0 and "READY=1" in self._sent
        return is_watched and now_s >= self._heartbeat_due_s

    def _once(self, message: str) -> None:
        if message not in self._sent and self._send(message):
            self._sent.add(message)

    def _send(self, message: str) -> bool:
        assert self._socket is not None
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:  # no listener, or its queue is full
            return False
        return True


def _address(setting: str) -> bytes:
    """Address of a socket file (`/…`) or an abstract socket (`@…`); empty for none and for other kinds."""
    if setting.startswith("@"):
        return b"\0" + os.fsencode(setting[1:])
    return os.fsencode(setting) if setting.startswith("/") else b""


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """systemd's watchdog timeout; 0 if it expects no heartbeats from this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    timeout_us = environment.get("WATCHDOG_USEC", "")
    return int(timeout_us) / 1e6 if timeout_us.isdecimal() else 0.0


def _one_line(status: HealthReport | None) -> str:
    """The line that `systemctl status` shows."""
    if status is None:
        return "there is no source"
    if not status.is_alive:
        state = f"stuck: {status.why_not_alive}"
    elif status.is_ready:
        state = f"masks are fresh, camera {status.camera_state}"
        state += f" ({status.camera_reason})" if status.camera_reason else ""
    else:
        state = f"no fresh mask: {status.why_not_ready}"
    frames = status.frames
    parts = [state, f"{frames.published} published", f"{frames.dropped_in_all} dropped"]
    if status.engine_state is EngineState.FALLBACK:
        parts.append(f"engine {status.engine_state} on {status.provider}")
    parts += [f"{name} failed" for name, sink in status.sinks.items() if sink.issue]
    return redacted_line(" ".join("; ".join(parts).split()))
