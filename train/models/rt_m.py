"""`rt_m`: MobileNetV2 features under a lean stride-8 head. The default network of the node."""

from __future__ import annotations

from torch import Tensor, nn

from train.models.blocks import LeanHead
from train.models.network import EncoderNetwork, Outputs, Weights, copy_weights
from train.torchvision_cpu import MobileNet_V2_Weights, mobilenet_v2

HEAD_WIDTH = 96


class RtM(EncoderNetwork):
    """(N, 3, H, W) normalised BGR in, (N, classes, H/8, W/8) logits out.

    The encoder is MobileNetV2 (Sandler et al., 2018) without its last 1x1 convolution, whose 1280
    channels are for ImageNet's thousand classes and cost more here than they gain.
    """

    name = "rt_m"
    output_stride = 8
    encoder_weights = "MobileNetV2 feature weights in torchvision's key names"

    def __init__(self, classes: int) -> None:
        super().__init__()
        features = mobilenet_v2(weights=None).features
        self.to_stride8 = features[:7]  # 32 channels
        self.to_stride16 = features[7:14]  # 96 channels
        self.to_stride32 = features[14:18]  # 320 channels
        self.head = LeanHead((32, 96, 320), HEAD_WIDTH, classes)

    def forward(self, image: Tensor) -> Outputs:
        stride8 = self.to_stride8(image)
        stride16 = self.to_stride16(stride8)
        outputs: Outputs = self.head(stride8, stride16, self.to_stride32(stride16))
        return outputs

    def encoder_modules(self) -> list[nn.Module]:
        return [self.to_stride8, self.to_stride16, self.to_stride32]

    def fetch_imagenet(self) -> Weights:
        weights: Weights = MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
        return weights

    def take_encoder_weights(self, weights: Weights) -> None:
        features = nn.Sequential(*self.to_stride8, *self.to_stride16, *self.to_stride32)
        copy_weights({name.removeprefix("features."): value for name, value in weights.items()}, features)
