"""Reading the guest's camera, and keeping the books over what came."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import vivid

from perception.frame import Frame
from perception.sources.camera import CameraSettings, CameraSource

RATE_HZ: Final = 25.0


@dataclass(frozen=True)
class Books:
    """Frames after the first one: those we got, those reported as missed, and those the stamps allow for."""

    got: int
    missed: int
    taken: int

    @property
    def balance(self) -> bool:
        """Whether every frame that the camera took was got or reported as missed."""
        return abs(self.got + self.missed - self.taken) <= 1

    def __str__(self) -> str:
        return f"{self.got} got + {self.missed} missed of {self.taken} taken"


def camera(fourcc: str = "MJPG", wh: tuple[int, int] = (640, 360)) -> CameraSource:
    """A source of the camera that is there now; small, for the guest is slow."""
    return CameraSource(vivid.node(), CameraSettings(wh[0], wh[1], RATE_HZ, fourcc))


def read(source: CameraSource, frames: int) -> tuple[list[Frame], float]:
    """Frames, and the largest age of one when it was read, in milliseconds."""
    got: list[Frame] = []
    oldest_ms = 0.0
    for _ in range(frames):
        got.append(source.read())
        oldest_ms = max(oldest_ms, age_ms(got[-1]))
    return got, oldest_ms


def age_ms(frame: Frame) -> float:
    """How long ago a frame was taken."""
    return (time.monotonic_ns() - frame.captured_ns) / 1e6


def books_of(frames: list[Frame]) -> Books:
    """The books over frames that follow each other."""
    duration_s = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
    missed = sum(frame.missed_before for frame in frames[1:])
    return Books(len(frames) - 1, missed, round(duration_s * RATE_HZ))


def held() -> tuple[int, int, int]:
    """Descriptors, mapped buffers of cameras, and threads of this process."""
    descriptors = len(os.listdir("/proc/self/fd"))
    mappings = Path("/proc/self/maps").read_text().count("/dev/video")
    return descriptors, mappings, threading.active_count()
