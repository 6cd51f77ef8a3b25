"""Frames in memory that two processes share: slots that one fills and the other reads in place."""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from perception.imaging.yuv import Plane, Yuv420

if sys.platform == "linux":  # the module is imported elsewhere too, and not used
    import fcntl

    _SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW

_ALIGNMENT: Final = 4096


@dataclass(frozen=True)
class Layout:
    """How a picture lies in its slot."""

    kind: str
    """"bgr", or the matrix of 4:2:0 planes: "bt601" or "bt709"."""
    width: int
    height: int

    @classmethod
    def of(cls, pixels: Plane | Yuv420) -> Layout:
        """The layout that such a picture needs."""
        if isinstance(pixels, Yuv420):
            return cls(pixels.matrix, *pixels.frame_wh)
        return cls("bgr", pixels.shape[1], pixels.shape[0])

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the arrays that lie behind each other."""
        if self.kind == "bgr":
            return [(self.height, self.width, 3)]
        chroma = ((self.height + 1) // 2, (self.width + 1) // 2)
        return [(self.height, self.width), chroma, chroma]

    @property
    def size_bytes(self) -> int:
        """Of the whole picture."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def arrays(self, slot: Plane) -> list[Plane]:
        """Views of the slot's bytes, one an array."""
        views, start = [], 0
        for shape in self.shapes:
            end = start + int(np.prod(shape))
            views.append(slot[start:end].reshape(shape))
            start = end
        return views


class Ring:
    """The writer's side: as many slots as there may be frames on their way."""

    def __init__(self, slots: int, slot_bytes: int) -> None:
        """Make the memory; it has no name, and goes when both processes have let go of it."""
        self.slots = slots
        self.slot_bytes = -(-slot_bytes // _ALIGNMENT) * _ALIGNMENT
        self.descriptor = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, self.slots * self.slot_bytes)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
        self._memory = mmap.mmap(self.descriptor, self.slots * self.slot_bytes)

    def fill(self, slot: int, pixels: Plane | Yuv420) -> Layout:
        """Copy a picture into a slot, which must be large enough."""
        layout = Layout.of(pixels)
        memory = np.frombuffer(self._memory, np.uint8, layout.size_bytes, slot * self.slot_bytes)
        planes = [pixels.y, pixels.u, pixels.v] if isinstance(pixels, Yuv420) else [pixels]
        for target, plane in zip(layout.arrays(memory), planes, strict=True):
            np.copyto(target, plane)
        return layout

    def close(self) -> None:
        """Let go of the memory."""
        os.close(self.descriptor)
        self._memory.close()


class RingView:
    """The reader's side. Closes the descriptor; the memory stays for as long as a picture of it is in use.

    Raises:
        ValueError: for memory that is smaller than it is said to be, or could be made so: to read beyond its
            end kills a process.
        OSError: where it cannot be mapped.
    """

    def __init__(self, descriptor: int, slots: int, slot_bytes: int) -> None:
        self._slots, self._slot_bytes = slots, slot_bytes
        try:
            if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
                raise ValueError("memory that may shrink")
            self._memory = mmap.mmap(descriptor, slots * slot_bytes, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)

    def holds(self, slot: int, layout: Layout) -> bool:
        """Whether there is such a slot, and room in it for such a picture."""
        return 0 <= slot < self._slots and layout.size_bytes <= self._slot_bytes

    def pixels(self, slot: int, layout: Layout, on_release: Callable[[int], None]) -> Plane | Yuv420:
        """The picture in a slot, read only and in place; `on_release(slot)` once nobody holds it any more."""
        memory = np.frombuffer(self._memory, np.uint8, layout.size_bytes, slot * self._slot_bytes)
        weakref.finalize(memory, on_release, slot).atexit = False
        if layout.kind == "bgr":
            return layout.arrays(memory)[0]
        y, u, v = layout.arrays(memory)
        return Yuv420(y, u, v, "bt709" if layout.kind == "bt709" else "bt601")
