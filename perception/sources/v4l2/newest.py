"""The newest frame of a running device, frames lost before it, and recovery from failed calls."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.sources.v4l2 import structs
from perception.sources.v4l2.device import Device
from perception.sources.v4l2.kernel import Kernel

MAX_STREAM_ERRORS: Final = 4
"""Consecutive errors without a frame: the first is ignored, the next two restart the stream."""
GONE: Final = (errno.ENODEV, errno.ENXIO, errno.EBADF)
"""The device has been unplugged, or its driver is gone."""
_WRAP: Final = 1 << 32


class NoFrameError(Exception):
    """There was no frame within the limit."""


class SequenceGaps:
    """Counts the frames lost between those that are delivered.

    The driver numbers all frames that the camera captured, also those without a buffer. If its numbers do not
    rise they are ignored, and only frames skipped here are counted.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._skipped = 0

    def skip(self, frames: int = 1) -> None:
        """Count received frames that are not delivered."""
        self._skipped += frames

    def missed_before(self, sequence: int) -> int:
        """Frames lost between the previously delivered one and this one, which is delivered now."""
        step = 0 if self._last is None else (sequence - self._last) % _WRAP
        between = step - 1 if 0 < step < _WRAP // 2 else 0
        missed = max(between, self._skipped)
        self._last, self._skipped = sequence, 0
        return missed

    def restart(self) -> None:
        """The stream was restarted, and its numbers with it."""
        self._last = None


@dataclass(frozen=True, eq=False)
class Taken:
    """The bytes of a frame, copied out of the driver's buffer."""

    data: NDArray[np.uint8]
    sequence: int
    stamp_ns: int | None
    """Monotonic time of capture; None if the driver uses another clock."""
    received_ns: int
    has_error: bool
    """The driver reports lost data."""

    @classmethod
    def of(cls, filled: structs.Buffer, data: NDArray[np.uint8], received_ns: int) -> Taken:
        """With what the driver states of the buffer."""
        stamp_ns = filled.timestamp.tv_sec * 1_000_000_000 + filled.timestamp.tv_usec * 1000
        is_monotonic = filled.flags & structs.FLAG_TIMESTAMP_MASK == structs.FLAG_TIMESTAMP_MONOTONIC
        has_error = bool(filled.flags & structs.FLAG_ERROR)
        is_known = is_monotonic and stamp_ns > 0
        return cls(data, filled.sequence, stamp_ns if is_known else None, received_ns, has_error)


class NewestFrame:
    """Takes the newest frame and skips older ones in the queue.

    Args:
        device: set up and started.
        buffers: number of its buffers.
        gaps: is notified of skipped frames and restarts.
    """

    def __init__(self, kernel: Kernel, device: Device, buffers: int, gaps: SequenceGaps) -> None:
        self._kernel, self._device, self._buffers, self._gaps = kernel, device, buffers, gaps
        self.io_errors = 0
        """Calls that failed since the start."""

    def take(self, until_ns: int) -> Taken:
        """The newest frame.

        A failed call is retried; if it fails repeatedly, the stream is restarted, which clears an error of
        the driver's queue.

        Args:
            until_ns: deadline, monotonic.

        Raises:
            NoFrameError: if there is none in time.
            OSError: if the device is gone or keeps failing.
        """
        errors, may_be_old = 0, True
        while True:
            try:
                ready = self._ready(until_ns)
            except OSError as error:
                errors += 1
                self.io_errors += 1
                if error.errno in GONE or errors >= MAX_STREAM_ERRORS:
                    raise
                if errors > 1:
                    self._restart()
                continue
            # With every buffer filled, the driver had none left for newer frames: all of them are old.
            if may_be_old and len(ready) == self._buffers:
                may_be_old = False
                self._gaps.skip(len(ready))
                continue
            newest = ready[-1]
            self._gaps.skip(len(ready) - 1)
            data = self._device.copy(newest.index, newest.bytesused)
            self._give_back_all()
            return Taken.of(newest, data, self._kernel.monotonic_ns())

    def _ready(self, until_ns: int) -> list[structs.Buffer]:
        """All filled buffers, oldest first, as soon as there are any; all others go to the driver."""
        self._give_back_all()
        if len(self._device.ours) == self._buffers:
            raise OSError(errno.EIO, "the driver accepts no buffers")
        left_s = (until_ns - self._kernel.monotonic_ns()) / 1e9
        if left_s <= 0 or not self._device.wait(left_s):
            raise NoFrameError
        ready: list[structs.Buffer] = []
        while len(ready) < self._buffers:
            try:
                filled = self._device.take()
            except OSError:
                if not ready:
                    raise
                self.io_errors += 1
                break
            if filled is None:
                break
            ready.append(filled)
        if not ready:
            raise OSError(errno.EIO, "the driver announced a frame and gave none")
        return ready

    def _give_back_all(self) -> None:
        for index in sorted(self._device.ours):
            try:
                self._device.give_back(index)
            except OSError as error:
                if error.errno in GONE:
                    raise
                self.io_errors += 1  # it is offered again before the next wait

    def _restart(self) -> None:
        # if this fails, the next wait fails too and is counted
        with contextlib.suppress(OSError):
            self._device.stop()
            self._device.start()
        self._gaps.restart()
