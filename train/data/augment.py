"""Variations of a labelled frame, all by torchvision: what a road can look like besides what was filmed."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.labels import IGNORE
from train.config import Augment
from train.torchvision_cpu import tv_tensors, v2


def build_augmentation(settings: Augment, pad_level: int) -> torch.nn.Module:
    """Geometry on image and label alike, then colour, blur and noise on the image alone.

    Takes and gives a tv_tensors pair: Image (3, H, W) uint8 and Mask (H, W) uint8. What comes into
    view from outside the frame is `pad_level` in the image and `IGNORE` in the mask.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(settings.flip),
            v2.RandomAffine(
                degrees=settings.rotate_deg,
                translate=(settings.shift, settings.shift),
                scale=(settings.scale_min, settings.scale_max),
                interpolation=v2.InterpolationMode.BILINEAR,
                fill={tv_tensors.Image: pad_level, tv_tensors.Mask: IGNORE},
            ),
            v2.ColorJitter(brightness=settings.colour, contrast=settings.colour, saturation=settings.colour),
            v2.RandomApply([v2.GaussianBlur(5, sigma=(0.3, 2.0))], settings.blur),
            v2.RandomApply([_SensorNoise()], settings.noise),
        ]
    )


class _SensorNoise(v2.Transform):
    """torchvision's Gaussian noise for uint8 images; masks pass."""

    _transformed_types = (tv_tensors.Image,)

    def transform(self, image: Tensor, params: dict[str, object]) -> Tensor:
        noisy = image + torch.randn(image.shape) * torch.empty(1).uniform_(2, 16)
        return tv_tensors.wrap(noisy.clamp_(0, 255).to(torch.uint8), like=image)
