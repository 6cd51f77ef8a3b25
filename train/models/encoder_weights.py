"""First weights of encoders: from a file, or from the download of the library that has them."""

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

_KEPT_AS: Final = ("state_dict", "model_state_dict", "model")
"""Where checkpoints of other tools hold the weights, beside their optimiser's and the like."""
_PARALLEL: Final = "module."
"""What torch's DataParallel puts before every name."""


def load_encoder(model: Network, source: str) -> None:
    """Start the encoder from weights learned on ImageNet.

    They were learned on RGB; the first convolution is turned to BGR here, once, so that nothing
    after it ever swaps channels.

    Args:
        source: a file of torch or safetensors, or `imagenet` for the library's own download.

    Raises:
        ValueError: if the network has no encoder, or the weights cannot be had, or are another's.
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
    # What it says about each of its attempts would bury the line that counts.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        return model.fetch_imagenet()
    except Exception as error:  # each library raises kinds of its own where there is no network
        reason = " ".join(str(error).split())
        raise ValueError(
            f"imagenet: {model.encoder_weights} could not be fetched ({reason}); "
            f"name a file that holds them with --encoder_weights FILE"
        ) from error


def read_weights(file: Path) -> Weights:
    """Tensors by name, of a file of torch or safetensors; raises ValueError in one line."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file of encoder weights; name one, or `{IMAGENET}` to fetch them")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from error
    except Exception as error:  # both raise many kinds, torch none of its own
        raise ValueError(
            f"{file}: not a file of weights, as torch or safetensors write them{_whole(file)}"
        ) from error
    weights = _unwrapped(weights)
    if not _are_weights(weights):
        raise ValueError(f"{file}: not a file of weights: it holds something else than tensors by name")
    return weights


def _whole(file: Path) -> str:
    """What to say of a network that was saved as objects of Python, which would run code to be read."""
    return "; of a whole network save its state_dict() alone" if is_zipfile(file) else ""


def _are_weights(found: Any) -> bool:
    return isinstance(found, dict) and bool(found) and all(isinstance(it, Tensor) for it in found.values())


def _unwrapped(found: Any) -> Any:
    """The weights in a checkpoint of another tool, by their names in the network itself."""
    if isinstance(found, dict) and not _are_weights(found):
        found = next((found[name] for name in _KEPT_AS if _are_weights(found.get(name))), found)
    if _are_weights(found) and all(str(name).startswith(_PARALLEL) for name in found):
        return {name.removeprefix(_PARALLEL): value for name, value in found.items()}
    return found
