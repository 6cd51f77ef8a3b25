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
    """Starts processes in a thread that lives as long as this process does.

    The kernel kills a process that asked for it (PR_SET_PDEATHSIG) when the thread that started it ends.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: SimpleQueue[tuple[Start, Future[Process]]] = SimpleQueue()
        self._thread: Thread | None = None

    def run(self, start: Start) -> Process:
        """The process that `start` gives; raises what that does, and RuntimeError without a thread."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # the first, or in a fork of this process
                thread = Thread(target=self._serve, name="reader start", daemon=True)
                thread.start()
                self._thread = thread
        process: Future[Process] = Future()
        self._asked.put((start, process))
        return process.result()

    def _serve(self) -> None:
        while True:
            start, process = self._asked.get()
            try:
                process.set_result(start())
            except BaseException as error:
                process.set_exception(error)


STARTER: Final = Starter()
