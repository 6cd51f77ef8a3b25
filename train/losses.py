"""The losses by name: logits (N, C, H, W) and labels (N, H, W), `IGNORE` pixels left out."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from perception.labels import IGNORE
from train.torchvision_cpu import smp

Loss = Callable[[Tensor, Tensor], Tensor]

_dice = smp.losses.DiceLoss(mode="multiclass", log_loss=True, smooth=1.0, ignore_index=IGNORE)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """-log(Dice), averaged over the classes (Milletari et al., 2016; log as in the published study)."""
    loss: Tensor = _dice(logits, labels)
    return loss


def dice_and_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Dice sees areas, cross entropy every pixel: together the edges get sharper."""
    return dice(logits, labels) + functional.cross_entropy(logits, labels, ignore_index=IGNORE)


LOSSES: dict[str, Loss] = {
    "dice": dice,
    "dice+cross_entropy": dice_and_cross_entropy,
}
