"""The frames that the gates look at: real ones where there are any, and brought to the camera's size."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from export.config import ExportConfig
from perception.synthetic import DriveRenderer
from train.data.frames import DataError, LabelledFrame, LabelledFrames
from train.data.layouts import open_frames

PARITY_FRAMES = 16
VAL_SPLIT, TEST_SPLIT, CALIBRATION_SPLIT = "val", "test", "train"
TOLD_EVERY_S = 10.0


@dataclass(frozen=True)
class GateFrames:
    """What one export is measured on. Opened before the work begins: a missing split is told at once."""

    parity_bgr: list[NDArray[np.uint8]]
    """(H, W, 3) each, for what needs no labels."""
    parity_on: str
    """What they are called."""
    val: LabelledFrames | None
    test: LabelledFrames | None
    calibration: LabelledFrames | None

    @classmethod
    def open(cls, config: ExportConfig) -> GateFrames:
        """The frames that the settings name.

        Raises:
            DataError: if there is no such data, or a split of it is missing.
        """
        val = of_camera(_labelled(config, config.data, VAL_SPLIT), config.camera_wh) if config.data else None
        test = (
            of_camera(_labelled(config, config.data, TEST_SPLIT), config.camera_wh) if config.data else None
        )
        calibration = None
        if config.precision == "int8":
            folder = config.calibrate or config.data
            calibration = _labelled(config, folder, CALIBRATION_SPLIT)
            if not len(calibration):
                raise DataError(f"{folder}: no frames in split {CALIBRATION_SPLIT!r} to calibrate on")
        if val is None:
            return cls(*rendered(config.camera_wh), None, None, calibration)
        chosen = np.linspace(0, len(val) - 1, min(PARITY_FRAMES, len(val))).round().astype(int)
        images = [val[int(index)][0] for index in chosen]
        return cls(images, f"{len(images)} frames of `{VAL_SPLIT}`", val, test, calibration)


def _labelled(config: ExportConfig, folder: str | None, split: str) -> LabelledFrames:
    assert folder is not None
    return open_frames(folder, split, config.layout, config.label_map)


def rendered(camera_wh: tuple[int, int] | None = None) -> tuple[list[NDArray[np.uint8]], str]:
    """(H, W, 3) BGR frames of the built-in road, and what they are called.

    Args:
        camera_wh: their size; None or `ANY_SIZE` leaves them as they are drawn.
    """
    drive = DriveRenderer("mixed")
    images = [drive.render(index * 60)[0] for index in range(PARITY_FRAMES)]
    if camera_wh and any(camera_wh):
        images = [_resized(image, camera_wh) for image in images]
    return images, f"{PARITY_FRAMES} rendered frames"


def of_camera(frames: LabelledFrames, camera_wh: tuple[int, int] | None) -> LabelledFrames:
    """The frames as large as the camera's; as they are for None and `ANY_SIZE`."""
    return AtCameraSize(frames, camera_wh) if camera_wh and any(camera_wh) else frames


def _resized(image_bgr: NDArray[np.uint8], to_wh: tuple[int, int]) -> NDArray[np.uint8]:
    if image_bgr.shape[1::-1] == to_wh:
        return image_bgr
    return np.asarray(cv2.resize(image_bgr, to_wh), np.uint8)


@dataclass(frozen=True)
class AtCameraSize:
    """Labelled frames whose images are as large as the camera's; the labels stay as they are."""

    frames: LabelledFrames
    camera_wh: tuple[int, int]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> LabelledFrame:
        image_bgr, truth = self.frames[index]
        return _resized(image_bgr, self.camera_wh), truth

    def name(self, index: int) -> str:
        return self.frames.name(index)

    def recording(self, index: int) -> str:
        return self.frames.recording(index)


class Told:
    """Labelled frames that say, now and then, how many of them were taken: large networks take minutes."""

    def __init__(self, frames: LabelledFrames, what: str, say: Callable[[str], None]) -> None:
        self._frames, self._what, self._say = frames, what, say
        self._told_s = time.monotonic()

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> LabelledFrame:
        if time.monotonic() - self._told_s > TOLD_EVERY_S:
            self._say(f"{self._what}: {index} of {len(self)} frames")
            self._told_s = time.monotonic()
        return self._frames[index]

    def name(self, index: int) -> str:
        return self._frames.name(index)

    def recording(self, index: int) -> str:
        return self._frames.recording(index)
