"""Main program of a reader process. It is run as a file, so that nothing is imported before it.

Standard input is the socket to the node. The first message on it holds the module path and the source.
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
    """Serve the source until the node is gone."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the node handles signals, and ends its readers
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    node, sys.path[:], build = pickle.loads(connection.recv(_LARGEST_MESSAGE))
    if os.getppid() != node:
        return  # the node ended before PR_SET_PDEATHSIG took effect
    from perception.sources.isolated.reader_process import serve  # needs the path

    serve(connection, build)


if __name__ == "__main__":
    main()
