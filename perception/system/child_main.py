"""Main program of a child process. It is run as a file, so that nothing is imported before it.

Standard input is the socket to the process that started it. The first message on it holds the module path and
what is to be done.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_LARGEST_MESSAGE = 1 << 20


def main() -> None:
    """Serve the process that started this one, until it is gone."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the parent, which ends its children
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    parent, sys.path[:], serve = pickle.loads(connection.recv(_LARGEST_MESSAGE))
    if os.getppid() != parent:
        return  # it ended before PR_SET_PDEATHSIG took effect
    pickle.loads(serve)(connection)  # needs the path


if __name__ == "__main__":
    main()
