"""The node's end of a reader process, which may hang in a driver or crash in a decoder and can be killed.

Frames arrive through shared memory, everything else as JSON: nothing sent by a corrupted process is executed.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

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
from perception.sources.isolated.reader_process import OPEN, SLOTS, serve
from perception.sources.isolated.shared_memory import RingView
from perception.sources.source import EndOfSource, Source, SourceError, SourceInfo
from perception.system.child_process import IS_SUPPORTED, ChildProcess
from perception.system.time_limits import READER_GRACE_S

__all__ = ["IS_SUPPORTED", "SLOTS", "Reader", "ReaderDied", "ReaderLost", "ReaderMalformed"]


class ReaderLost(SourceError):
    """The reader process is unusable or could not be started; a new one may work."""


class ReaderDied(ReaderLost):
    """The reader process ended by itself; the message says how."""


class ReaderMalformed(ReaderLost):
    """The reader process sent an invalid message."""


class Reader:
    """Starts the process, opens its source and takes its frames.

    Args:
        build: makes the source, not yet open, in the process; must be picklable and importable there, which
            excludes the `__main__` module.
        name: of the source in errors, without any password.
    """

    def __init__(self, build: Callable[[], Source], name: str) -> None:
        self._build, self._name = pickle.dumps(build), name
        self._process: ChildProcess | None = None
        self._socket: socket.socket | None = None
        self._ring: RingView | None = None
        self._generation = 0
        self._held: set[int] = set()
        self.counts: dict[str, int] = {}
        """The source's counters so far, such as `decode_errors`."""

    def open(self) -> None:
        """Request the source to be opened, in a new process if necessary; `take` gives the outcome.

        An open source is closed first.

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
        """Whether every slot holds a frame that is still in use here."""
        return len(self._held) >= SLOTS

    def fileno(self) -> int:
        """For polling; -1 without a process."""
        return -1 if self._socket is None else self._socket.fileno()

    def take(self) -> SourceInfo | Frame | None:
        """The next message without waiting; None if there is none.

        Raises:
            EndOfSource: after the last frame of a recording.
            SourceError: if the source cannot be opened or read further; `open` may be tried again.
            ReaderLost: if the process is gone or sent an invalid message.
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

    def close(self, grace_s: float = READER_GRACE_S) -> None:
        """End the process, by force after `grace_s`; safe to call twice."""
        process, self._process, self._ring, self._socket = self._process, None, None, None
        if process is not None:
            process.close(grace_s)

    def _start(self) -> None:
        try:
            self._process = ChildProcess(partial(serve, build=self._build))
        except (OSError, RuntimeError, MemoryError) as error:
            raise self._not_started(error) from None
        self._socket = self._process.connection
        self._socket.setblocking(False)  # recv_fds ignores MSG_DONTWAIT

    def _not_started(self, error: Exception) -> ReaderLost:
        why = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        return ReaderLost(f"{self._name}: the process that reads it cannot be started: {why.lower()}")

    def _message(self, connection: socket.socket) -> Message | None:
        """The next message, with a ring that came with it mapped; None if there is none yet."""
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
                raise MalformedMessage("incomplete message")
            message = decoded(data)
            if isinstance(message, NewRing):
                if len(descriptors) != 1:
                    raise MalformedMessage("ring without memory")
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

    def _frame(self, message: NewFrame) -> Frame:
        ring, slot = self._ring, message.slot
        if ring is None or not ring.holds(slot, message.layout, message.jpeg_bytes) or slot in self._held:
            self.close(grace_s=0)
            raise ReaderMalformed(f"{self._name}: the process that reads it is damaged: frame without memory")
        self.counts = message.counts
        self._held.add(slot)
        release = partial(self._release, self._generation, self._held)
        jpeg = ring.jpeg(slot, message.layout, message.jpeg_bytes)
        return Frame(pixels=ring.pixels(slot, message.layout, release), jpeg=jpeg, **message.values)

    def _release(self, generation: int, held: set[int], slot: int) -> None:
        held.discard(slot)
        connection = self._socket
        if connection is not None:
            with suppress(OSError):  # the process is gone
                connection.send(bytes([generation, slot]))

    def _death(self) -> ReaderDied:
        status = self._process.status(READER_GRACE_S) if self._process is not None else None
        cause = f"was killed by {_signal_name(-status)}" if status is not None and status < 0 else "ended"
        self.close(grace_s=0)
        return ReaderDied(f"{self._name}: the process that reads it {cause}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else f"signal {number}"
