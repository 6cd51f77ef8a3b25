"""The frames of the gates: labelled ones if there are any, resized to the camera's frames."""

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
PROGRESS_EVERY_S = 10.0


@dataclass(frozen=True)
class GateFrames:
    """The frames of one export. Opened before the work begins, so that a missing split is found at once."""

    parity_bgr: list[NDArray[np.uint8]]
    """(H, W, 3) each, for gates that need no labels."""
    parity_on: str
    """Their description."""
    val: LabelledFrames | None
    test: LabelledFrames | None
    calibration: LabelledFrames | None

    @classmethod
    def open(cls, config: ExportConfig) -> GateFrames:
        """The frames that the settings name.

        Raises:
            DataError: if there is no such data, or a split of it is missing.
        """

        def labelled(folder: str, split: str) -> LabelledFrames:
            return open_frames(folder, split, config.layout, config.label_map)

        val = test = calibration = None
        if config.data:
            val, test = (
                at_camera_size(labelled(config.data, split), config.camera_wh)
                for split in (VAL_SPLIT, TEST_SPLIT)
            )
        folder = config.calibrate or config.data
        if config.precision == "int8" and folder:
            calibration = labelled(folder, CALIBRATION_SPLIT)
            if not len(calibration):
                raise DataError(f"{folder}: no frames in split {CALIBRATION_SPLIT!r} to calibrate on")
        if val is None:
            return cls(*rendered(config.camera_wh), None, None, calibration)
        chosen = np.linspace(0, len(val) - 1, min(PARITY_FRAMES, len(val))).round().astype(int)
        images = [val[int(index)][0] for index in chosen]
        return cls(images, f"{len(images)} frames of `{VAL_SPLIT}`", val, test, calibration)


def rendered(camera_wh: tuple[int, int] | None = None) -> tuple[list[NDArray[np.uint8]], str]:
    """(H, W, 3) BGR frames of the built-in road, and their description.

    Args:
        camera_wh: their size; None or `ANY_SIZE` keeps the renderer's.
    """
    drive = DriveRenderer("mixed")
    images = [drive.render(index * 60)[0] for index in range(PARITY_FRAMES)]
    if camera_wh and any(camera_wh):
        images = [_resized(image, camera_wh) for image in images]
    return images, f"{PARITY_FRAMES} rendered frames"


class MappedFrames:
    """Labelled frames, each changed when it is read."""

    def __init__(self, frames: LabelledFrames, change: Callable[[int, LabelledFrame], LabelledFrame]) -> None:
        """`change` takes a frame's index and the frame."""
        self._frames, self._change = frames, change
        self.name, self.recording = frames.name, frames.recording

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> LabelledFrame:
        return self._change(index, self._frames[index])


def at_camera_size(frames: LabelledFrames, camera_wh: tuple[int, int] | None) -> LabelledFrames:
    """Images at the size of the camera's frames, labels at theirs; unchanged for None and `ANY_SIZE`."""
    if not camera_wh or not any(camera_wh):
        return frames
    return MappedFrames(frames, lambda index, frame: (_resized(frame[0], camera_wh), frame[1]))


def _resized(image_bgr: NDArray[np.uint8], to_wh: tuple[int, int]) -> NDArray[np.uint8]:
    if image_bgr.shape[1::-1] == to_wh:
        return image_bgr
    return np.asarray(cv2.resize(image_bgr, to_wh), np.uint8)


class ProgressFrames(MappedFrames):
    """Reports every 10 s how many frames were read: large networks take minutes."""

    def __init__(self, frames: LabelledFrames, what: str, say: Callable[[str], None]) -> None:
        super().__init__(frames, self._report)
        self._what, self._say = what, say
        self._reported_s = time.monotonic()

    def _report(self, index: int, frame: LabelledFrame) -> LabelledFrame:
        if time.monotonic() - self._reported_s > PROGRESS_EVERY_S:
            self._say(f"{self._what}: {index} of {len(self)} frames")
            self._reported_s = time.monotonic()
        return frame
