"""The system calls of Linux behind `Kernel`."""

from __future__ import annotations

import ctypes
import fcntl
import math
import mmap
import os
import select
import time

import numpy as np
from numpy.typing import NDArray


class _Mapping:
    def __init__(self, descriptor: int, length_bytes: int, offset: int) -> None:
        self._memory = mmap.mmap(
            descriptor, length_bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset
        )

    def copy(self, size_bytes: int) -> NDArray[np.uint8]:
        # the view is gone when this returns: one that lived on would keep `close` from unmapping
        return np.frombuffer(self._memory, np.uint8, min(size_bytes, len(self._memory))).copy()

    def close(self) -> None:
        self._memory.close()


class Linux:
    """Real devices."""

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
