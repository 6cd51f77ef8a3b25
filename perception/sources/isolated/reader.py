"""A source in a process of its own, which may hang in a driver or die in a decoder: it can be killed.

Frames come through shared memory, all else as JSON: nothing that a damaged process sends is run.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from perception.frame import Frame
from perception.sources.isolated.messages import (
    LARGEST_MESSAGE,
    Ended,
    MalformedMessage,
    Message,
    NewFrame,
    NewRing,
    Opened,
    decoded,
)
from perception.sources.isolated.reader_process import OPEN, SLOTS
from perception.sources.isolated.shared_memory import RingView
from perception.sources.isolated.starter import STARTER, Process
from perception.sources.source import EndOfSource, Source, SourceError, SourceInfo

__all__ = ["GRACE_S", "IS_SUPPORTED", "SLOTS", "Reader", "ReaderDied", "ReaderLost", "ReaderMalformed"]

GRACE_S: Final = 1.0
"""That a reader has to hang up when it is told to end."""
IS_SUPPORTED: Final = sys.platform == "linux"

_MAIN: Final = str(Path(__file__).with_name("reader_main.py"))
_KILL_LIMIT_S: Final = 0.2  # one that a driver holds in the kernel is left to end when it can


class ReaderLost(SourceError):
    """The process of a source cannot be gone on with, or could not be started: another may do better."""


class ReaderDied(ReaderLost):
    """The process of a source has ended by itself; the message says how."""


class ReaderMalformed(ReaderLost):
    """The process of a source said what no sound process says."""


class Reader:
    """The node's side: starts the process, opens its source, and takes frames with a time limit.

    The process is started from nothing, by `reader_main.py`: it has none of this process's threads, locks,
    descriptors or modules, and needs no server and no folder to be started by. What makes the source goes
    to it through their socket, so that no password stands on a command line.

    Args:
        build: makes the source, not yet open, in the process; must be picklable, and of a module that can
            be imported there, which the program that was started (`__main__`) cannot.
        name: of the source in errors, without any password.
    """

    def __init__(self, build: Callable[[], Source], name: str) -> None:
        self._build, self._name = pickle.dumps(build), name
        self._process: Process | None = None
        self._socket: socket.socket | None = None
        self._ring: RingView | None = None
        self._generation = 0
        self._held: set[int] = set()
        self.counts: dict[str, int] = {}
        """What the source counted so far, such as `decode_errors`."""

    def open(self) -> None:
        """Ask for the source to be opened, in a new process if need be; `take` gives what comes of it.

        A source that is open is closed first.

        Raises:
            ReaderLost: if the process is gone, or cannot be started.
        """
        if self._socket is None:
            self._start()
        assert self._socket is not None
        try:
            self._socket.send(OPEN)
        except OSError:
            raise self._death() from None

    @property
    def waits_for_slot(self) -> bool:
        """Whether the process waits for this one: every slot holds a frame that is still in use here."""
        return len(self._held) >= SLOTS

    def fileno(self) -> int:
        """To wait for a message together with other things; -1 where there is no process."""
        return -1 if self._socket is None else self._socket.fileno()

    def take(self) -> SourceInfo | Frame | None:
        """What came, without waiting; None where nothing did.

        Raises:
            EndOfSource: after the last frame of a recording.
            SourceError: if the source cannot be opened or read on; `open` may be tried again.
            ReaderLost: if the process is gone, or says what it should not.
        """
        while self._socket is not None:
            message = self._message(self._socket)
            match message:
                case None:
                    return None
                case Opened(info):
                    return info
                case NewFrame():
                    return self._frame(message)
                case NewRing():
                    pass
                case Ended(counts):
                    self.counts = counts
                    raise EndOfSource
                case _:
                    raise SourceError(message.text)
        return None

    def close(self, grace_s: float = GRACE_S) -> None:
        """End the process: let it hang up, or kill it when it does not; safe to call twice."""
        process, self._process, self._ring = self._process, None, None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if process is not None and _status(process, grace_s) is None:
            process.kill()
            _status(process, _KILL_LIMIT_S)
        if process is not None:
            STARTER.ended()

    def _start(self) -> None:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise self._not_started(error) from None
        command = [sys.executable, "-P", _MAIN]
        # a session of its own: what a terminal sends to all is for the node alone, which ends its readers;
        # nothing on standard output, which belongs to the records

        def start() -> Process:
            return subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, start_new_session=True
            )

        try:
            ours.setblocking(False)  # recv_fds has no ear for flags
            ours.send(pickle.dumps((os.getpid(), sys.path, self._build)))
            self._process = STARTER.run(start)
        except (OSError, RuntimeError, MemoryError) as error:
            ours.close()
            raise self._not_started(error) from None
        finally:
            theirs.close()
        self._socket = ours

    def _not_started(self, error: Exception) -> ReaderLost:
        why = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        return ReaderLost(f"{self._name}: the process that reads it cannot be started: {why.lower()}")

    def _message(self, connection: socket.socket) -> Message | None:
        """The next message, a ring that came with it in use already; None where there is none yet."""
        try:
            data, descriptors, flags, _ = socket.recv_fds(connection, LARGEST_MESSAGE, 1)
        except BlockingIOError:
            return None
        except OSError:
            data, descriptors, flags = b"", [], 0
        try:
            if not data:
                raise self._death()
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise MalformedMessage("it did not come whole")
            message = decoded(data)
            if isinstance(message, NewRing):
                if len(descriptors) != 1:
                    raise MalformedMessage("no memory with it")
                self._ring = RingView(descriptors.pop(), message.slots, message.slot_bytes)
                self._generation, self._held = message.generation, set()
        except (MalformedMessage, OSError, ValueError) as error:
            self.close(grace_s=0)
            why = str(error)[:200]
            raise ReaderMalformed(f"{self._name}: the process that reads it is damaged: {why}") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return message

    def _frame(self, told: NewFrame) -> Frame:
        ring = self._ring
        if ring is None or not ring.holds(told.slot, told.layout) or told.slot in self._held:
            self.close(grace_s=0)
            raise ReaderMalformed(f"{self._name}: the process that reads it is damaged: frame without memory")
        self.counts = told.counts
        self._held.add(told.slot)
        release = partial(self._release, self._generation, self._held)
        return Frame(pixels=ring.pixels(told.slot, told.layout, release), **told.values)

    def _release(self, generation: int, held: set[int], slot: int) -> None:
        held.discard(slot)
        connection = self._socket
        if connection is not None:
            with suppress(OSError):  # its process is gone, and the slot with it
                connection.send(bytes([generation, slot]))

    def _death(self) -> ReaderDied:
        status = _status(self._process, GRACE_S) if self._process is not None else None
        cause = f"was killed by {_signal_name(-status)}" if status is not None and status < 0 else "ended"
        self.close(grace_s=0)
        return ReaderDied(f"{self._name}: the process that reads it {cause}")


def _status(process: Process, limit_s: float) -> int | None:
    """With which it ended; None where it does not in time."""
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name of their own
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else f"signal {number}"
