"""`unet`: the original U-Net, trained from scratch, with batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.models.blocks import ConvBnRelu
from train.models.network import Network, Outputs, TrainingOutputs

WIDTHS = (64, 128, 256, 512, 1024)


class Unet(Network):
    """(N, 3, H, W) normalised BGR in, (N, classes, H, W) logits out (Ronneberger et al., 2015).

    Padded, so that the logits have the size of the image.
    """

    name = "unet"
    output_stride = 1

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            _two_layers(channels_in, width)
            for channels_in, width in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        upwards = list(zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in upwards
        )
        self.up = nn.ModuleList(_two_layers(coarse, fine) for coarse, fine in upwards)
        self.classify = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, image: Tensor) -> Outputs:
        features, *deeper = self.down
        skipped = [features(image)]
        for layers in deeper:
            skipped.append(layers(self.pool(skipped[-1])))
        features = skipped.pop()
        for enlarge, layers in zip(self.enlarge, self.up, strict=True):
            fine = skipped.pop()
            # Pooling dropped a row of an odd side; output_size restores it.
            coarse = enlarge(features, output_size=fine.shape[2:])
            features = layers(torch.cat([fine, coarse], 1))
        logits: Tensor = self.classify(features)
        return TrainingOutputs(logits) if self.training else logits


def _two_layers(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(ConvBnRelu(channels_in, channels_out, 3), ConvBnRelu(channels_out, channels_out, 3))
