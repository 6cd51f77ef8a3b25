"""`rt_s`: a 4x4 patch stem and dense 3x3 bodies. The fastest network of the family."""

from __future__ import annotations

from torch import Tensor, nn

from train.models.blocks import ConvBnRelu, LeanHead, Residual


class RtS(nn.Module):
    """(N, 3, H, W) normalised BGR in, (N, classes, H/8, W/8) logits out.

    The stem reads the frame in 4x4 patches that do not overlap: a 3x3 stem over three channels is the
    slowest layer of a small network, and no padding means nothing to keep exact at the border. The
    bodies stand at strides 16 and 32, where a layer costs a third of what it does at stride 8.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.to_stride8 = nn.Sequential(
            nn.Conv2d(3, 24, 4, stride=4, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(inplace=True),
            ConvBnRelu(24, 32, 3, stride=2),
        )
        self.to_stride16 = nn.Sequential(ConvBnRelu(32, 48, 3, stride=2), Residual(48))
        self.to_stride32 = nn.Sequential(ConvBnRelu(48, 96, 3, stride=2), Residual(96))
        self.head = LeanHead((32, 48, 96), 32, classes)

    def forward(self, image: Tensor) -> Tensor:
        stride8 = self.to_stride8(image)
        stride16 = self.to_stride16(stride8)
        logits: Tensor = self.head(stride8, stride16, self.to_stride32(stride16))
        return logits
