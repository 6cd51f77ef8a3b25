"""A reader process: opens its source when the node asks for it, and sends its frames until it ends."""

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
"""Frames in flight: more than all queues of a live run can hold."""
OPEN: Final = b"\xff"
"""The node's request to open the source, or to reopen it."""


class _NodeGone(Exception):
    """The node has closed the connection."""


class _OpenAgain(Exception):
    """The node asked to reopen the source."""


def serve(connection: socket.socket, build: bytes) -> None:
    """Serve the source made by the pickled `build`; returns when the node is gone."""
    tune_process()
    writer = _Writer(connection)
    source: Source | None = None
    with suppress(_NodeGone):
        while True:
            writer.wait_for_open()
            outcome: Ended | Failed | None = None
            try:
                source = source or pickle.loads(build)()
                writer.give(source)
            except EndOfSource:
                outcome = Ended(_counts(source) if source is not None else {})
            except SourceError as error:
                outcome = Failed(str(error))
            except _OpenAgain:
                pass
            except _NodeGone:
                raise
            except Exception as error:  # a library's: the node may try again
                outcome = Failed(f"{type(error).__name__}: {error}")
            finally:
                with suppress(Exception):  # a library's, about a device or stream that is gone
                    if source is not None:
                        source.close()
            if outcome is not None:
                writer.send(outcome)


class _Writer:
    """The writing end of the socket and the ring."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._ring: Ring | None = None
        self._generation = 0
        self._free: list[int] = []
        self._held: set[int] = set()
        self._is_asked = False
        self._missed = 0

    def wait_for_open(self) -> None:
        """Wait for the request to open the source; raises _NodeGone."""
        while not self._is_asked:
            self._listen(waits=True)
        self._is_asked = False

    def give(self, source: Source) -> None:
        """Open the source and send its frames; raises what the source raises, _OpenAgain and _NodeGone."""
        info = source.open()
        self.send(Opened(info))
        while True:
            frame = source.read()
            slot = self._slot_for(frame, info.is_live)
            if slot is None:
                self._missed += 1
                continue
            assert self._ring is not None
            jpeg = _jpeg_of(frame)
            layout = self._ring.fill(slot, frame.pixels, jpeg)
            values = {name: getattr(frame, name) for name in FRAME_FIELDS}
            values["missed_before"] += self._missed
            self._missed = 0
            self.send(NewFrame(slot, layout, values, _counts(source), len(jpeg)))

    def send(self, message: Message, descriptor: int | None = None) -> None:
        """Send one message; raises _NodeGone."""
        rights = [] if descriptor is None else [_rights(descriptor)]
        try:
            self._connection.sendmsg([encoded(message)], rights)
        except OSError as error:
            raise _NodeGone from error

    def _slot_for(self, frame: Frame, is_live: bool) -> int | None:
        """A free slot; None for a live source, which does not wait for one."""
        size_bytes = Layout.of(frame.pixels).size_bytes * (2 if _jpeg_of(frame) else 1)
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
        """Receive released slots and requests to open; raises _NodeGone."""
        ready = select.select([self._connection], [], [], None if waits else 0)[0]
        while ready:
            try:
                message = self._connection.recv(2, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                raise _NodeGone from error
            if not message:
                raise _NodeGone
            if message == OPEN:
                self._is_asked = True
                continue
            generation, slot = message
            if generation == self._generation and slot in self._held:  # not of an earlier ring
                self._held.remove(slot)
                self._free.append(slot)


def _jpeg_of(frame: Frame) -> bytes:
    """Unless it is larger than the pixels, beside which there is room for as much again."""
    jpeg = frame.jpeg or b""
    return jpeg if len(jpeg) <= Layout.of(frame.pixels).size_bytes else b""


def _rights(descriptor: int) -> tuple[int, int, Any]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor])


def _counts(source: Source) -> dict[str, int]:
    counts = source.counts()
    return {name: count for name in COUNTS if (count := getattr(counts, name))}
