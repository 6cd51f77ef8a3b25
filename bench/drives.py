"""Drives frame by frame: recordings, and rendered ones with their exact class maps."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perception.cli_config import SettingsError
from perception.frame import Frame
from perception.sources import SourceSettings, build_source
from perception.sources.registry import Spec
from perception.sources.source import EndOfSource, SourceError, SourceInfo
from perception.synthetic import SCENES, DriveRenderer
from perception.system.redaction import redacted_url

RATE_HZ: Final = 30.0
ROAD_SEED: Final = 2_000_000  # roads that neither training nor validation has seen
ROAD_WH: Final = (1280, 720)

Image = NDArray[np.uint8]


class DriveFrame(NamedTuple):
    """A frame of a drive."""

    frame: Frame
    truth: Image | None
    """(H, W) class ids of the frame's size; None of a recording."""


class Drive(NamedTuple):
    """What is known of a drive, and its frames."""

    info: SourceInfo
    frames: Iterator[DriveFrame]


def scene_of(source: str) -> str | None:
    """The scene of a rendered drive, None of any other source; raises SourceError if there is none of it."""
    spec = Spec.of(source)
    if spec.kind != "synthetic":
        return None
    scene = spec.text.partition(":")[2] or "mixed"
    if scene not in SCENES:
        raise SourceError(f"{source}: unknown scene; known: {', '.join(SCENES)}")
    return scene


def rendered(scene: str, frames: int) -> Drive:
    """The first frames of a drive that we render."""
    renderer = DriveRenderer(scene, ROAD_WH, RATE_HZ, ROAD_SEED)
    rendered_frames = (
        DriveFrame(frame_of(image, index), truth)
        for index in range(frames)
        for image, truth in [renderer.render(index)]
    )
    return Drive(SourceInfo(f"synthetic:{scene}", False, ROAD_WH, RATE_HZ), rendered_frames)


def frame_of(image_bgr: Image, index: int) -> Frame:
    """A rendered picture as the frame of that index."""
    return Frame("drive", index, time.monotonic_ns(), round(index * 1e9 / RATE_HZ), image_bgr, str(index))


def recorded(source: str, frames: int) -> Drive:
    """The first frames of a recording.

    Raises:
        SourceError: if it does not open, or while its frames are read.
        SettingsError: if it is live, or its frames do not follow each other in time.
    """
    reader = build_source(source, SourceSettings(max_frames=frames))
    info = reader.open()
    if info.is_live or not info.is_in_sequence:
        reader.close()
        what = "is live" if info.is_live else "holds pictures that do not follow each other in time"
        raise SettingsError(f"{redacted_url(source)}: {what}; steadiness is measured on a recorded video")

    def read() -> Generator[DriveFrame, None, None]:
        with closing(reader):
            while True:
                try:
                    yield DriveFrame(reader.read(), None)
                except EndOfSource:
                    return

    return Drive(info, read())
