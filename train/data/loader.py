"""Labelled frames to batches: letterbox, augmentation, tensors, and the order of the frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Sampler

from perception.imaging.letterbox import Bgr, Letterbox, nearest
from perception.labels import IGNORE
from train.data.frames import LabelledFrames
from train.torchvision_cpu import tv_tensors

Draw = tuple[int, int]
"""Index of a frame, and the seed of its augmentation."""


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """Frames as network input: (3, H, W) uint8 BGR, and (H, W) uint8 labels.

    `resize` "letterbox" uses the node's own letterbox; padding is `IGNORE` in the label. "nearest"
    stretches image and label to the input size by nearest pixels.
    """

    def __init__(
        self,
        frame_sets: Sequence[LabelledFrames],
        input_wh: tuple[int, int],
        pad_bgr: Bgr,
        augmentation: torch.nn.Module | None = None,
        resize: Literal["letterbox", "nearest"] = "letterbox",
    ) -> None:
        self.frames: ConcatDataset[Any] = ConcatDataset(frame_sets)  # type: ignore[arg-type]
        self.input_wh = input_wh
        self.pad_bgr = pad_bgr
        self.augmentation = augmentation
        self.resize = resize

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """One frame. It depends on the seed alone, not on other draws, processes or workers."""
        index, seed = draw
        image, mask, box = self._placed(*self.frames[index])
        if self.augmentation is None:
            return image, mask
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # The padding stays as in the node: only the camera's picture is varied.
            varied, varied_mask = self.augmentation(
                tv_tensors.Image(image[:, box.rows, box.columns]),
                tv_tensors.Mask(mask[box.rows, box.columns]),
            )
        image[:, box.rows, box.columns] = varied.as_subclass(Tensor)
        mask[box.rows, box.columns] = varied_mask.as_subclass(Tensor)
        return image, mask

    def _placed(
        self, image_bgr: NDArray[np.uint8], label: NDArray[np.uint8]
    ) -> tuple[Tensor, Tensor, Letterbox]:
        """Image, label, and the frame's place in both."""
        if self.resize == "nearest":
            box = Letterbox.fit(self.input_wh, self.input_wh)
            image_bgr, label = nearest(image_bgr, self.input_wh), nearest(label, self.input_wh)
        else:
            box = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), self.input_wh)
        input_bgr = box.blank(self.pad_bgr)
        box.place(image_bgr, input_bgr)
        image = torch.from_numpy(input_bgr).permute(2, 0, 1).contiguous()
        return image, torch.from_numpy(label_at_input(label, box)), box


class Steps(Sampler[list[Draw]]):
    """The frames of each step of an epoch, shuffled by one seed.

    Several processes share every step: each takes its part of the frames that a single process would
    take. Frames that do not fill a last step are left out.
    """

    def __init__(
        self,
        frames: int,
        batch_size: int,
        rank: int = 0,
        processes: int = 1,
        at_most: Mapping[range, int] | None = None,
    ) -> None:
        """
        Args:
            at_most: of the frames in a range an epoch takes so many, other ones each time.

        Raises:
            ValueError: if a step cannot be shared evenly.
        """
        if batch_size % processes:
            raise ValueError(f"batch_size {batch_size} cannot be shared by {processes} processes evenly")
        self.frames, self.batch_size, self.rank, self.processes = frames, batch_size, rank, processes
        self._at_most = at_most or {}
        self._taken = frames - sum(max(0, len(some) - most) for some, most in self._at_most.items())
        self.seed = 0
        """Set before each epoch."""

    def __len__(self) -> int:
        return self._taken // self.batch_size

    def __iter__(self) -> Iterator[list[Draw]]:
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(self.frames, generator=generator).tolist()
        for some, most in self._at_most.items():
            left_out = set([frame for frame in order if frame in some][most:])
            order = [frame for frame in order if frame not in left_out]
        seeds = torch.randint(2**62, (self.frames,), generator=generator).tolist()
        for step in range(len(self)):
            places = range(step * self.batch_size + self.rank, (step + 1) * self.batch_size, self.processes)
            yield [(order[place], seeds[place]) for place in places]


def in_order(frames: int, batch_size: int, rank: int = 0, processes: int = 1) -> list[list[Draw]]:
    """Every frame once, for validation; shared by all processes."""
    draws = [(index, 0) for index in range(rank, frames, processes)]
    return [draws[start : start + batch_size] for start in range(0, len(draws), batch_size)]


def label_at_input(label: NDArray[np.uint8], box: Letterbox) -> NDArray[np.uint8]:
    """(input_h, input_w) uint8: the label in the letterbox, by nearest pixels, with `IGNORE` around it."""
    placed = np.full((box.input_wh[1], box.input_wh[0]), IGNORE, np.uint8)
    placed[box.rows, box.columns] = nearest(label, box.content_wh)
    return placed
