"""The camera's state on every prediction, from what its frames look like."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from perception.camera_health.monitor import CameraHealthMonitor, HealthSettings
from perception.frame import Prediction
from perception.refine.kind import RefineKind
from perception.sources.source import SourceInfo


class CameraHealth:
    """Refine step: assesses the camera."""

    def __init__(self, settings: HealthSettings, info: SourceInfo) -> None:
        self._monitor = CameraHealthMonitor(settings, may_freeze=not info.are_stills)

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with the camera's state and its reason."""
        state, reason = self._monitor.assess(
            prediction.image_stats, prediction.time_ns, prediction.frame.is_damaged
        )
        return replace(prediction, camera_state=state, camera_reason=reason)


CAMERA_HEALTH: Final = RefineKind(settings=HealthSettings, group="health", build=CameraHealth)
"""Always on: without `health.enabled` it still reports what the decoder found damaged."""
