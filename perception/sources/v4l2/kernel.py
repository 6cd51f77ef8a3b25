"""System calls on camera devices; tests bring a simulated kernel."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import select
import sys
import time

import numpy as np
from numpy.typing import NDArray

from perception.sources.source import SourceError

if sys.platform == "linux":  # imported but not used elsewhere
    import fcntl


class Mapping:
    """A mapped buffer of the driver; mapping it raises OSError."""

    def __init__(self, descriptor: int, length_bytes: int, offset: int) -> None:
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        self._memory = mmap.mmap(descriptor, length_bytes, mmap.MAP_SHARED, protection, offset=offset)

    def copy(self, size_bytes: int) -> NDArray[np.uint8]:
        """A copy of its first bytes."""
        # no view may outlive this call: it would keep `close` from unmapping
        return np.frombuffer(self._memory, np.uint8, min(size_bytes, len(self._memory))).copy()

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()


class Kernel:
    """System calls on a device. All raise OSError; only `wait` blocks, up to its limit.

    Raises:
        SourceError: if this system is not Linux.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise SourceError("cameras need Linux (V4L2); give a stream or a file on this system")

    def open(self, node: str) -> int:
        """A descriptor of a device file."""
        return os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self, descriptor: int) -> None:
        """Close it."""
        os.close(descriptor)

    def call(self, descriptor: int, number: int, argument: ctypes.Structure) -> None:
        """One ioctl; the driver writes its answer into `argument`."""
        fcntl.ioctl(descriptor, number, argument)

    def map(self, descriptor: int, length_bytes: int, offset: int) -> Mapping:
        """Map a buffer."""
        return Mapping(descriptor, length_bytes, offset)

    def wait(self, descriptor: int, limit_s: float) -> bool:
        """Wait for a picture or an error; false after the limit."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(math.ceil(limit_s * 1000)))

    def monotonic_ns(self) -> int:
        """The clock of waits and of the driver's timestamps."""
        return time.monotonic_ns()
