"""ResNet-50 at output stride 8: the encoder of three of the published networks."""

from __future__ import annotations

from torch import Tensor, nn

from train.models.network import EncoderNetwork, Weights, copy_weights
from train.torchvision_cpu import ResNet50_Weights, resnet50

STRIDE4_CHANNELS, MIDDLE_CHANNELS, TOP_CHANNELS = 256, 1024, 2048


class DilatedResNet50(nn.Module):
    """ResNet-50 (He et al., 2016), its last two stages dilated instead of strided (Yu et al., 2017)."""

    def __init__(self) -> None:
        super().__init__()
        whole = resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
        # The attributes have torchvision's names, so its weights fit. Its classifier is left out.
        self.conv1, self.bn1, self.relu, self.maxpool = whole.conv1, whole.bn1, whole.relu, whole.maxpool
        self.layer1, self.layer2 = whole.layer1, whole.layer2
        self.layer3, self.layer4 = whole.layer3, whole.layer4

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, H, W) to 256 channels at stride 4, and 1024 and 2048 channels at stride 8."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        stride4: Tensor = self.layer1(features)
        middle: Tensor = self.layer3(self.layer2(stride4))
        return stride4, middle, self.layer4(middle)


class ResNet50Network(EncoderNetwork):
    """A head on `DilatedResNet50`."""

    encoder_weights = "ResNet-50 weights in torchvision's key names"

    def __init__(self) -> None:
        super().__init__()
        self.encoder = DilatedResNet50()

    def encoder_modules(self) -> list[nn.Module]:
        return [self.encoder]

    def fetch_imagenet(self) -> Weights:
        # V1, not V2: torchvision's own segmentation networks start from it.
        weights: Weights = ResNet50_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
        return weights

    def take_encoder_weights(self, weights: Weights) -> None:
        copy_weights(weights, self.encoder)
