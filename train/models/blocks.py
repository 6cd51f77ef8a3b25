"""Building blocks of the real-time family."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from train.models.network import Outputs, TrainingOutputs


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
    """Fuses features of strides 8, 16 and 32 into logits at stride 8.

    A 1x1 convolution brings each level to `width` channels, coarser levels are added to finer ones from
    the top down, and most dense 3x3 convolutions run at coarse strides, where they are cheap: by default
    two residual blocks and a global average branch at stride 32, one block at 16, one layer at 8.

    In training it also predicts lane lines, for teachers that label them (`train/teacher.py`); that
    layer is not exported.
    """

    def __init__(
        self,
        channels: tuple[int, int, int],
        width: int,
        classes: int,
        blocks: tuple[int, int, int] = (0, 1, 2),
    ) -> None:
        """`blocks`: residual blocks at strides 8, 16 and 32; 0 at stride 8 is one 3x3 layer."""
        super().__init__()
        self.lateral8, self.lateral16, self.lateral32 = (ConvBnRelu(count, width, 1) for count in channels)
        self.whole_frame = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=True))
        at8, at16, at32 = blocks
        self.body32 = nn.Sequential(*(Residual(width) for _ in range(at32)))
        self.body16 = nn.Sequential(*(Residual(width) for _ in range(at16)))
        self.body8 = (
            nn.Sequential(*(Residual(width) for _ in range(at8))) if at8 else ConvBnRelu(width, width, 3)
        )
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(width, classes, 1)
        self.find_lines = nn.Conv2d(width, 1, 1)

    def forward(self, stride8: Tensor, stride16: Tensor, stride32: Tensor) -> Outputs:
        top = self.lateral32(stride32)
        top = self.body32(top + self.whole_frame(top.mean((2, 3), keepdim=True)))
        middle = self.body16(self.lateral16(stride16) + upsample_to(top, stride16))
        fine = self.body8(self.lateral8(stride8) + upsample_to(middle, stride8))
        logits: Tensor = self.classify(self.dropout(fine))
        return TrainingOutputs(logits, lines=self.find_lines(fine)) if self.training else logits


def upsample_to(features: Tensor, target: Tensor) -> Tensor:
    """Bilinear, to the target's size, so that sizes need not be multiples of 32."""
    return functional.interpolate(features, size=target.shape[2:], mode="bilinear", align_corners=False)
