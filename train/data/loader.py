"""Labelled frames to batches: letterbox, augmentation, tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from perception.labels import IGNORE
from perception.letterbox import Bgr, Letterbox
from train.data.frames import LabelledFrames
from train.torchvision_cpu import tv_tensors


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """Frames as the network takes them: (3, H, W) uint8 BGR, and (H, W) uint8 labels.

    The image goes through the node's own letterbox. Padding is `IGNORE` in the label.
    """

    def __init__(
        self,
        frames: LabelledFrames,
        input_wh: tuple[int, int],
        pad_bgr: Bgr,
        augmentation: torch.nn.Module | None = None,
    ) -> None:
        self.frames = frames
        self.input_wh = input_wh
        self.pad_bgr = pad_bgr
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image_bgr, label = self.frames[index]
        box = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), self.input_wh)
        input_bgr = box.blank(self.pad_bgr)
        box.place(image_bgr, input_bgr)
        image = torch.from_numpy(input_bgr).permute(2, 0, 1).contiguous()
        mask = torch.from_numpy(label_at_input(label, box))
        if self.augmentation is None:
            return image, mask
        image, mask = self.augmentation(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return image.as_subclass(Tensor), mask.as_subclass(Tensor)


def label_at_input(label: NDArray[np.uint8], box: Letterbox) -> NDArray[np.uint8]:
    """(input_h, input_w) uint8: the label's nearest pixels in the letterbox, `IGNORE` around it."""
    placed = np.full((box.input_wh[1], box.input_wh[0]), IGNORE, np.uint8)
    placed[box.rows, box.columns] = nearest(label, box.content_wh)
    return placed


def nearest(class_map: NDArray[np.uint8], to_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) class map at another size: the pixel under each new pixel's centre."""
    height, width = class_map.shape
    columns = ((np.arange(to_wh[0]) + 0.5) * width / to_wh[0]).astype(np.intp)
    rows = ((np.arange(to_wh[1]) + 0.5) * height / to_wh[1]).astype(np.intp)
    return np.ascontiguousarray(class_map[rows[:, None], columns])
