"""Starts processes that end together with this one, however it ends."""

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
    """Starts processes from a thread that lives as long as they do.

    With PR_SET_PDEATHSIG, the kernel kills a process when the thread that started it ends.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: SimpleQueue[tuple[Start, Future[Process]] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._processes = 0

    def run(self, start: Start) -> Process:
        """Call `start` in that thread; raises what it raises, or RuntimeError if no thread can be started.

        The caller reports the end of the process by `ended`.
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
        """One of the processes has ended; the thread ends with the last one."""
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
