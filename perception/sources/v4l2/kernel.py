"""What is asked of the operating system for a camera; a test brings a simulated one."""

from __future__ import annotations

import ctypes
import sys
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perception.sources.source import SourceError


class Mapping(Protocol):
    """A driver's buffer in our address space."""

    def copy(self, size_bytes: int) -> NDArray[np.uint8]:
        """The first bytes of it, as an array of their own."""
        ...

    def close(self) -> None:
        """Unmap it."""
        ...


class Kernel(Protocol):
    """System calls on a device. All raise OSError; only `wait` waits, and no longer than told."""

    def open(self, node: str) -> int: ...
    def close(self, descriptor: int) -> None: ...
    def call(self, descriptor: int, number: int, argument: ctypes.Structure) -> None:
        """One ioctl; the driver's answer is written into `argument`."""
        ...

    def map(self, descriptor: int, length_bytes: int, offset: int) -> Mapping: ...
    def wait(self, descriptor: int, limit_s: float) -> bool:
        """Wait until there is a picture or an error to fetch; False where the limit came first."""
        ...

    def monotonic_ns(self) -> int: ...


def this_kernel() -> Kernel:
    """The kernel that we run on; SourceError where it is not Linux."""
    if sys.platform != "linux":
        raise SourceError(
            "cameras are read through Linux's V4L2; this system has none: take a stream or a file"
        )
    from perception.sources.v4l2.linux import Linux  # what it imports is there on Linux only

    return Linux()
