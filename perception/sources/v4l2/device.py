"""An open camera device: format, buffers and stream. Errors are the kernel's OSError."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fractions
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.sources.v4l2 import structs
from perception.sources.v4l2.kernel import Kernel, Mapping
from perception.sources.v4l2.pixels import DECODERS, Layout

BUFFERS: Final = 4  # one being filled, one ready, two for a late reader
MAX_FORMATS: Final = 256
_LARGEST_DENOMINATOR: Final = 1001  # of 30000/1001, the rate of NTSC


class UnusableError(Exception):
    """The device is not a usable camera; says why."""


@dataclass(frozen=True)
class Given:
    """What the driver chose."""

    layout: Layout
    rate_hz: float | None
    """None if unknown."""
    buffers: int
    card: str
    """The driver's name for the camera."""


class Device:
    """An open device, which must be closed.

    Args:
        kernel: system calls.
        node: device file; opening it raises OSError.
    """

    def __init__(self, kernel: Kernel, node: str) -> None:
        self._kernel = kernel
        self._descriptor = kernel.open(node)
        self._mappings: list[Mapping] = []
        self.ours: set[int] = set()
        """Buffers that are not queued in the driver."""

    def set_up(self, fourcc: str, wh: tuple[int, int], rate_hz: float) -> Given:
        """Ask for a format, a size and a rate, map buffers, and return what the driver chose.

        Raises:
            UnusableError: if it is not a camera or has no supported format.
        """
        card = self._card()
        layout = self._set_format(fourcc, wh)
        given_hz = self._set_rate(rate_hz)  # after the format, which determines the possible rates
        asked = structs.RequestBuffers(BUFFERS, structs.VIDEO_CAPTURE, structs.MEMORY_MMAP)
        self._call(structs.REQBUFS, asked)
        for index in range(asked.count):
            buffer = structs.Buffer(index, structs.VIDEO_CAPTURE, memory=structs.MEMORY_MMAP)
            self._call(structs.QUERYBUF, buffer)
            self._mappings.append(self._kernel.map(self._descriptor, buffer.length, buffer.m.offset))
        if not self._mappings:
            raise OSError(errno.ENOMEM, "the driver has no buffers")
        return Given(layout, given_hz, len(self._mappings), card)

    def start(self) -> None:
        """Give every buffer to the driver and start the stream."""
        self.ours = set(range(len(self._mappings)))
        for index in sorted(self.ours):
            self.give_back(index)
        self._call(structs.STREAMON, structs.BufferType(structs.VIDEO_CAPTURE))

    def stop(self) -> None:
        """Stop the stream; the driver releases all buffers."""
        self._call(structs.STREAMOFF, structs.BufferType(structs.VIDEO_CAPTURE))

    def wait(self, limit_s: float) -> bool:
        """Wait for a filled buffer or an error; false after the limit."""
        return self._kernel.wait(self._descriptor, limit_s)

    def take(self) -> structs.Buffer | None:
        """The oldest filled buffer; None if there is none yet."""
        buffer = structs.Buffer(type=structs.VIDEO_CAPTURE, memory=structs.MEMORY_MMAP)
        try:
            self._call(structs.DQBUF, buffer)
        except BlockingIOError:
            return None
        self.ours.add(buffer.index)
        return buffer

    def copy(self, index: int, size_bytes: int) -> NDArray[np.uint8]:
        """(n,) uint8, a copy of a buffer's content.

        Thus the driver gets the buffer back before the frame is decoded; and some drivers' memory is uncached
        and slow to read except sequentially.
        """
        return self._mappings[index].copy(size_bytes)

    def give_back(self, index: int) -> None:
        """Queue a buffer in the driver."""
        buffer = structs.Buffer(index, structs.VIDEO_CAPTURE, memory=structs.MEMORY_MMAP)
        self._call(structs.QBUF, buffer)
        self.ours.discard(index)

    def close(self) -> None:
        """Stop, unmap and close; raises nothing, and is safe to call twice."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        mappings, self._mappings = self._mappings, []
        steps: list[Callable[[], None]] = [
            lambda: self._kernel.call(
                descriptor, structs.STREAMOFF, structs.BufferType(structs.VIDEO_CAPTURE)
            ),
            *(mapping.close for mapping in mappings),
            lambda: self._kernel.close(descriptor),
        ]
        for step in steps:
            with contextlib.suppress(OSError):  # every call fails for an unplugged device
                step()

    def _card(self) -> str:
        capability = structs.Capability()
        self._call(structs.QUERYCAP, capability)
        can = capability.capabilities
        if can & structs.CAP_DEVICE_CAPS:
            can = capability.device_caps
        if not can & structs.CAP_VIDEO_CAPTURE:
            raise UnusableError("has no single-planar video capture; try another node of the same camera")
        if not can & structs.CAP_STREAMING:
            raise UnusableError("has no streaming interface")
        return str(capability.card.decode("utf-8", "replace"))

    def _set_format(self, fourcc: str, wh: tuple[int, int]) -> Layout:
        offered = self._offered()
        wanted = fourcc
        if offered and fourcc not in offered:
            wanted = next((known for known in DECODERS if known in offered), fourcc)
        answer = structs.Format(type=structs.VIDEO_CAPTURE)
        pix = answer.fmt.pix
        pix.width, pix.height = wh
        pix.pixelformat, pix.field = structs.fourcc_number(wanted), structs.FIELD_NONE
        self._call(structs.S_FMT, answer)
        given = structs.fourcc_letters(pix.pixelformat)
        if given not in DECODERS:
            formats = ", ".join(dict.fromkeys([given, *offered]))
            raise UnusableError(f"gives {formats}; supported are {', '.join(DECODERS)}")
        if pix.field == structs.FIELD_ALTERNATE:
            raise UnusableError("gives alternate fields (interlaced), which are not supported")
        return layout_of(pix)

    def _offered(self) -> list[str]:
        """The driver's pixel formats; some drivers list none."""
        letters = []
        for index in range(MAX_FORMATS):
            description = structs.FormatDescription(index, structs.VIDEO_CAPTURE)
            if not self._is_answered(structs.ENUM_FMT, description):
                break
            letters.append(structs.fourcc_letters(description.pixelformat))
        return letters

    def _set_rate(self, rate_hz: float) -> float | None:
        """The rate that the driver chose; None if it does not support the call."""
        period = 1 / fractions.Fraction(rate_hz).limit_denominator(_LARGEST_DENOMINATOR)
        parameters = structs.StreamParameters(type=structs.VIDEO_CAPTURE)
        capture = parameters.parm.capture
        capture.timeperframe = structs.Fraction(period.numerator, period.denominator)
        if not self._is_answered(structs.S_PARM, parameters):
            return None
        given = capture.timeperframe
        return given.denominator / given.numerator if given.numerator and given.denominator else None

    def _is_answered(self, number: int, argument: ctypes.Structure) -> bool:
        """Make a call; false if the driver does not support it, or has no entry of that index."""
        try:
            self._call(number, argument)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY):
                raise
            return False
        return True

    def _call(self, number: int, argument: ctypes.Structure) -> None:
        while True:
            try:
                return self._kernel.call(self._descriptor, number, argument)
            except InterruptedError:
                continue  # by a signal, which its handler has dealt with


def layout_of(pix: structs.PixFormat) -> Layout:
    """The layout in a driver's answer, with the defaults of `<linux/videodev2.h>`."""
    is_709 = pix.ycbcr_enc == structs.YCBCR_709 or (
        pix.ycbcr_enc == structs.YCBCR_DEFAULT and pix.colorspace == structs.COLORSPACE_REC709
    )
    is_full = pix.quantization == structs.QUANTIZATION_FULL or (
        pix.quantization == structs.QUANTIZATION_DEFAULT and pix.colorspace == structs.COLORSPACE_JPEG
    )
    return Layout(
        (pix.width, pix.height),
        structs.fourcc_letters(pix.pixelformat),
        pix.bytesperline,
        "bt709" if is_709 else "bt601",
        is_full,
    )
