"""ResNet-50 at output stride 8: the encoder of three of the published networks."""

from __future__ import annotations

from train.models.network import EncoderNetwork, Weights
from train.torchvision_cpu import IntermediateLayerGetter, ResNet50_Weights, resnet50

STRIDE4_CHANNELS, MIDDLE_CHANNELS, TOP_CHANNELS = 256, 1024, 2048


class ResNet50Network(EncoderNetwork):
    """A head on ResNet-50 (He et al., 2016).

    Its last two stages are dilated instead of strided (Yu et al., 2017). The encoder maps (N, 3, H, W) to 256
    channels at stride 4, and 1024 and 2048 at stride 8. Its layers have torchvision's names, so torchvision's
    weights fit; it has no classifier.
    """

    encoder_weights = "ResNet-50 weights in torchvision's key names"

    def __init__(self) -> None:
        super().__init__()
        whole = resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
        outputs = {"layer1": "stride4", "layer3": "middle", "layer4": "top"}
        self.encoder = IntermediateLayerGetter(whole, outputs)

    def fetch_imagenet(self) -> Weights:
        # V1, not V2: torchvision's own segmentation networks start from it.
        weights: Weights = ResNet50_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
        return weights
