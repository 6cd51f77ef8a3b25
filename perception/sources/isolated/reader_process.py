"""A reader's process: opens its source whenever the node asks, and gives its frames until that ends."""

from __future__ import annotations

import array
import pickle
import select
import socket
from contextlib import suppress
from typing import Any, Final

from perception.frame import Frame
from perception.sources.isolated.messages import (
    COUNTS,
    FRAME_FIELDS,
    GENERATIONS,
    Ended,
    Failed,
    Message,
    NewFrame,
    NewRing,
    Opened,
    encoded,
)
from perception.sources.isolated.shared_memory import Layout, Ring
from perception.sources.source import EndOfSource, Source, SourceError
from perception.system.process import tune_process

SLOTS: Final = 24
"""Frames that may be on their way at once: of a live source what can wait anywhere, and some."""
OPEN: Final = b"\xff"
"""What the node says to have the source opened, again where it is open."""


class _NodeGone(Exception):
    """Nobody is there to read for."""


class _OpenAgain(Exception):
    """The node wants the source opened again, though it is open."""


def serve(connection: socket.socket, build: bytes) -> None:
    """Serve the source that `build`, pickled, makes; returns once the node is gone."""
    tune_process()
    writer = _Writer(connection)
    source: Source | None = None
    with suppress(_NodeGone):
        while True:
            writer.wait_for_open()
            try:
                source = source or pickle.loads(build)()
            except Exception as error:  # a source from elsewhere, that this process cannot import
                writer.send(Failed(_told(error)))
                continue
            outcome = _outcome(writer, source)
            with suppress(Exception):  # of a library, over a device or a stream that is gone
                source.close()
            if outcome is not None:
                writer.send(outcome)


def _outcome(writer: _Writer, source: Source) -> Ended | Failed | None:
    """Give the source's frames until it ends, and say how; raises _NodeGone."""
    outcome: Ended | Failed | None = None
    try:
        writer.give(source)
    except _OpenAgain:
        pass
    except EndOfSource:
        outcome = Ended(_counts(source))
    except SourceError as error:
        outcome = Failed(str(error))
    except _NodeGone:
        source.close()
        raise
    except Exception as error:  # a library's own: the node is to try again, not to guess
        outcome = Failed(_told(error))
    return outcome


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class _Writer:
    """The process's side of the socket and of the slots."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ring: Ring | None = None
        self._generation = 0
        self._free: list[int] = []
        self._held: set[int] = set()
        self._is_asked = False
        self._missed = 0

    def wait_for_open(self) -> None:
        """Wait until the source is asked for; raises _NodeGone."""
        while not self._is_asked:
            self._listen(waits=True)
        self._is_asked = False

    def give(self, source: Source) -> None:
        """Open the source and send its frames; raises what the source does, _OpenAgain and _NodeGone."""
        info = source.open()
        self.send(Opened(info))
        while True:
            frame = source.read()
            slot = self._slot_for(frame, info.is_live)
            if slot is None:
                self._missed += 1
                continue
            assert self._ring is not None
            layout = self._ring.fill(slot, frame.pixels)
            values = {name: getattr(frame, name) for name in FRAME_FIELDS}
            values["missed_before"] += self._missed
            self._missed = 0
            self.send(NewFrame(slot, layout, values, _counts(source)))

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send one message; raises _NodeGone."""
        rights = [] if descriptor is None else [_rights(descriptor)]
        try:
            self._connection.sendmsg([encoded(message)], rights)
        except OSError as error:
            raise _NodeGone from error

    def _slot_for(self, frame: Frame, is_live: bool) -> int | None:
        """A free slot; a live source has none to wait for."""
        size_bytes = Layout.of(frame.pixels).size_bytes
        if self._ring is None or size_bytes > self._ring.slot_bytes:
            self._new_ring(size_bytes)
        while True:
            self._listen(waits=not self._free and not is_live)
            if self._is_asked:
                raise _OpenAgain
            if self._free:
                break
            if is_live:
                return None
        slot = self._free.pop()
        self._held.add(slot)
        return slot

    def _new_ring(self, size_bytes: int) -> None:
        old, self._ring = self._ring, Ring(SLOTS, size_bytes)
        if old is not None:
            old.close()
        self._generation = (self._generation + 1) % GENERATIONS
        self.send(NewRing(SLOTS, self._ring.slot_bytes, self._generation), self._ring.descriptor)
        self._free, self._held = list(range(SLOTS)), set()

    def _listen(self, waits: bool) -> None:
        """Take what the node says: slots that are free again, or to open; raises _NodeGone."""
        ready = select.select([self._connection], [], [], None if waits else 0)[0]
        while ready:
            try:
                said = self._connection.recv(2, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                raise _NodeGone from error
            if not said:
                raise _NodeGone
            if said == OPEN:
                self._is_asked = True
            elif said[0] == self._generation and said[1] in self._held:  # else of a ring that was given up
                self._held.remove(said[1])
                self._free.append(said[1])


def _rights(descriptor: int) -> tuple[int, int, Any]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor])


def _counts(source: Source) -> dict[str, int]:
    return {name: count for name in COUNTS if (count := getattr(source, name, 0))}
