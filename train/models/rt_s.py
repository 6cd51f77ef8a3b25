"""`rt_s`: a 4x4 patch stem and dense 3x3 bodies. The fastest network of the family."""

from __future__ import annotations

from torch import Tensor, nn

from train.models.blocks import ConvBnRelu, LeanHead, Residual
from train.models.network import Network, Outputs


class RtS(Network):
    """(N, 3, H, W) normalised BGR in, (N, classes, H/8, W/8) logits out.

    The stem reads the frame in 4x4 patches without overlap: a 3x3 stem over three channels would be the
    slowest layer of a small network, and without padding the border is exact. Most blocks are at strides
    16 and 32, where a channel costs a quarter of one level up.
    """

    name = "rt_s"
    output_stride = 8

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.to_stride8 = nn.Sequential(
            nn.Conv2d(3, 24, 4, stride=4, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(inplace=True),
            ConvBnRelu(24, 32, 3, stride=2),
            Residual(32),
        )
        self.to_stride16 = nn.Sequential(ConvBnRelu(32, 64, 3, stride=2), Residual(64), Residual(64))
        self.to_stride32 = nn.Sequential(ConvBnRelu(64, 128, 3, stride=2), Residual(128), Residual(128))
        self.head = LeanHead((32, 64, 128), 32, classes)

    def forward(self, image: Tensor) -> Outputs:
        stride8 = self.to_stride8(image)
        stride16 = self.to_stride16(stride8)
        outputs: Outputs = self.head(stride8, stride16, self.to_stride32(stride16))
        return outputs
