"""The newest frame of a running device, and what to do when a call fails."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.sources.v4l2.device import Device, Filled
from perception.sources.v4l2.kernel import Kernel
from perception.sources.v4l2.sequence import SequenceGaps

MAX_STREAM_ERRORS: Final = 4
"""In a row, without a frame between: the first is passed over, the next two restart the stream."""
GONE: Final = (errno.ENODEV, errno.ENXIO, errno.EBADF)
"""The device has been unplugged, or its driver is gone."""


class NoFrameError(Exception):
    """There was no frame within the limit."""


@dataclass(frozen=True, eq=False)
class Taken:
    """The bytes of a frame, copied out of the driver's buffer."""

    data: NDArray[np.uint8]
    sequence: int
    stamp_ns: int | None
    """Monotonic time of capture; None where the driver does not tell."""
    received_ns: int
    has_error: bool


class NewestFrame:
    """Takes the newest frame and passes over older ones that wait beside it.

    Args:
        device: set up and started.
        buffers: how many it has.
        gaps: is told of every frame that is passed over, and of restarts.
    """

    def __init__(self, kernel: Kernel, device: Device, buffers: int, gaps: SequenceGaps) -> None:
        self._kernel, self._device, self._buffers, self._gaps = kernel, device, buffers, gaps
        self.io_errors = 0
        """Calls that failed since the start."""

    def take(self, until_ns: int) -> Taken:
        """The newest frame.

        A call that fails is tried again; one that goes on to fail has the stream stopped and started,
        which is what clears an error of the driver's queue.

        Args:
            until_ns: when to give up, monotonic.

        Raises:
            NoFrameError: if there was none until then.
            OSError: if the device is gone, or goes on to fail.
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
            # With every buffer filled the driver had none left for what came since: all of them are old.
            if may_be_old and len(ready) == self._buffers:
                may_be_old = False
                self._gaps.pass_over(len(ready))
                continue
            newest = ready[-1]
            self._gaps.pass_over(len(ready) - 1)
            data = self._device.copy(newest)
            self._give_back_all()
            return Taken(
                data, newest.sequence, newest.stamp_ns, self._kernel.monotonic_ns(), newest.has_error
            )

    def _ready(self, until_ns: int) -> list[Filled]:
        """All filled buffers, the oldest first, once there are any; all others are given to the driver."""
        self._give_back_all()
        if len(self._device.ours) == self._buffers:
            raise OSError(errno.EIO, "the driver takes no buffers")
        left_s = (until_ns - self._kernel.monotonic_ns()) / 1e9
        if left_s <= 0 or not self._device.wait(left_s):
            raise NoFrameError
        ready: list[Filled] = []
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
            raise OSError(errno.EIO, "the driver woke us for nothing")
        return ready

    def _give_back_all(self) -> None:
        for index in self._device.ours:
            try:
                self._device.give_back(index)
            except OSError as error:
                if error.errno in GONE:
                    raise
                self.io_errors += 1  # it stays ours, and is offered again before the next wait

    def _restart(self) -> None:
        # where this fails the next wait fails too, and is counted
        with contextlib.suppress(OSError):
            self._device.stop()
            self._device.start()
        self._gaps.restart()
