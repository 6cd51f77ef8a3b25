"""torchvision, timm and segmentation-models-pytorch, importable with the CPU build of torch too.

PyPI's torchvision is built against the CUDA torch. With a CPU torch its C++ library does not load, so
its operators are never declared, and its import fails when Python registers a fake implementation of one:
"operator torchvision::nms does not exist". We call none of these operators, so declaring the missing
schemas is enough.

Import these libraries from here, so that the order is right.
"""

from __future__ import annotations

import torch

# Kept for the life of the process: the declarations end with this object.
_declared = torch.library.Library("torchvision", "FRAGMENT")

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    _declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import segmentation_models_pytorch as smp
import timm
from torchvision import tv_tensors
from torchvision.models import MobileNet_V2_Weights, ResNet50_Weights, mobilenet_v2, resnet50
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.models.segmentation.fcn import FCNHead
from torchvision.transforms import v2
