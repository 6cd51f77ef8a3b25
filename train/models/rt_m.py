"""`rt_m`: MobileNetV2 features under a lean stride-8 head. The default network of the node."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from train.models.blocks import LeanHead
from train.torchvision_cpu import mobilenet_v2

HEAD_WIDTH = 96


class RtM(nn.Module):
    """(N, 3, H, W) normalised BGR in, (N, classes, H/8, W/8) logits out.

    The encoder is MobileNetV2 (Sandler et al., 2018) without its last 1x1 convolution, whose 1280
    channels serve ImageNet's thousand classes and cost more here than they bring.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        features = mobilenet_v2(weights=None).features
        self.to_stride8 = features[:7]  # 32 channels
        self.to_stride16 = features[7:14]  # 96 channels
        self.to_stride32 = features[14:18]  # 320 channels
        self.head = LeanHead((32, 96, 320), HEAD_WIDTH, classes)

    def forward(self, image: Tensor) -> Tensor:
        stride8 = self.to_stride8(image)
        stride16 = self.to_stride16(stride8)
        logits: Tensor = self.head(stride8, stride16, self.to_stride32(stride16))
        return logits

    def load_encoder(self, file: Path) -> None:
        """Start from ImageNet weights in torchvision's key names (`features.0.0.weight`, …).

        They were trained on RGB; the first convolution is turned to BGR here, once, so that nothing
        after it ever swaps channels.

        Raises:
            ValueError: if the file does not hold these weights.
        """
        weights = torch.load(file, map_location="cpu", weights_only=True)
        weights = {name.removeprefix("features."): value for name, value in weights.items()}
        encoder = nn.Sequential(*self.to_stride8, *self.to_stride16, *self.to_stride32)
        try:
            weights["0.0.weight"] = weights["0.0.weight"].flip(1)
            encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"{file}: not MobileNetV2 feature weights in torchvision's key names: {error}"
            ) from error
