"""Every refine step, by name, and the steps of a run."""

from __future__ import annotations

from typing import Any, Final

from perception.frame import Prediction
from perception.refine.camera_health import CAMERA_HEALTH
from perception.refine.ignore import IGNORE
from perception.refine.kind import RefineKind, RefineStep
from perception.refine.scene import SCENE
from perception.refine.steady import STEADY
from perception.sources.source import SourceInfo
from perception.system.plugins import PluginError, Registry

REFINE_STEPS: Final[Registry[RefineKind[Any]]] = Registry(
    "drivable.refine",
    RefineKind,
    {"camera_health": CAMERA_HEALTH, "steady": STEADY, "ignore": IGNORE, "scene": SCENE},
)
"""In the order in which they see a prediction: ours as they stand here, then those of packages by name."""


def refine_steps(settings: object, info: SourceInfo) -> list[RefineStep]:
    """The steps that a run's settings turn on, made for one source, in order.

    Args:
        settings: hold those of the steps, each in its group; what is missing has defaults.

    Raises:
        PluginError: if a step of another package cannot be made.
    """
    steps: list[RefineStep] = []
    for kind in REFINE_STEPS.used(settings).values():
        own = kind.own(settings)
        if kind.is_on(own):
            step = kind.make(kind.build, own, info)
            steps.append(_Watched(kind.origin, step) if kind.origin else step)
    return steps


class _Watched:
    """A step of another package: what goes wrong in it names the package."""

    def __init__(self, origin: str, step: RefineStep) -> None:
        self._origin, self._step = origin, step

    def __call__(self, prediction: Prediction) -> Prediction:
        try:
            refined = self._step(prediction)
        except Exception as error:
            raise PluginError.of(self._origin, error) from error
        if not isinstance(refined, Prediction):
            raise PluginError(f"{self._origin}: gave {type(refined).__name__}, and no Prediction")
        return refined
