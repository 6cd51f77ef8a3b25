"""`segformer`: MiT-B3 under a decoder of linear layers, as segmentation-models-pytorch has it."""

from __future__ import annotations

from torch import Tensor

from train.models.network import EncoderNetwork, Outputs, TrainingOutputs, Weights
from train.models.pretrained import pretrained_or_offline
from train.torchvision_cpu import smp

ENCODER = "mit_b3"


class Segformer(EncoderNetwork):
    """(N, 3, H, W) normalised BGR in, (N, classes, H/4, W/4) logits out (Xie et al., 2021)."""

    name = "segformer"
    output_stride = 4
    licence_note = (
        "encoder's code (and its authors' ImageNet weights): NVIDIA Source Code License, research and "
        "evaluation only"
    )
    encoder_weights = "MiT-B3 weights in the key names of SegFormer's authors"

    def __init__(self, classes: int) -> None:
        super().__init__()
        # The library's forward rejects sides that are not multiples of 32; its parts do not.
        parts = smp.Segformer(ENCODER, encoder_weights=None, classes=classes, upsampling=1)
        self.encoder = parts.encoder
        self.decoder = parts.decoder
        self.classify = parts.segmentation_head

    def forward(self, image: Tensor) -> Outputs:
        logits: Tensor = self.classify(self.decoder(self.encoder(image)))
        return TrainingOutputs(logits) if self.training else logits

    def fetch_imagenet(self) -> Weights:
        with pretrained_or_offline():
            weights: Weights = smp.encoders.get_encoder(ENCODER, weights="imagenet").state_dict()
        return weights
