"""`fcn`: a fully convolutional head on ResNet-50, as torchvision has it."""

from __future__ import annotations

from torch import Tensor

from train.models.network import Outputs, TrainingOutputs
from train.models.resnet50 import MIDDLE_CHANNELS, TOP_CHANNELS, ResNet50Network
from train.torchvision_cpu import FCNHead


class Fcn(ResNet50Network):
    """(N, 3, H, W) normalised BGR in, (N, classes, H/8, W/8) logits out (Long et al., 2015)."""

    name = "fcn"
    output_stride = 8

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = FCNHead(TOP_CHANNELS, classes)
        self.auxiliary = FCNHead(MIDDLE_CHANNELS, classes)

    def forward(self, image: Tensor) -> Outputs:
        _, middle, top = self.encoder(image).values()
        logits: Tensor = self.head(top)
        return TrainingOutputs(logits, self.auxiliary(middle)) if self.training else logits
