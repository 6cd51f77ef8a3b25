"""The few layers that the real-time family is built from."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ConvBnRelu(nn.Sequential):
    """Convolution, batch norm, ReLU; "same" padding for odd kernels."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two dense 3x3 convolutions around a shortcut (He et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvBnRelu(channels, channels, 3),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(features + self.body(features))


class LeanHead(nn.Module):
    """Joins features of strides 8, 16 and 32 into logits at stride 8.

    Each level is brought to `width` channels by a 1x1 convolution, the coarser ones are added to the
    finer ones from the top down, and dense 3x3 convolutions run only where they are cheap: two
    residual blocks and a view of the whole frame at stride 32, one block at 16, one layer at 8.
    """

    def __init__(self, channels: tuple[int, int, int], width: int, classes: int) -> None:
        super().__init__()
        self.lateral8, self.lateral16, self.lateral32 = (ConvBnRelu(count, width, 1) for count in channels)
        self.whole_frame = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=True))
        self.body32 = nn.Sequential(Residual(width), Residual(width))
        self.body16 = Residual(width)
        self.body8 = ConvBnRelu(width, width, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, stride8: Tensor, stride16: Tensor, stride32: Tensor) -> Tensor:
        top = self.lateral32(stride32)
        top = self.body32(top + self.whole_frame(top.mean((2, 3), keepdim=True)))
        middle = self.body16(self.lateral16(stride16) + _upsample_to(top, stride16))
        fine = self.body8(self.lateral8(stride8) + _upsample_to(middle, stride8))
        logits: Tensor = self.classify(self.dropout(fine))
        return logits


def _upsample_to(features: Tensor, target: Tensor) -> Tensor:
    """Bilinear, to the target's size: sizes that are not multiples of 32 fit too."""
    return functional.interpolate(features, size=target.shape[2:], mode="bilinear", align_corners=False)
