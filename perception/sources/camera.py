"""Cameras of this machine, by the kernel's V4L2 interface."""

from __future__ import annotations

import errno
import glob
import logging
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from perception.frame import Frame
from perception.sources.arrival import ArrivalClock
from perception.sources.counts import SourceCounts
from perception.sources.decoding.frame_times import CaptureTimes
from perception.sources.kind import Isolation, SourceKind, TypedSource
from perception.sources.rate import Rate
from perception.sources.settings import SourceSettings
from perception.sources.source import Source, SourceError, SourceInfo
from perception.sources.v4l2.device import Device, Given, UnusableError
from perception.sources.v4l2.identity import ROOT, Identity, find_again, identify
from perception.sources.v4l2.kernel import Kernel
from perception.sources.v4l2.newest import GONE, NewestFrame, NoFrameError, SequenceGaps, Taken
from perception.sources.v4l2.pixels import BrokenPictureError, decode
from perception.system.time_limits import CAMERA_READ_TIMEOUT_S

log = logging.getLogger(__name__)

MAX_BROKEN_PICTURES: Final = 10
MAX_BROKEN_AT_FIRST: Final = 60
"""While a camera warms up, within `read_timeout_s`."""
LONGEST_RETRY_S: Final = 0.5
OPEN_ATTEMPTS: Final = 2  # a USB camera that was just plugged in may refuse a call once
_WHY_NOT: Final = {
    errno.EBUSY: "is in use by another program",
    errno.EACCES: "this user may not read it; the group video may",
    errno.EPERM: "this user may not read it; the group video may",
    errno.ENODEV: "has gone; is it plugged in?",
    errno.ENXIO: "has gone; is it plugged in?",
    errno.ENOTTY: "is not a camera",
}


LARGEST_SIDE_PX: Final = 65_535
LOWEST_RATE_HZ: Final = 0.01
HIGHEST_RATE_HZ: Final = 10_000.0
"""Limits of the ioctl interface."""


@dataclass(frozen=True)
class CameraSettings:
    """What to ask the camera's driver for; it may give something else."""

    width: int = 1280
    height: int = 720
    rate_hz: float = 30.0
    fourcc: str = "MJPG"
    """Pixel format, four letters. Over USB 2, raw YUYV at 1280x720 gives 10 Hz where MJPG gives 30."""
    read_timeout_s: float = CAMERA_READ_TIMEOUT_S
    """A camera that gives no frame for this time has failed."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if len(self.fourcc) != 4 or not self.fourcc.isascii():
            raise ValueError(f"camera.fourcc is {self.fourcc!r}; four letters are expected, such as MJPG")
        for name in ("width", "height", "rate_hz", "read_timeout_s"):
            value = getattr(self, name)
            if value <= 0:
                raise ValueError(f"camera.{name} is {value}; it must be above 0")
            if name in ("width", "height") and value > LARGEST_SIDE_PX:
                raise ValueError(f"camera.{name} is {value:g}; it must be at most {LARGEST_SIDE_PX}")
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            allowed = f"from {LOWEST_RATE_HZ:g} to {HIGHEST_RATE_HZ:g}"
            raise ValueError(f"camera.rate_hz is {self.rate_hz:g}; it must be {allowed}")


class CameraSource(Source):
    """A live camera: always its newest frame.

    Older frames that are queued with the newest are skipped. They, undecodable frames, and frames that the
    driver dropped are counted in the next frame's `missed_before`.

    Reopening finds the same camera again, whatever its device number now. If it is unplugged that is an
    error, as its number may belong to another camera.

    Args:
        device: a device file such as `/dev/video0`, or its number.
        settings: what to ask the driver for.
        identity: of the camera to open, from `identity_of`; by default that of the first one opened.
        kernel: system calls; a simulated driver in tests.
        root: of the file system in which devices are looked up.
    """

    def __init__(
        self,
        device: str,
        settings: CameraSettings | None = None,
        identity: Identity | None = None,
        kernel: Kernel | None = None,
        root: Path = ROOT,
    ) -> None:
        self._name = node_name(device)
        self._settings = settings or CameraSettings()
        self._kernel = kernel
        self._root = root
        self._identity = identity
        self._device: Device | None = None
        self._has_reported_size = False
        self.decode_errors = 0
        """Pictures that were damaged or could not be decoded, since it was opened."""
        self.io_errors = 0
        """Calls that failed and were retried, since it was opened."""

    def open(self) -> SourceInfo:
        """Open the camera, ask for the settings, and read back what the driver chose."""
        self.close()
        kernel = self._kernel = self._kernel or Kernel()
        self.decode_errors = self.io_errors = 0
        node = self._node()
        device, given = self._started(kernel, node)
        self._identity = self._identity or identify(self._name, self._root)
        self._device, self._layout, self._gaps = device, given.layout, SequenceGaps()
        self._newest = NewestFrame(kernel, device, given.buffers, self._gaps)
        self._errors_at_open, self._frames_read = self.io_errors, 0
        # timestamps use the kernel's monotonic clock, like ours; some drivers estimate them, with jumps
        self._stamps, self._times = ArrivalClock(offset_ns=0), CaptureTimes()
        description = self._description(given, node)
        rate = Rate(given.rate_hz) if given.rate_hz else Rate(self._settings.rate_hz, "assumed")
        return SourceInfo(self._name, True, given.layout.wh, rate.hz, description, rate_kind=rate.kind)

    def read(self) -> Frame:
        """The newest picture; raises SourceError if there is none within `read_timeout_s`."""
        if self._device is None or self._kernel is None:
            raise SourceError(f"{self._name}: not open")
        until_ns = self._kernel.monotonic_ns() + round(self._settings.read_timeout_s * 1e9)
        broken, problem = 0, ""
        while broken < (MAX_BROKEN_PICTURES if self._frames_read else MAX_BROKEN_AT_FIRST):
            try:
                taken = self._take(until_ns)
            except SourceError:
                if broken and self._kernel.monotonic_ns() >= until_ns:
                    break  # pictures did arrive
                raise
            try:
                picture = decode(taken.data, self._layout)
            except BrokenPictureError as error:
                self._gaps.skip()
                self.decode_errors += 1
                broken, problem = broken + 1, str(error)
                continue
            is_damaged = picture.is_damaged or taken.has_error
            self.decode_errors += is_damaged
            captured_ns = self._stamps.captured_ns(taken.stamp_ns, taken.received_ns)
            frame_id = self._frames_read
            self._frames_read += 1
            frame = Frame(
                source_id=self._name,
                frame_id=frame_id,
                captured_ns=captured_ns,
                time_ns=self._times.time_ns(captured_ns),
                pixels=picture.pixels,
                name=f"{frame_id:06d}",
                is_damaged=is_damaged,
                missed_before=self._gaps.missed_before(taken.sequence),
                jpeg=None if is_damaged else picture.jpeg,
            )
            if frame.frame_wh != self._layout.wh:
                self._report_size(frame.frame_wh)
            return frame
        raise SourceError(f"{self._name}: {broken} broken pictures in a row: {problem}")

    def close(self) -> None:
        """Release the device; raises nothing."""
        if self._device is not None:
            self._device.close()
            self._device = None

    def counts(self) -> SourceCounts:
        """Errors of decoding and of the driver."""
        return SourceCounts(self.decode_errors, io_errors=self.io_errors)

    def _started(self, kernel: Kernel, node: str) -> tuple[Device, Given]:
        """The device with its stream started; raises SourceError after the last attempt."""
        failures = 0
        while True:
            try:
                return self._attempt(kernel, node)
            except UnusableError as error:
                raise SourceError(f"{self._name}: {error}") from None
            except OSError as error:
                failures += 1
                if error.errno in _WHY_NOT or failures == OPEN_ATTEMPTS:
                    raise SourceError(f"{self._name}: {_why_not(error)}") from None
                self.io_errors += 1

    def _attempt(self, kernel: Kernel, node: str) -> tuple[Device, Given]:
        asked = self._settings
        device = Device(kernel, node)
        try:
            given = device.set_up(asked.fourcc, (asked.width, asked.height), asked.rate_hz)
            device.start()
        except BaseException:
            device.close()
            raise
        return device, given

    def _take(self, until_ns: int) -> Taken:
        try:
            return self._newest.take(until_ns)
        except NoFrameError:
            limit = f"{self._settings.read_timeout_s:g} s"
            raise SourceError(f"{self._name}: no frame for {limit}; is the camera still there?") from None
        except OSError as error:
            problem = "has been unplugged" if error.errno in GONE else f"the stream failed: {_reason(error)}"
            raise SourceError(f"{self._name}: {problem}") from None
        finally:
            self.io_errors = self._errors_at_open + self._newest.io_errors

    def _report_size(self, frame_wh: tuple[int, int]) -> None:
        """Report once that pictures have another size than the driver states."""
        if not self._has_reported_size:
            self._has_reported_size = True
            (width, height), (stated_w, stated_h) = frame_wh, self._layout.wh
            log.info(
                f"{self._name}: gives pictures of {width}x{height}; its driver says {stated_w}x{stated_h}"
            )

    def _node(self) -> str:
        """The device file to open: as requested at first, later wherever that camera is."""
        there = ", ".join(sorted(glob.glob("/dev/video*"))) or "no camera at all"
        if self._identity is None:
            node_as_asked = self._root / self._name.lstrip("/")
            if not node_as_asked.exists():
                raise SourceError(f"{self._name}: no such camera; there is {there}")
            return str(node_as_asked)
        node = find_again(self._identity, self._root)
        if node is None:
            raise SourceError(f"{self._name}: {self._identity} is unplugged; there is {there}")
        return node

    def _description(self, given: Given, node: str) -> str:
        asked, layout = self._settings, given.layout
        parts = [
            f"asked for {asked.width}x{asked.height} {asked.fourcc} at {asked.rate_hz:g} Hz",
            f"got {layout.wh[0]}x{layout.wh[1]} {layout.fourcc} at "
            + (f"{given.rate_hz:g} Hz" if given.rate_hz else "an unknown rate"),
            f"{given.buffers} buffers",
            given.card,
        ]
        if Path(node).resolve() != (self._root / self._name.lstrip("/")).resolve():
            parts.append(f"found again as {node}")
        return ", ".join(parts)


def identity_of(device: str, root: Path = ROOT) -> Identity | None:
    """Which camera a device file currently is, without opening it; None if unknown."""
    return identify(node_name(device), root)


def node_name(device: str) -> str:
    """The device file for a name or a number."""
    return f"/dev/video{device}" if device.isdecimal() else device


def _why_not(error: OSError) -> str:
    why = _WHY_NOT.get(error.errno or 0)
    return why if why is not None else f"cannot be opened: {_reason(error)}"


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown error").lower()


def _claims(typed: TypedSource) -> str | None:
    if typed.text.isdecimal():
        return typed.text
    is_device = stat.S_ISCHR(typed.mode) and not typed.is_terminal
    return typed.name if is_device or (not typed.mode and typed.name.startswith("/dev/")) else None


def _build(
    spec: str, settings: CameraSettings, reading: SourceSettings, identity: Identity | None = None
) -> CameraSource:
    return CameraSource(spec, settings, identity)


def _isolation(spec: str, settings: CameraSettings, reading: SourceSettings) -> Isolation:
    """A process that replaces a killed one finds the same camera again."""
    identity = identity_of(spec)

    def builder() -> Callable[[], CameraSource]:
        nonlocal identity
        identity = identity or identity_of(spec)  # it may have been unplugged at first
        return partial(_build, spec, settings, reading, identity)

    return Isolation(node_name(spec), builder, settings.rate_hz, LONGEST_RETRY_S)


CAMERA: Final = SourceKind(
    settings=CameraSettings,
    group="camera",
    form="/dev/video0 or 0",
    claims=_claims,
    build=_build,
    is_live=lambda spec: True,
    isolation=_isolation,
    files=lambda spec: [Path(node_name(spec))],
)
