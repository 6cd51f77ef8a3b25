"""Network: what every entry of MODELS has beside its layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn

Weights = dict[str, Tensor]
"""What a weights file holds: tensors by the name of their layer."""


class Network(nn.Module):
    """(N, 3, H, W) normalised BGR in, `train.models.outputs.Outputs` out.

    The logits are (N, classes, H / output_stride, W / output_stride) where both sides are multiples
    of 32; other sides are taken too, and rounded.
    """

    name: ClassVar[str]
    """As in MODELS."""
    output_stride: ClassVar[int]
    """Pixels of the input per element of the logits, along each side."""
    licence_note: ClassVar[str | None] = None
    """What a library asks beyond our own licence of who uses its layers."""

    def encoder_modules(self) -> list[nn.Module]:
        """The layers that can start from weights learned on ImageNet, in the order they are run.

        Raises:
            ValueError: if the network has none.
        """
        raise ValueError(
            f"{self.name} has no encoder to load weights into or to freeze; leave out --encoder_weights "
            f"and --freeze_encoder"
        )

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of `encoder_modules`: what to freeze to train the head alone."""
        for module in self.encoder_modules():
            yield from module.parameters()


class EncoderNetwork(Network, ABC):
    """A network whose first layers can start from weights learned on ImageNet."""

    encoder_weights: ClassVar[str]
    """What its encoder takes, in words: `MobileNetV2 weights in torchvision's key names`."""

    @abstractmethod
    def encoder_modules(self) -> list[nn.Module]: ...

    @abstractmethod
    def fetch_imagenet(self) -> Weights:
        """ImageNet's weights, by the download of the library that has them. Raises what the library does."""

    @abstractmethod
    def take_encoder_weights(self, weights: Weights) -> None:
        """Copy weights that were learned on RGB into the encoder; `load_encoder` turns them to BGR.

        Raises:
            ValueError: saying in what they are not the weights of this encoder.
        """


def copy_weights(weights: Weights, module: nn.Module) -> None:
    """Copy the weights that `module` has layers for; a classifier that came with them stays out.

    Raises:
        ValueError: naming the first layer that is missing or of another shape.
    """
    own = module.state_dict()
    # Files from before torch 0.4.1 do not count batches; the count is of no use to a fixed momentum.
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(f"{missing[0]}{others} missing")
    for name, value in own.items():
        if name in weights and weights[name].shape != value.shape:
            raise ValueError(f"{name} is {tuple(weights[name].shape)} and not {tuple(value.shape)}")
    module.load_state_dict({name: weights.get(name, value) for name, value in own.items()})
