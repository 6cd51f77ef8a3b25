"""Every refine step, by name: a new one is a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from perception.config import NodeConfig
from perception.pipeline import RefineStep
from perception.refine.camera_health import CameraHealth
from perception.sources.source import SourceInfo

REFINE_STEPS: Final[dict[str, Callable[[NodeConfig, SourceInfo], RefineStep]]] = {
    "camera_health": CameraHealth
}
"""In the order in which they see a prediction; each is made once for a source."""
