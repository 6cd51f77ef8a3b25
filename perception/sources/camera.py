"""Cameras of the machine itself, through OpenCV's V4L2 backend."""

from __future__ import annotations

import glob
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import cv2
import numpy as np

from perception.frame import Frame
from perception.sources.source import SourceError, SourceInfo

MAX_STAMP_AGE_NS: Final = 1_000_000_000
MAX_BROKEN_PICTURES: Final = 10
_MS: Final = 1_000_000


@dataclass(frozen=True)
class CameraSettings:
    """What to ask the camera's driver for; it may give something else."""

    width: int = 1280
    height: int = 720
    rate_hz: float = 30.0
    fourcc: str = "MJPG"
    """Pixel format, four letters. Over USB 2, raw YUYV at 1280x720 gives 10 Hz where MJPG gives 30."""


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool: ...  # noqa: N802
    def set(self, property_id: int, value: float) -> bool: ...
    def get(self, property_id: int) -> float: ...
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def release(self) -> None: ...


def open_v4l2(device: str) -> Capture:
    """An OpenCV capture of a device file, by the V4L2 backend alone."""
    return cast(Capture, cv2.VideoCapture(device, cv2.CAP_V4L2))


class CameraSource:
    """A live camera.

    Args:
        device: a device file such as `/dev/video0`, or its number.
        settings: what to ask the driver for.
        capture_factory: opens the device; a test brings its own.
    """

    def __init__(
        self,
        device: str,
        settings: CameraSettings | None = None,
        capture_factory: Callable[[str], Capture] = open_v4l2,
    ) -> None:
        self._device = f"/dev/video{device}" if device.isdecimal() else device
        self._settings = settings or CameraSettings()
        self._capture_factory = capture_factory
        self._capture: Capture | None = None
        self._frames_read = 0
        self._first_ns = 0
        self.decode_errors = 0
        """Pictures that came from the driver but could not be decoded."""

    def open(self) -> SourceInfo:
        """Open the device, ask for the settings, and read back what the driver made of them."""
        asked = self._settings
        if len(asked.fourcc) != 4:
            raise SourceError(f"camera.fourcc is {asked.fourcc!r}; four letters are wanted, such as MJPG")
        if not Path(self._device).exists():
            there = ", ".join(sorted(glob.glob("/dev/video*"))) or "no camera at all"
            raise SourceError(f"{self._device}: no such camera; there is {there}")
        capture = self._capture_factory(self._device)
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"{self._device}: cannot be opened; is it in use, and may this user read it?")
        # the format first: drivers reset sizes and rates that the current format does not have
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*asked.fourcc))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, asked.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, asked.height)
        capture.set(cv2.CAP_PROP_FPS, asked.rate_hz)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._capture, self._frames_read, self.decode_errors = capture, 0, 0
        given_wh = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        told_hz = capture.get(cv2.CAP_PROP_FPS)
        rate_hz = told_hz if told_hz > 0 else asked.rate_hz
        description = (
            f"asked for {asked.width}x{asked.height} {asked.fourcc} at {asked.rate_hz:g} Hz, "
            f"got {given_wh[0]}x{given_wh[1]} {_fourcc_text(capture.get(cv2.CAP_PROP_FOURCC))} "
            f"at {f'{told_hz:g} Hz' if told_hz > 0 else 'a rate it does not tell'}, "
            f"{capture.get(cv2.CAP_PROP_BUFFERSIZE):g} buffers"
        )
        return SourceInfo(self._device, True, given_wh, rate_hz, description)

    def read(self) -> Frame:
        """The next picture; SourceError where the camera gives none."""
        if self._capture is None:
            raise SourceError(f"{self._device}: not open")
        for _ in range(MAX_BROKEN_PICTURES):
            if not self._capture.grab():
                raise SourceError(f"{self._device}: gives no more frames; has it been unplugged?")
            captured_ns = _captured_ns(self._capture.get(cv2.CAP_PROP_POS_MSEC), time.monotonic_ns())
            image_bgr = _retrieved(self._capture)
            if image_bgr is not None:
                break
            self.decode_errors += 1
        else:
            raise SourceError(f"{self._device}: {MAX_BROKEN_PICTURES} broken pictures in a row")
        frame_id = self._frames_read
        self._frames_read += 1
        if frame_id == 0:
            self._first_ns = captured_ns
        return Frame(
            source_id=self._device,
            frame_id=frame_id,
            captured_ns=captured_ns,
            time_ns=captured_ns - self._first_ns,
            pixels=image_bgr,
            name=f"{frame_id:06d}",
        )

    def close(self) -> None:
        """Give the device back."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def _captured_ns(stamp_ms: float, now_ns: int) -> int:
    """The driver's stamp if it is on the monotonic clock; some drivers count from elsewhere or not at all."""
    stamp_ns = round(stamp_ms * _MS)
    return stamp_ns if 0 <= now_ns - stamp_ns <= MAX_STAMP_AGE_NS else now_ns


def _retrieved(capture: Capture) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    try:
        is_good, image_bgr = capture.retrieve()
    except cv2.error:
        return None
    return np.asarray(image_bgr, np.uint8) if is_good and image_bgr is not None else None


def _fourcc_text(code: float) -> str:
    letters = "".join(chr(int(code) >> shift & 0xFF) for shift in (0, 8, 16, 24))
    return letters if letters.isprintable() and letters.strip() else "an unknown format"
