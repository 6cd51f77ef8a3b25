"""Registry of the networks."""

from __future__ import annotations

from torch import nn

from train.models.deeplabv3plus import DeepLabV3Plus
from train.models.encoder_weights import load_encoder
from train.models.fcn import Fcn
from train.models.network import Network
from train.models.pspnet import Pspnet
from train.models.rt_l import RtL
from train.models.rt_m import RtM
from train.models.rt_s import RtS
from train.models.segformer import Segformer
from train.models.unet import Unet
from train.recipe import PUBLISHED

__all__ = ["MODELS", "PUBLISHED", "Network", "build_model", "load_encoder", "size_of"]

MODELS: dict[str, type[Network]] = {
    "rt_s": RtS,
    "rt_m": RtM,
    "rt_l": RtL,
    "fcn": Fcn,
    "unet": Unet,
    "pspnet": Pspnet,
    "deeplabv3plus": DeepLabV3Plus,
    "segformer": Segformer,
}


def check_known(name: str) -> None:
    """Raise ValueError for a name that is unknown; the message lists the known ones."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")


def build_model(name: str, classes: int) -> Network:
    """A new network with random weights.

    Raises:
        ValueError: if the name is unknown; the message lists the known ones.
    """
    check_known(name)
    return MODELS[name](classes)


def size_of(model: nn.Module) -> tuple[int, float]:
    """Number of parameters, and size of parameters and buffers in MiB."""
    size_bytes = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    return sum(weight.numel() for weight in model.parameters()), size_bytes / 2**20
