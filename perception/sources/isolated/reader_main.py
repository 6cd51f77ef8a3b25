"""What a reader's process runs, as a file and not as a module: nothing of the node's is imported for it.

The socket to the node is standard input. The first message on it says where modules are, and which source.
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
        signal.signal(number, signal.SIG_IGN)  # what is sent to all is for the node, which ends its readers
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    node, sys.path[:], build = pickle.loads(connection.recv(_LARGEST_MESSAGE))
    if os.getppid() != node:
        return  # it went before the kernel knew that we go with it
    from perception.sources.isolated.reader_process import serve  # after the path is known

    serve(connection, build)


if __name__ == "__main__":
    main()
