"""`pspnet`: views of the frame through coarse grids beside ResNet-50's features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.models.blocks import ConvBnRelu, upsample_to
from train.models.network import Outputs, TrainingOutputs
from train.models.resnet50 import MIDDLE_CHANNELS, TOP_CHANNELS, ResNet50Network
from train.torchvision_cpu import FCNHead

BINS = (1, 2, 3, 6)
WIDTH = 512


class GridMeans(nn.Module):
    """Means over a grid of `bins` x `bins` windows: exactly adaptive average pooling.

    Windows of adaptive pooling overlap if `bins` does not divide a side, which ONNX's pooling cannot
    express. A mean over windows of rows and then of columns is two matrix products, which it can.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C, bins, bins)."""
        height, width = features.shape[2:]
        rows = torch.tensor(window_means(height, self.bins), dtype=features.dtype, device=features.device)
        columns = torch.tensor(window_means(width, self.bins), dtype=features.dtype, device=features.device)
        return rows @ features @ columns.T


def window_means(length: int, bins: int) -> list[list[float]]:
    """(bins, length): row i averages over the i-th window of adaptive average pooling."""
    windows = [(i * length // bins, -(-(i + 1) * length // bins)) for i in range(bins)]
    return [[(start <= x < end) / (end - start) for x in range(length)] for start, end in windows]


class Pspnet(ResNet50Network):
    """(N, 3, H, W) normalised BGR in, (N, classes, H/8, W/8) logits out (Zhao et al., 2017)."""

    name = "pspnet"
    output_stride = 8

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.pyramid = nn.ModuleList(
            nn.Sequential(GridMeans(bins), ConvBnRelu(TOP_CHANNELS, TOP_CHANNELS // len(BINS), 1))
            for bins in BINS
        )
        self.head = nn.Sequential(
            ConvBnRelu(2 * TOP_CHANNELS, WIDTH, 3), nn.Dropout2d(0.1), nn.Conv2d(WIDTH, classes, 1)
        )
        self.auxiliary = FCNHead(MIDDLE_CHANNELS, classes)

    def forward(self, image: Tensor) -> Outputs:
        _, middle, top = self.encoder(image).values()
        views = [upsample_to(view(top), top) for view in self.pyramid]
        logits: Tensor = self.head(torch.cat([top, *views], 1))
        return TrainingOutputs(logits, self.auxiliary(middle)) if self.training else logits
