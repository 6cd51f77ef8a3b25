"""The networks by name: a dict you can read."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from train.models.rt_m import RtM
from train.models.rt_s import RtS

MODELS: dict[str, Callable[[int], nn.Module]] = {
    "rt_s": RtS,
    "rt_m": RtM,
}


def build_model(name: str, classes: int) -> nn.Module:
    """A new network with random weights.

    Raises:
        ValueError: if the name is unknown; the message lists the known ones.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    return MODELS[name](classes)
