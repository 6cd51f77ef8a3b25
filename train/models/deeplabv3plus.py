"""`deeplabv3plus`: ASPP on ResNet-50, and a decoder at stride 4."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.models.blocks import ConvBnRelu, upsample_to
from train.models.network import Outputs, TrainingOutputs
from train.models.resnet50 import STRIDE4_CHANNELS, TOP_CHANNELS, ResNet50Network
from train.torchvision_cpu import ASPP

RATES = (12, 24, 36)  # of the paper, for features at stride 8
WIDTH, FINE_WIDTH = 256, 48


class DeepLabV3Plus(ResNet50Network):
    """(N, 3, H, W) normalised BGR in, (N, classes, H/4, W/4) logits out (Chen et al., 2018)."""

    name = "deeplabv3plus"
    output_stride = 4

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pyramid = ASPP(TOP_CHANNELS, RATES, WIDTH)
        self.fine = ConvBnRelu(STRIDE4_CHANNELS, FINE_WIDTH, 1)
        self.decoder = nn.Sequential(
            ConvBnRelu(WIDTH + FINE_WIDTH, WIDTH, 3),
            ConvBnRelu(WIDTH, WIDTH, 3),
            nn.Dropout(0.1),
            nn.Conv2d(WIDTH, classes, 1),
        )

    def forward(self, image: Tensor) -> Outputs:
        stride4, _, top = self.encoder(image).values()
        fine = self.fine(stride4)
        logits: Tensor = self.decoder(torch.cat([upsample_to(self.pyramid(top), fine), fine], 1))
        return TrainingOutputs(logits) if self.training else logits
