"""What is known in metres, on every prediction of a calibrated camera."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.frame import Prediction
from perception.imaging.yuv import Yuv420
from perception.refine.kind import RefineKind
from perception.scene.estimator import SceneEstimator
from perception.scene.mount_memory import MountMemory
from perception.scene.settings import RunCalibration, SceneSettings
from perception.sources.source import SourceInfo

log = logging.getLogger(__name__)


class Scene:
    """Refine step: metres, from the class map; none without a mount, and none for a frame without a mask."""

    def __init__(self, settings: SceneSettings, info: SourceInfo) -> None:
        calibration = RunCalibration.of(settings)
        if calibration is None:
            raise ValueError("no calibration is named")
        self._calibration, self._settings = calibration, settings
        self._follows = info.is_in_sequence
        self._estimator: SceneEstimator | None = None
        self._memory: MountMemory | None = None
        self._has_mount = True
        if info.frame_wh is not None:
            self._prepare(info.frame_wh)

    def _prepare(self, frame_wh: tuple[int, int]) -> None:
        """Make the estimator; raises CalibrationError."""
        calibration = self._calibration.at(frame_wh)
        if calibration.mount is None:
            self._has_mount = False
            log.warning(
                f"{self._settings.calibration}: has no mount, the camera's height above the ground at least: "
                f"nothing is given in metres"
            )
            return
        if self._settings.mount_state and self._follows:
            self._memory = MountMemory(Path(self._settings.mount_state), calibration)
        self._estimator = SceneEstimator(
            calibration,
            lane_width_m=self._settings.lane_width_m,
            learnt=self._memory.learnt if self._memory else None,
            follows=self._follows,
        )

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with its metres; raises CalibrationError for frames of another shape."""
        if not (self._has_mount and prediction.has_mask):
            return prediction
        if self._estimator is None:
            self._prepare(prediction.frame_wh)
            if self._estimator is None:
                return prediction
        self._calibration.at(prediction.frame_wh)
        metres = self._estimator(
            prediction.class_map,
            prediction.frame_wh,
            prediction.time_ns,
            labels=prediction.labels,
            ignored=prediction.ignored,
            picture=lambda: _luma_or_bgr(prediction),
        )
        if self._memory is not None:
            self._memory.offer(self._estimator.learnt, prediction.time_ns)
        return replace(prediction, metres=metres)


def _luma_or_bgr(prediction: Prediction) -> NDArray[np.uint8]:
    pixels = prediction.frame.pixels
    return pixels.y if isinstance(pixels, Yuv420) else pixels


SCENE: Final = RefineKind(
    settings=SceneSettings, build=Scene, is_on=lambda settings: settings.calibration is not None
)
"""On with a calibration of the camera."""
