"""Pretrained encoder weights, from a file or a library's download."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final
from zipfile import is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from train.models.network import EncoderNetwork, Network, Weights

IMAGENET = "imagenet"

_WEIGHT_KEYS: Final = ("state_dict", "model_state_dict", "model")
"""Keys of the weights in checkpoints of other tools."""
_PARALLEL: Final = "module."
"""Prefix that torch's DataParallel puts before every name."""


def load_encoder(model: Network, source: str) -> None:
    """Initialise the encoder with ImageNet weights.

    They expect RGB; the first convolution is converted to BGR here, so that no channels need swapping
    later.

    Args:
        source: a file of torch or safetensors, or `imagenet` for the library's own download.

    Raises:
        ValueError: if the network has no encoder, or the weights are unavailable or of another network.
    """
    layers = (layer for module in model.encoder_modules() for layer in module.modules())
    first = next(layer for layer in layers if isinstance(layer, nn.Conv2d))
    assert isinstance(model, EncoderNetwork)  # the others have raised
    weights = _fetch(model) if source == IMAGENET else read_weights(Path(source))
    try:
        model.take_encoder_weights(weights)
    except ValueError as error:
        raise ValueError(f"{source}: not {model.encoder_weights}: {error}") from error
    with torch.no_grad():
        first.weight.copy_(first.weight.flip(1))


def _fetch(model: EncoderNetwork) -> Weights:
    # Its log of every attempt would bury our error.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        return model.fetch_imagenet()
    except Exception as error:  # each library raises its own types if there is no network
        reason = " ".join(str(error).split())
        raise ValueError(
            f"imagenet: {model.encoder_weights} could not be fetched ({reason}); "
            f"name a file with --encoder_weights FILE"
        ) from error


def read_weights(file: Path) -> Weights:
    """The tensors by name of a torch or safetensors file; raises ValueError."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file of encoder weights; name one, or `{IMAGENET}` to fetch them")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from error
    except Exception as error:  # both raise many types
        # A network pickled as Python objects: reading it would run code.
        hint = "; save only the state_dict() of a whole network" if is_zipfile(file) else ""
        raise ValueError(f"{file}: not a weights file of torch or safetensors{hint}") from error
    weights = _unwrapped(weights)
    if not _are_weights(weights):
        raise ValueError(f"{file}: not a weights file: it holds something else than tensors by name")
    return weights


def _are_weights(found: Any) -> bool:
    return isinstance(found, dict) and bool(found) and all(isinstance(it, Tensor) for it in found.values())


def _unwrapped(found: Any) -> Any:
    """The weights in another tool's checkpoint, by the network's own names."""
    if isinstance(found, dict) and not _are_weights(found):
        found = next((found[name] for name in _WEIGHT_KEYS if _are_weights(found.get(name))), found)
    if _are_weights(found) and all(str(name).startswith(_PARALLEL) for name in found):
        return {name.removeprefix(_PARALLEL): value for name, value in found.items()}
    return found
