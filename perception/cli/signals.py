"""Signals that ask a command to end: handled from its first moment to its last, without taking a lock."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from perception.system.time_limits import START_LIMIT_S

log = logging.getLogger(__name__)


_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(Exception):
    """The run was asked to end before it began; the message names the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} before the run began")
        self.status = 128 + number
        """Exit status, by the shell's convention."""


class StopSignals:
    """What SIGINT, SIGTERM and SIGHUP asked for.

    Handlers take no lock, for the code that they interrupt may hold it. A thread does what has to be done, on
    what the system writes to a socket; so the main thread may be inside native code. Before the run has begun
    the first signal ends the start, and a second SIGINT the process. Later the run ends in good order, for
    which a second SIGINT leaves it less time.
    """

    def __init__(self) -> None:
        """Handle nothing; see `installed`."""
        self.number: int | None = None
        """The first signal."""
        self.is_urgent = False
        """SIGINT came once more."""
        self._has_begun = False
        self._wake: Callable[[], None] | None = None
        self._exits: Callable[[int], object] | None = None

    @classmethod
    @contextmanager
    def installed(cls, *, is_own_process: bool) -> Iterator[StopSignals]:
        """Handle them; outside the main thread they are left to the program that calls us.

        Args:
            is_own_process: a start that does not end may be ended with the process, and in the end
                signals are ignored. Otherwise they are given back.
        """
        stop = cls()
        if threading.current_thread() is not threading.main_thread():
            yield stop
            return
        if is_own_process:
            stop._exits = _exit
        reading, writing = socket.socketpair()  # a pipe could not be waited for on every system
        writing.setblocking(False)
        listens = stop._listen_in_thread(reading)

        def handle(number: int, where: FrameType | None) -> None:
            if not listens:
                stop._note(number)

        wakeup_before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        before = {}
        for number in _numbers():
            is_ignored = signal.getsignal(number) is signal.SIG_IGN
            if not (is_ignored and number == getattr(signal, "SIGHUP", None)):  # which is nohup's
                before[number] = signal.signal(number, handle)
        try:
            yield stop
        finally:
            for number, handler in before.items():
                # Python gives its own handlers back before it has ended, and a late signal would kill.
                given_back = signal.SIG_DFL if handler is None else handler  # None: not Python's
                signal.signal(number, signal.SIG_IGN if is_own_process else given_back)
            signal.set_wakeup_fd(wakeup_before)
            writing.close()  # which ends the thread

    def wake_by(self, wake: Callable[[], None] | None) -> None:
        """Call this when a signal comes before the run has begun, to end a wait; from another thread."""
        self._wake = wake
        self.check()

    def check(self) -> None:
        """Raise Stopped if the run was asked to end before it began."""
        if self.number is not None and not self._has_begun:
            raise Stopped(self.number)

    def begin(self) -> None:
        """The run begins; from now on it looks at `number` itself. Raises Stopped."""
        self.check()
        self._has_begun = True

    def _note(self, number: int) -> None:
        if self.number is None:
            self.number = number
            if self._wake is not None and not self._has_begun:
                with suppress(Exception):
                    self._wake()
        elif number == signal.SIGINT:
            self.is_urgent = True

    def _listen_in_thread(self, reading: socket.socket) -> bool:
        thread = threading.Thread(target=self._listen, args=(reading,), name="signals", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # none can be started: the handlers do then what the thread would
            return False
        return True

    def _listen(self, reading: socket.socket) -> None:
        known = _numbers()
        with reading:
            while True:
                is_ending = self.number is not None and not self._has_begun
                ready, _, _ = select.select([reading], [], [], START_LIMIT_S if is_ending else None)
                message = reading.recv(1) if ready else b""
                if ready and not message:
                    return
                if message and message[0] in known:
                    self._note(message[0])
                if self.number and not self._has_begun and self._exits and (self.is_urgent or not ready):
                    self._exits(self.number)


def _numbers() -> list[int]:
    """Of the signals that this system has."""
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _exit(number: int) -> None:
    stopped = Stopped(number)
    log.error(stopped)
    os._exit(stopped.status)
