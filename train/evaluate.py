"""Validation of a torch network against labels, at the size of its input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from perception.imaging.letterbox import Bgr, letterbox, nearest
from perception.labels import LABELS
from perception.metrics.confusion_matrix import ConfusionMatrix
from train.config import TrainConfig
from train.data.mixture import validation_frames
from train.processes import Processes
from train.report import PredictedFrame


class Normalise(nn.Module):
    """(N, 3, H, W) uint8 to float: (pixel - mean) / std, channel by channel."""

    def __init__(self, mean_bgr: tuple[float, ...], std_bgr: tuple[float, ...]) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.tensor(mean_bgr).view(1, 3, 1, 1), persistent=False)
        self.std = nn.Buffer(torch.tensor(std_bgr).view(1, 3, 1, 1), persistent=False)

    def forward(self, frame: Tensor) -> Tensor:
        normalised: Tensor = (frame.float() - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Validation:
    """A network's figures on the validation frames."""

    confusion: ConfusionMatrix
    loss: float
    """Mean over the batches."""


def logits_at_input(logits: Tensor, label: Tensor) -> Tensor:
    """Bilinear to the label's size, as `cv2.resize` does with the exported graph's logits."""
    return functional.interpolate(logits.float(), size=label.shape[-2:], mode="bilinear", align_corners=False)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    normalise: Normalise,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    processes: Processes,
) -> Validation:
    """One confusion matrix and mean loss over the batches of all processes."""
    model.eval()
    confusion, losses = ConfusionMatrix(len(LABELS)), []
    for frame, label in batches:
        logits = logits_at_input(model(normalise(frame.to(processes.device))), label)
        confusion.add(label.numpy(), logits.argmax(1).to(torch.uint8).cpu().numpy())
        losses.append(loss_of(logits, label.to(processes.device).long()).item())
    confusion.counts = processes.sum(confusion.counts.astype(np.float64)).astype(np.int64)
    total, count = processes.sum(np.array([sum(losses), len(losses)], np.float64))
    return Validation(confusion, float(total / max(count, 1)))


@torch.inference_mode()
def predictions(
    model: nn.Module, normalise: Normalise, config: TrainConfig, device: torch.device
) -> Iterator[PredictedFrame]:
    """Every validation frame with the network's prediction at the size of its label.

    At the last stage's input size and through the node's letterbox, however training resized frames.
    """
    model.eval()
    frames = validation_frames(config)
    for index in range(len(frames)):
        image_bgr, truth = frames[index]
        predicted = class_map_of(
            lambda frame: model(normalise(frame.to(device))),
            image_bgr,
            config.stages[-1].input_wh,
            config.pad_bgr,
        )
        yield PredictedFrame(frames.name(index), frames.recording(index), image_bgr, truth, predicted)


def class_map_of(
    logits_of: Callable[[Tensor], Tensor],
    image_bgr: NDArray[np.uint8],
    input_wh: tuple[int, int],
    pad_bgr: Bgr,
) -> NDArray[np.uint8]:
    """(H, W) class ids of an image, at its size, through the node's letterbox.

    Args:
        logits_of: (1, 3, h, w) uint8 BGR of the input's size to (1, classes, h, w) logits.
    """
    input_bgr, box = letterbox(image_bgr, input_wh, pad_bgr)
    frame = torch.from_numpy(input_bgr).permute(2, 0, 1)[None]
    at_input = logits_at_input(logits_of(frame), frame)
    class_map = at_input.argmax(1)[0].to(torch.uint8).cpu().numpy()[box.rows, box.columns]
    return nearest(class_map, box.frame_wh)
