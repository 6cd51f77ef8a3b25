"""A fresh interpreter that serves this process: whatever hangs or crashes in it can be killed."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from perception.system.time_limits import CHILD_KILL_LIMIT_S

IS_SUPPORTED: Final = sys.platform == "linux"

_MAIN: Final = str(Path(__file__).with_name("child_main.py"))


class ChildProcess:
    """A process that serves at the other end of a socket (SOCK_SEQPACKET), and ends with this one.

    It has none of this process's threads, locks, descriptors and modules, no server and no temporary files,
    no standard output, which belongs to the records, and a session of its own: a terminal's signals are for
    this process. What it needs is sent over the socket, so that no password appears on a command line.

    Args:
        serve: called there with its end of the socket, and returns when the other end is closed; must be
            picklable and importable there, which excludes the `__main__` module.

    Raises:
        OSError, RuntimeError, MemoryError: if it cannot be started.
    """

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        message = pickle.dumps((os.getpid(), sys.path, pickle.dumps(serve)))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # with PR_SET_PDEATHSIG, the kernel kills a process when the thread that started it ends
        starter = ThreadPoolExecutor(1, "child start")
        try:
            ours.send(message)
            self._process = starter.submit(
                lambda: subprocess.Popen(
                    [sys.executable, "-P", _MAIN],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
            ).result()
        except BaseException:
            ours.close()
            starter.shutdown(wait=False)
            raise
        finally:
            theirs.close()
        self.connection, self._starter = ours, starter

    def status(self, limit_s: float) -> int | None:
        """Exit status; None if it does not end in time."""
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None

    def close(self, grace_s: float) -> None:
        """End it, by force after `grace_s`; safe to call twice."""
        self.connection.close()
        if self.status(grace_s) is None:
            self._process.kill()
            self.status(CHILD_KILL_LIMIT_S)
        self._starter.shutdown()
