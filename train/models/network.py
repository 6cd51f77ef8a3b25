"""`Network`, the base of all entries of MODELS, and its outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

Weights = dict[str, Tensor]
"""Contents of a weights file: tensors by the name of their layer."""


class TrainingOutputs(NamedTuple):
    """Outputs in training mode. Heads beside the main one serve the loss alone."""

    logits: Tensor
    """(N, classes, h, w)"""
    auxiliary: Tensor | None = None
    """(N, classes, h, w): logits from an earlier layer (deep supervision)."""
    lines: Tensor | None = None
    """(N, 1, h, w): logits of lane lines, learned from a teacher."""


Outputs = Tensor | TrainingOutputs
"""Logits (N, classes, h, w) in evaluation, `TrainingOutputs` in training."""


class Network(nn.Module):
    """(N, 3, H, W) normalised BGR in, `Outputs` out.

    The logits are (N, classes, H / output_stride, W / output_stride) if both sides are multiples of 32;
    other sides are accepted too, and rounded.
    """

    name: ClassVar[str]
    """As in MODELS."""
    output_stride: ClassVar[int]
    """Pixels of the input per element of the logits, along each side."""
    licence_note: ClassVar[str | None] = None
    """Terms of a library's layers beyond our own licence."""

    def encoder_modules(self) -> list[nn.Module]:
        """The layers with ImageNet weights, in the order they run.

        Raises:
            ValueError: if the network has none.
        """
        raise ValueError(
            f"{self.name} has no encoder to load weights into or to freeze; leave out --encoder_weights "
            f"and --freeze_encoder"
        )

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of `encoder_modules`, to freeze for training the head alone."""
        for module in self.encoder_modules():
            yield from module.parameters()


class EncoderNetwork(Network, ABC):
    """A network with an encoder that can start from ImageNet weights."""

    encoder_weights: ClassVar[str]
    """The weights it takes, in words: `MobileNetV2 weights in torchvision's key names`."""
    encoder: nn.Module
    """The layers that take them, unless `encoder_modules` names others."""

    def encoder_modules(self) -> list[nn.Module]:
        return [self.encoder]

    @abstractmethod
    def fetch_imagenet(self) -> Weights:
        """ImageNet weights from the library's download; raises the library's errors."""

    def take_encoder_weights(self, weights: Weights) -> None:
        """Copy RGB weights into the encoder; `load_encoder` converts them to BGR.

        Raises:
            ValueError: stating how they differ from this encoder's weights.
        """
        copy_weights(weights, self.encoder)


def copy_weights(weights: Weights, module: nn.Module) -> None:
    """Copy the weights of the layers that `module` has, not a classifier that comes with them.

    Raises:
        ValueError: naming the first layer that is missing or of another shape.
    """
    own = module.state_dict()
    # Files from before torch 0.4.1 lack num_batches_tracked, which a fixed momentum does not use.
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{missing[0]}{others} missing")
    for name, value in own.items():
        if name in weights and weights[name].shape != value.shape:
            raise ValueError(f"{name} is {tuple(weights[name].shape)} and not {tuple(value.shape)}")
    module.load_state_dict({name: weights.get(name, value) for name, value in own.items()})
