"""LocalPool: workers as processes of this machine, which end with it whatever happens to it."""

from __future__ import annotations

import json
import logging
import selectors
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from typing import Any, Final

from perception.archive.clip import Clip
from perception.archive.error import ArchiveError
from perception.archive.job import ClipResult, Job
from perception.archive.pool import Finished, Task
from perception.cli.command import describe, open_standard_streams, quiet_libraries
from perception.cli.log import log_to_stderr, set_verbosity
from perception.system.child_process import IS_SUPPORTED, ChildProcess
from perception.system.json_text import json_text
from perception.system.time_limits import CHILD_KILL_LIMIT_S

BEAT_S, SILENT_S = 2.0, 30.0
"""How often a worker says that it lives, and after how long without that it is replaced."""
MOST_FALSE_STARTS: Final = 3
"""Workers in a row that are lost before they are ready."""
_LARGEST_MESSAGE: Final = 1 << 20


def serve_clips(job: Job, level: int, connection: socket.socket) -> None:
    """Body of a worker's process: one clip a message, until the other end is closed."""
    open_standard_streams()
    quiet_libraries()
    log_to_stderr("drivable-archive")
    set_verbosity(max(level, logging.ERROR) if level > logging.DEBUG else level)
    from perception.archive.work import ClipWorker  # takes its time

    try:
        worker = ClipWorker(job)
    except Exception as error:
        _send(connection, {"error": str(error) or describe(error)})
        return
    _send(connection, {"ready": True})
    Thread(target=_beat, args=(connection,), name="heartbeat", daemon=True).start()
    while message := connection.recv(_LARGEST_MESSAGE):
        asked = json.loads(message)
        try:
            result = worker.process(Clip.of(asked["clip"]), asked["attempt"])
        except ArchiveError as error:
            _send(connection, {"error": str(error)})
            return
        except Exception as error:
            _send(connection, {"lost": describe(error)})
            return
        _send(connection, {"result": result.as_dict(), "is_usable": worker.is_usable})
        if not worker.is_usable:
            return


def _beat(connection: socket.socket) -> None:
    """Say every few seconds that this process lives; a message is sent whole, whichever thread sends it."""
    with suppress(OSError):
        while True:
            time.sleep(BEAT_S)
            _send(connection, {"beat": True})


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json_text(message).encode())


@dataclass(eq=False)
class _Worker:
    child: ChildProcess
    is_ready: bool = False
    task: Task | None = None
    heard_s: float = field(default_factory=time.monotonic)
    """When it last said anything."""


class LocalPool:
    """See `Pool`."""

    def __init__(self, job: Job, workers: int) -> None:
        """Start the workers; raises ArchiveError if that is not possible."""
        if not IS_SUPPORTED:
            raise ArchiveError("--engine local needs Linux; use --engine ray")
        self._serve = partial(serve_clips, job, logging.getLogger("perception").level)
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._false_starts = 0
        try:
            for _ in range(workers):
                self._start()
        except BaseException:
            self.close()
            raise

    @property
    def room(self) -> int:
        """How many workers are free."""
        return sum(worker.is_ready and worker.task is None for worker in self._workers)

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def submit(self, task: Task) -> None:
        """Give a free worker a clip."""
        worker = next(each for each in self._workers if each.is_ready and each.task is None)
        worker.task = task
        with suppress(OSError):  # of one that has just ended: its end is read from it
            _send(worker.child.connection, {"clip": task.clip.as_dict(), "attempt": task.attempt})

    def wait(self, limit_s: float) -> list[Finished]:
        """What has come back."""
        finished = []
        for key, _ in self._selector.select(limit_s):
            worker: _Worker = key.data
            try:
                message = worker.child.connection.recv(_LARGEST_MESSAGE)
            except OSError:
                message = b""
            worker.heard_s = time.monotonic()
            answer = json.loads(message) if message else {}
            if "error" in answer:
                raise ArchiveError(answer["error"])
            if "beat" in answer:
                continue
            if "ready" in answer:
                worker.is_ready, self._false_starts = True, 0
            elif "result" in answer and worker.task is not None:
                finished.append(Finished(worker.task, ClipResult.of(answer["result"])))
                worker.task = None
                if not answer["is_usable"]:
                    self._replace(worker)
            else:
                reason = answer.get("lost") or self._end_of(worker)
                if worker.task is not None:
                    finished.append(Finished(worker.task, None, reason))
                if not worker.is_ready:
                    self._count_false_start(reason)
                self._replace(worker)
        return finished + self._silent_ones()

    def _silent_ones(self) -> list[Finished]:
        """Replace workers that have said nothing for long, as they are stopped or hang as a whole."""
        finished = []
        now_s = time.monotonic()
        for worker in [it for it in self._workers if it.is_ready and now_s - it.heard_s > SILENT_S]:
            if worker.task is not None:
                finished.append(Finished(worker.task, None, f"it said nothing for {SILENT_S:g} s"))
            self._replace(worker)
        return finished

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self._workers:
            worker.child.close(0)
        self._workers.clear()
        self._selector.close()

    def _start(self) -> None:
        try:
            child = ChildProcess(self._serve)
        except (OSError, RuntimeError, MemoryError) as error:
            raise ArchiveError(f"no worker can be started: {describe(error)}") from None
        worker = _Worker(child)
        self._workers.append(worker)
        self._selector.register(child.connection, selectors.EVENT_READ, worker)

    def _replace(self, worker: _Worker) -> None:
        self._selector.unregister(worker.child.connection)
        self._workers.remove(worker)
        worker.child.close(0)
        self._start()

    def _end_of(self, worker: _Worker) -> str:
        status = worker.child.status(CHILD_KILL_LIMIT_S)
        if status is None:
            return "it answers nothing"
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _count_false_start(self, reason: str) -> None:
        self._false_starts += 1
        if self._false_starts >= MOST_FALSE_STARTS:
            raise ArchiveError(f"workers do not start: {reason}; is there enough memory?")
