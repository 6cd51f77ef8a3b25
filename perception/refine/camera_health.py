"""The camera's state on every prediction, from what its frames look like."""

from __future__ import annotations

from dataclasses import replace

from perception.camera_health.monitor import CameraHealthMonitor
from perception.config import NodeConfig
from perception.frame import Prediction
from perception.sources.source import SourceInfo


class CameraHealth:
    """Refine step: assesses the camera."""

    def __init__(self, config: NodeConfig, info: SourceInfo) -> None:
        """Take the thresholds of `config.health`."""
        self._monitor = CameraHealthMonitor(config.health, may_freeze=not info.are_stills)

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with the camera's state and its reason."""
        state, reason = self._monitor.assess(
            prediction.image_stats, prediction.time_ns, prediction.frame.is_damaged
        )
        return replace(prediction, camera_state=state, camera_reason=reason)
