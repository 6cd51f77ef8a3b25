"""Registry of the losses: logits (N, C, H, W) and labels (N, H, W); `IGNORE` pixels do not count."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from perception.labels import IGNORE
from train.torchvision_cpu import smp

Loss = Callable[[Tensor, Tensor], Tensor]

# Weights of the losses of a network with an auxiliary head, as in the published study.
MAIN_SHARE, AUXILIARY_SHARE = 0.6, 0.4

dice: Loss = smp.losses.DiceLoss(mode="multiclass", log_loss=True, smooth=1.0, ignore_index=IGNORE)
"""-log(Dice), averaged over the classes (Milletari et al., 2016; log as in the published study)."""
tversky: Loss = smp.losses.TverskyLoss(
    mode="multiclass", log_loss=True, smooth=1.0, alpha=0.3, beta=0.7, ignore_index=IGNORE
)
"""-log(Tversky index): false negatives cost 0.7, false positives 0.3 (Salehi et al., 2017)."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the counted pixels; zero if there are none."""
    counted = (labels != IGNORE).sum().clamp(min=1)
    return functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum") / counted


def weighted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy in which every class has the same weight, however few pixels it has in the batch."""
    classes = logits.shape[1]
    counts = torch.bincount(labels[labels != IGNORE], minlength=classes).float()
    weights = counts.sum() / (classes * counts.clamp(min=1))
    summed = functional.cross_entropy(logits, labels, weights, ignore_index=IGNORE, reduction="sum")
    return summed / (weights * counts).sum().clamp(min=1)


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy times (1 - p)^2, which emphasises pixels that are still wrong (Lin et al., 2017)."""
    surprise = functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    return ((1 - torch.exp(-surprise)) ** 2 * surprise).sum() / (labels != IGNORE).sum().clamp(min=1)


def dice_and_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Dice rates areas, cross entropy single pixels; the sum gives sharper edges."""
    return dice(logits, labels) + cross_entropy(logits, labels)


LOSSES: dict[str, Loss] = {
    "dice": dice,
    "cross_entropy": cross_entropy,
    "weighted_cross_entropy": weighted_cross_entropy,
    "focal": focal,
    "tversky": tversky,
    "dice+cross_entropy": dice_and_cross_entropy,
}


def with_auxiliary(loss: Loss, logits: Tensor, auxiliary: Tensor | None, labels: Tensor) -> Tensor:
    """The loss of a network, including that of its auxiliary head if it has one."""
    main = loss(logits, labels)
    return main if auxiliary is None else MAIN_SHARE * main + AUXILIARY_SHARE * loss(auxiliary, labels)
