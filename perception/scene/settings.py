"""The settings of the camera's calibration, and the calibration that a run uses."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Self

from perception.scene.calibration import Calibration, CalibrationError, NoPictureSizeError
from perception.scene.calibration_file import load_calibration
from perception.sources.source import SourceInfo
from perception.system.plugins import Checked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrationSettings(Checked):
    """What is known of the camera."""

    calibration: Annotated[str, "FILE"] | None = None
    """Calibration of the camera: ROS's camera_info as YAML, which drivable-calibrate writes, VisionPilot's
    H.yaml, KITTI's text, or a bag with CameraInfo. Without one nothing is known in metres."""
    calibration_size_wh: tuple[int, int] | None = None
    """Size of the pictures that the calibration is of, where its file does not say it (H.yaml, KITTI);
    without one that of the source."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.calibration_size_wh is not None and min(self.calibration_size_wh) < 1:
            raise ValueError(
                "calibration_size_wh is {}x{}; both sides must be above 0".format(*self.calibration_size_wh)
            )
        super().__post_init__()


@dataclass(frozen=True)
class SceneSettings(CalibrationSettings):
    """What is learnt of the camera's mount."""

    mount_state: Annotated[str, "FILE"] | None = None
    """File for what is learnt of the camera's mount while driving, so that the next run goes on from it."""
    lane_width_m: float | None = None
    """Width of the lanes that are driven in, where all are alike: the camera's height and roll are then
    learnt from them. Without it both are as in the calibration."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.lane_width_m is not None and not 2.0 <= self.lane_width_m <= 6.0:
            raise ValueError(f"lane_width_m is {self.lane_width_m:g}; a lane is 2 to 6 m wide")
        for name in ("mount_state", "lane_width_m"):
            if getattr(self, name) is not None and self.calibration is None:
                raise ValueError(f"{name} is for a calibrated camera; add --calibration FILE")
        super().__post_init__()


class RunCalibration:
    """The calibration of a run, at the size of its frames.

    Args:
        settings: name a file.

    Raises:
        CalibrationError: if it cannot be used, whatever the frames' size.
    """

    def __init__(self, settings: CalibrationSettings) -> None:
        self._file = str(settings.calibration)
        self._loaded: Calibration | None = None
        self._at: dict[tuple[int, int], Calibration] = {}
        with suppress(NoPictureSizeError):
            self._loaded = load_calibration(self._file, settings.calibration_size_wh)

    @classmethod
    def of(cls, settings: CalibrationSettings) -> Self | None:
        """That of the settings; None if they name none."""
        return None if settings.calibration is None else cls(settings)

    def at(self, frame_wh: tuple[int, int]) -> Calibration:
        """The calibration for frames of that size.

        Raises:
            CalibrationError: if it is of pictures of another shape.
        """
        if self._loaded is None:
            self._loaded = load_calibration(self._file, frame_wh)
            width, height = frame_wh
            log.info(
                f"{self._file}: does not say of which pictures it is; it is taken for that of this source's, "
                f"{width}x{height} (--calibration_size names another size)"
            )
        if frame_wh not in self._at:
            try:
                self._at[frame_wh] = self._loaded.scaled_to(frame_wh)
            except CalibrationError as error:
                raise CalibrationError(f"{self._file}: {error}") from None
        return self._at[frame_wh]


@dataclass(frozen=True, kw_only=True)
class CalibratedInfo(SourceInfo):
    """Of a source whose camera is calibrated."""

    calibration: RunCalibration


def calibrated(info: SourceInfo, calibration: RunCalibration) -> CalibratedInfo:
    """What is known of a source, and its camera's calibration."""
    return CalibratedInfo(**vars(info), calibration=calibration)
