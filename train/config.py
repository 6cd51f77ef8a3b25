"""TrainConfig: everything a training run is made of, filled from YAML and then the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# Grey 116 is close to ImageNet's mean in all three channels. One whole number for all of them makes
# the uint8 frame itself a quantised tensor with zero point 116, and the zero padding of the first
# convolution exactly the colour that frames are padded with.
GREY_LEVEL = 116
GREY_STD = 57.4


@dataclass(frozen=True)
class Augment:
    """How a training frame is varied."""

    flip: float = 0.5
    """Share of frames mirrored left to right."""
    scale_min: float = 0.85
    scale_max: float = 1.5
    rotate_deg: float = 3.0
    shift: float = 0.1
    """Largest shift of the frame, as a share of its sides."""
    colour: float = 0.4
    """Strength of changes in brightness, contrast and saturation."""
    blur: float = 0.15
    """Share of frames blurred."""
    noise: float = 0.15
    """Share of frames with sensor noise added."""


@dataclass(frozen=True)
class Stage:
    """One part of the schedule: a frame size, what is mixed in, and its own OneCycle."""

    input_wh: tuple[int, int]
    epochs: int
    batch_size: int
    max_learning_rate: float
    synthetic_drives: int = 0
    """Rendered drives mixed into the training frames, each with a road of its own."""
    frames_per_drive: int = 20


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    model: str
    stages: list[Stage]
    data: str | None = None
    """Folder of the data set (index.csv, images/, labels/); without one, only synthetic drives are used."""
    augment: Augment = field(default_factory=Augment)
    encoder_weights: str | None = None
    """File with the encoder's first weights; without one they are random."""
    loss: Literal["dice", "dice+cross_entropy"] = "dice"
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    """Largest norm of a step's gradient."""
    precision: Literal["float32", "bfloat16"] = "float32"
    mean_bgr: tuple[float, float, float] = (GREY_LEVEL, GREY_LEVEL, GREY_LEVEL)
    std_bgr: tuple[float, float, float] = (GREY_STD, GREY_STD, GREY_STD)
    seed: int = 0
    workers: int = 0
    """Processes that prepare frames; 0 prepares them in the training process."""
    out: str = "runs"
    """Folder for checkpoints: OUT/MODEL/last.pt and best.pt."""
    resume: bool = False
    """Continue OUT/MODEL/last.pt where it stopped."""
