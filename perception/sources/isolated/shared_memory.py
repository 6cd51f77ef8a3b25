"""A ring of frames in shared memory: one process fills slots, the other reads them in place."""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from perception.imaging.yuv import Plane, Yuv420

if sys.platform == "linux":  # imported but not used elsewhere
    import fcntl

    _SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW

_ALIGNMENT: Final = 4096


@dataclass(frozen=True)
class Layout:
    """Memory layout of a picture."""

    kind: Literal["bgr", "bt601", "bt709"]
    """`bgr`, or the matrix of 4:2:0 planes."""
    width: int
    height: int

    @classmethod
    def of(cls, pixels: Plane | Yuv420) -> Layout:
        """The layout of a picture."""
        if isinstance(pixels, Yuv420):
            return cls(pixels.matrix, *pixels.frame_wh)
        return cls("bgr", pixels.shape[1], pixels.shape[0])

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of its consecutive arrays."""
        if self.kind == "bgr":
            return [(self.height, self.width, 3)]
        chroma = ((self.height + 1) // 2, (self.width + 1) // 2)
        return [(self.height, self.width), chroma, chroma]

    @property
    def size_bytes(self) -> int:
        """Of the whole picture."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def arrays(self, slot: Plane) -> list[Plane]:
        """Views of a slot's bytes."""
        views, start = [], 0
        for shape in self.shapes:
            end = start + int(np.prod(shape))
            views.append(slot[start:end].reshape(shape))
            start = end
        return views


class Ring:
    """The writing end."""

    def __init__(self, slots: int, slot_bytes: int) -> None:
        """Allocate anonymous memory, which is freed when both processes have closed it."""
        self.slots = slots
        self.slot_bytes = -(-slot_bytes // _ALIGNMENT) * _ALIGNMENT
        self.descriptor = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, self.slots * self.slot_bytes)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
        self._memory = mmap.mmap(self.descriptor, self.slots * self.slot_bytes)

    def fill(self, slot: int, pixels: Plane | Yuv420, jpeg: bytes = b"") -> Layout:
        """Copy a picture into a slot that is large enough, and its JPEG behind it."""
        layout = Layout.of(pixels)
        begin = slot * self.slot_bytes + layout.size_bytes
        self._memory[begin : begin + len(jpeg)] = jpeg
        memory = np.frombuffer(self._memory, np.uint8, layout.size_bytes, slot * self.slot_bytes)
        planes = [pixels.y, pixels.u, pixels.v] if isinstance(pixels, Yuv420) else [pixels]
        for target, plane in zip(layout.arrays(memory), planes, strict=True):
            np.copyto(target, plane)
        return layout

    def close(self) -> None:
        """Close the memory."""
        os.close(self.descriptor)
        self._memory.close()


class RingView:
    """The reading end. Closes the descriptor; the memory stays mapped while a picture of it is in use.

    Raises:
        ValueError: if the memory is smaller than stated or may shrink: a read beyond its end kills a process.
        OSError: if it cannot be mapped.
    """

    def __init__(self, descriptor: int, slots: int, slot_bytes: int) -> None:
        self._slots, self._slot_bytes = slots, slot_bytes
        try:
            if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
                raise ValueError("memory that may shrink")
            self._memory = mmap.mmap(descriptor, slots * slot_bytes, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)

    def holds(self, slot: int, layout: Layout, jpeg_bytes: int = 0) -> bool:
        """Whether the slot exists and is large enough for the picture and its JPEG."""
        return 0 <= slot < self._slots and layout.size_bytes + jpeg_bytes <= self._slot_bytes

    def jpeg(self, slot: int, layout: Layout, jpeg_bytes: int) -> bytes | None:
        """A copy of the JPEG behind a picture; None without one."""
        begin = slot * self._slot_bytes + layout.size_bytes
        return self._memory[begin : begin + jpeg_bytes] if jpeg_bytes else None

    def pixels(self, slot: int, layout: Layout, on_release: Callable[[int], None]) -> Plane | Yuv420:
        """The picture in a slot, read-only and in place; calls `on_release(slot)` when it is garbage."""
        memory = np.frombuffer(self._memory, np.uint8, layout.size_bytes, slot * self._slot_bytes)
        weakref.finalize(memory, on_release, slot).atexit = False
        if layout.kind == "bgr":
            return layout.arrays(memory)[0]
        y, u, v = layout.arrays(memory)
        return Yuv420(y, u, v, layout.kind)
