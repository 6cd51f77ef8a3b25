"""System calls on camera devices; tests bring a simulated kernel."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import select
import sys
import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perception.sources.source import SourceError

if sys.platform == "linux":  # imported but not used elsewhere
    import fcntl


class Mapping(Protocol):
    """A mapped buffer of the driver."""

    def copy(self, size_bytes: int) -> NDArray[np.uint8]:
        """A copy of its first bytes."""
        ...

    def close(self) -> None:
        """Unmap it."""
        ...


class Kernel(Protocol):
    """System calls on a device. All raise OSError; only `wait` blocks, up to its limit."""

    def open(self, node: str) -> int: ...
    def close(self, descriptor: int) -> None: ...
    def call(self, descriptor: int, number: int, argument: ctypes.Structure) -> None:
        """One ioctl; the driver writes its answer into `argument`."""
        ...

    def map(self, descriptor: int, length_bytes: int, offset: int) -> Mapping: ...
    def wait(self, descriptor: int, limit_s: float) -> bool:
        """Wait for a picture or an error; false after the limit."""
        ...

    def monotonic_ns(self) -> int: ...


def this_kernel() -> Kernel:
    """The running kernel; raises SourceError if it is not Linux."""
    if sys.platform != "linux":
        raise SourceError("cameras need Linux (V4L2); give a stream or a file on this system")
    return _Linux()


class _Mapping:
    def __init__(self, descriptor: int, length_bytes: int, offset: int) -> None:
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        self._memory = mmap.mmap(descriptor, length_bytes, mmap.MAP_SHARED, protection, offset=offset)
        self.close = self._memory.close

    def copy(self, size_bytes: int) -> NDArray[np.uint8]:
        # no view may outlive this call: it would keep `close` from unmapping
        return np.frombuffer(self._memory, np.uint8, min(size_bytes, len(self._memory))).copy()


class _Linux:
    def open(self, node: str) -> int:
        return os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def call(self, descriptor: int, number: int, argument: ctypes.Structure) -> None:
        fcntl.ioctl(descriptor, number, argument)

    def map(self, descriptor: int, length_bytes: int, offset: int) -> _Mapping:
        return _Mapping(descriptor, length_bytes, offset)

    def wait(self, descriptor: int, limit_s: float) -> bool:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(math.ceil(limit_s * 1000)))

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()
