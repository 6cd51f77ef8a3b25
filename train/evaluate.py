"""Mean IoU of a network in torch, at the size of its input: what validation chooses by."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from perception.confusion import ConfusionMatrix
from perception.labels import LABELS


class Normalise(nn.Module):
    """(N, 3, H, W) uint8 to float: (pixel - mean) / std, channel by channel."""

    def __init__(self, mean_bgr: tuple[float, ...], std_bgr: tuple[float, ...]) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.tensor(mean_bgr).view(1, 3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std_bgr).view(1, 3, 1, 1), persistent=False)

    def forward(self, frame: Tensor) -> Tensor:
        normalised: Tensor = (frame.float() - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)


def logits_at_input(logits: Tensor, label: Tensor) -> Tensor:
    """Bilinear to the label's size: what `cv2.resize` does with the exported graph's logits."""
    return functional.interpolate(logits.float(), size=label.shape[-2:], mode="bilinear", align_corners=False)


@torch.inference_mode()
def evaluate(
    model: nn.Module, normalise: Normalise, batches: DataLoader[tuple[Tensor, Tensor]]
) -> ConfusionMatrix:
    """One confusion matrix over all of `batches`."""
    model.eval()
    confusion = ConfusionMatrix(len(LABELS))
    for frame, label in batches:
        predicted = logits_at_input(model(normalise(frame)), label).argmax(1).to(torch.uint8)
        confusion.add(label.numpy(), predicted.numpy())
    return confusion
