"""Processes that end with this one, whatever ends it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final

Process = subprocess.Popen[bytes]
Start = Callable[[], Process]


class Starter:
    """Starts processes in a thread that lives as long as they do.

    The kernel kills a process that asked for it (PR_SET_PDEATHSIG) when the thread that started it ends.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: SimpleQueue[tuple[Start, Future[Process]] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._processes = 0

    def run(self, start: Start) -> Process:
        """The process that `start` gives; raises what that does, and RuntimeError without a thread.

        Whoever has it calls `ended` once it has ended or was killed.
        """
        process: Future[Process] = Future()
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # the first, or in a fork of this process
                self._asked, self._processes = SimpleQueue(), 0
                thread = Thread(target=_serve, args=(self._asked,), name="reader start", daemon=True)
                thread.start()
                self._thread = thread
            self._processes += 1
            self._asked.put((start, process))
        try:
            return process.result()
        except BaseException:
            self.ended()
            raise

    def ended(self) -> None:
        """One of the processes is no more; with the last of them the thread ends."""
        with self._lock:
            self._processes -= 1
            if self._processes > 0 or self._thread is None:
                return
            thread, self._thread = self._thread, None
            self._asked.put(None)
        thread.join()


def _serve(asked: SimpleQueue[tuple[Start, Future[Process]] | None]) -> None:
    while (job := asked.get()) is not None:
        start, process = job
        try:
            process.set_result(start())
        except BaseException as error:
            process.set_exception(error)


STARTER: Final = Starter()
