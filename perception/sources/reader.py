"""A source in a process of its own, which may hang in a driver or die in a decoder: it can be killed.

Frames come through shared memory, all else as JSON: nothing that a damaged process sends is run.
"""

from __future__ import annotations

import array
import ctypes
import dataclasses
import json
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any, Final

from perception.frame import Frame
from perception.process import tune_process
from perception.sources.ring import Layout, Ring, RingView
from perception.sources.source import EndOfSource, Source, SourceError, SourceInfo

SLOTS: Final = 24
"""Frames that may be on their way at once: of a live source what can wait anywhere, and some."""
GRACE_S: Final = 1.0
"""That a reader has to hang up when it is told to end."""
IS_SUPPORTED: Final = sys.platform == "linux"

_OPEN: Final = b"\xff"
_KILL_LIMIT_S: Final = 0.2  # one that a driver holds in the kernel is left to end when it can
_GENERATIONS: Final = 255  # of rings, told in a byte; the one left over asks to open
_LARGEST_MESSAGE: Final = 65_536
_LONGEST_TEXT: Final = 2_000
_PR_SET_PDEATHSIG: Final = 1  # of <linux/prctl.h>


class ReaderDied(SourceError):
    """The process of a source has ended by itself; the message says how."""


class Reader:
    """The node's side: starts the process, opens its source, and takes frames with a time limit.

    Args:
        build: makes the source, not yet open, in the process; must be picklable.
        name: of the source in errors, without any password.
    """

    def __init__(self, build: Callable[[], Source], name: str) -> None:
        self._build, self._name = build, name
        self._process: BaseProcess | None = None
        self._socket: socket.socket | None = None
        self._ring: RingView | None = None
        self._generation = 0
        self.counts: dict[str, int] = {}
        """What the source counted so far, such as `decode_errors`."""

    def open(self) -> None:
        """Ask for the source to be opened, in a new process if need be; `take` gives what comes of it."""
        if self._socket is None:
            self._start()
        assert self._socket is not None
        try:
            self._socket.send(_OPEN)
        except OSError:
            raise self._death() from None

    def fileno(self) -> int:
        """To wait for a message together with other things."""
        assert self._socket is not None
        return self._socket.fileno()

    def take(self) -> SourceInfo | Frame | None:
        """What came, without waiting; None where nothing did.

        Raises:
            EndOfSource: after the last frame of a recording.
            SourceError: if the source cannot be opened or read on; `open` may be tried again.
            ReaderDied: if the process is gone.
        """
        while self._socket is not None:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._socket, _LARGEST_MESSAGE, 1)
            except BlockingIOError:
                return None
            except OSError:
                message, descriptors = b"", []
            if not message:
                raise self._death()
            told = json.loads(message)
            self.counts = told.get("counts", self.counts)
            match told["kind"]:
                case "ring":
                    self._ring = RingView(descriptors[0], told["slots"], told["slot_bytes"])
                    self._generation = told["generation"]
                case "opened":
                    values = told["info"]
                    return SourceInfo(**values | {"frame_wh": tuple(values["frame_wh"])})
                case "frame":
                    return self._frame(told)
                case "end":
                    raise EndOfSource
                case _:
                    raise SourceError(told["text"])
        return None

    def close(self, grace_s: float = GRACE_S) -> None:
        """End the process: let it hang up, or kill it when it does not; safe to call twice."""
        process, self._process, self._ring = self._process, None, None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if process is not None:
            process.join(grace_s)
            if process.exitcode is None:
                process.kill()
                process.join(_KILL_LIMIT_S)
            if process.exitcode is not None:
                process.close()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # A fork of this process would take its threads' locks with it; the server of forks has none.
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__, "perception.sources.registry"])
        process = context.Process(target=_serve, args=(theirs, self._build), name="reader", daemon=True)
        process.start()
        theirs.close()
        ours.setblocking(False)  # recv_fds has no ear for flags
        self._process, self._socket = process, ours

    def _frame(self, told: dict[str, Any]) -> Frame:
        assert self._ring is not None
        release = partial(self._release, self._generation)
        pixels = self._ring.pixels(told["slot"], Layout(*told["layout"]), release)
        return Frame(pixels=pixels, **told["frame"])

    def _release(self, generation: int, slot: int) -> None:
        connection = self._socket
        if connection is not None:
            with suppress(OSError):  # its process is gone, and the slot with it
                connection.send(bytes([generation, slot]))

    def _death(self) -> ReaderDied:
        process = self._process
        cause = "ended"
        if process is not None:
            process.join(GRACE_S)
            code = process.exitcode
            if code is not None and code < 0:
                cause = f"was killed by {signal.Signals(-code).name}"
        self.close(grace_s=0)
        return ReaderDied(f"{self._name}: the process that reads it {cause}")


def _serve(connection: socket.socket, build: Callable[[], Source]) -> None:
    """The process: opens the source whenever it is asked to, and gives its frames until that ends."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a terminal's go to all; the node ends its readers
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    tune_process()
    writer = _Writer(connection)
    source = build()
    while writer.wait_for_open():
        try:
            writer.give(source)
        except EndOfSource:
            writer.send({"kind": "end"})
        except SourceError as error:
            writer.send({"kind": "error", "text": str(error)[:_LONGEST_TEXT]})
        except OSError:
            break  # the node is gone
        except Exception as error:  # a library's own: the node is to try again, not to guess
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            writer.send({"kind": "error", "text": text[:_LONGEST_TEXT]})
        finally:
            source.close()


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

    def wait_for_open(self) -> bool:
        """Wait until the source is asked for; False once the node is gone."""
        while not self._is_asked:
            if not self._listen(waits=True):
                return False
        self._is_asked = False
        return True

    def give(self, source: Source) -> None:
        """Open the source and send its frames; raises what the source does, and OSError without the node."""
        info = source.open()
        self.send({"kind": "opened", "info": dataclasses.asdict(info)})
        while True:
            frame = source.read()
            slot = self._slot_for(frame, info.is_live)
            if slot is None:
                self._missed += 1
                continue
            assert self._ring is not None
            layout = self._ring.fill(slot, frame.pixels)
            values = {
                field.name: getattr(frame, field.name)
                for field in dataclasses.fields(frame)
                if field.name != "pixels"
            }
            values["missed_before"] += self._missed
            self._missed = 0
            self.send(
                {
                    "kind": "frame",
                    "slot": slot,
                    "layout": dataclasses.astuple(layout),
                    "frame": values,
                    "counts": _counts(source),
                }
            )

    def send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Send one message; raises OSError without the node."""
        rights = [] if descriptor is None else [_rights(descriptor)]
        self._connection.sendmsg([json.dumps(message).encode()], rights)

    def _slot_for(self, frame: Frame, is_live: bool) -> int | None:
        """A free slot; a live source has none to wait for."""
        size_bytes = Layout.of(frame.pixels).size_bytes
        if self._ring is None or size_bytes > self._ring.slot_bytes:
            self._new_ring(size_bytes)
        while True:
            if not self._listen(waits=not self._free and not is_live):
                raise BrokenPipeError
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
        self._generation = (self._generation + 1) % _GENERATIONS
        told = {"slots": SLOTS, "slot_bytes": self._ring.slot_bytes, "generation": self._generation}
        self.send({"kind": "ring", **told}, self._ring.descriptor)
        self._free, self._held = list(range(SLOTS)), set()

    def _listen(self, waits: bool) -> bool:
        """Take what the node says: slots that are free again, or to open; False once it is gone."""
        ready, _, _ = select.select([self._connection], [], [], None if waits else 0)
        while ready:
            try:
                said = self._connection.recv(2, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                return False
            if not said:
                return False
            if said == _OPEN:
                self._is_asked = True
            elif said[0] == self._generation and said[1] in self._held:  # else of a ring that was given up
                self._held.remove(said[1])
                self._free.append(said[1])
        return True


def _rights(descriptor: int) -> tuple[int, int, Any]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor])


def _counts(source: Source) -> dict[str, int]:
    names = ("decode_errors", "io_errors")
    return {name: getattr(source, name) for name in names if hasattr(source, name)}
