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
    scale_min: float = 0.9
    scale_max: float = 1.35
    rotate_deg: float = 3.0
    shift: float = 0.06
    """Largest shift of the frame, as a share of its sides. Where the lane of the vehicle lies in the
    frame is what tells it from its neighbours: far shifts teach the network not to know."""
    colour: float = 0.4
    """Strength of changes in brightness, contrast and saturation."""
    blur: float = 0.1
    """Share of frames blurred."""
    noise: float = 0.1
    """Share of frames with sensor noise added."""
    darkness: float = 0.1
    """Share of frames darkened to dusk or night."""
    glare: float = 0.05
    """Share of frames with a bright spot, as of a low sun or headlights."""
    rain: float = 0.05
    """Share of frames with streaks and drops."""
    jpeg: float = 0.1
    """Share of frames compressed until blocks show."""


@dataclass(frozen=True)
class Stage:
    """One part of the schedule: a frame size, what is mixed in, and a learning-rate schedule of its own.

    It starts from the best weights of the stage before.
    """

    input_wh: tuple[int, int]
    epochs: int
    batch_size: int
    """Frames of one step, over all processes together."""
    max_learning_rate: float
    synthetic_drives: int = 0
    """Rendered drives mixed into the training frames, each with a road of its own."""
    frames_per_drive: int = 20
    taught: bool = True
    """Whether the teachers are asked in this stage."""
    augment: Augment | None = None
    """How frames are varied in this stage, where it is not as in the rest of the run."""


@dataclass(frozen=True)
class Teacher:
    """A network that already knows something."""

    file: str
    """A checkpoint of drivable-train, a file of drivable-export, or an ONNX with the outputs `da` and
    `ll` (drivable area and lane lines, as TwinLiteNet has them)."""
    weight: float = 0.5
    """Its loss beside the labels', whose weight is 1."""
    temperature: float = 2.0
    """How soft the classes of a teacher with our labels are made."""


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    model: str
    """The network: rt_s, rt_m, rt_l; fcn, unet, pspnet, deeplabv3plus or segformer."""
    stages: list[Stage]
    """The schedule; without any, that of the network's shipped recipe."""
    name: str | None = None
    """What the trained network is called, in its folder, records and cards; without one, as MODEL."""
    data: str | None = None
    """Folder of the data set; without one, only synthetic drives are used."""
    layout: str = "auto"
    """How the data set is laid out; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""
    data_name: str | None = None
    """What the model card calls the data; without one, it names the folder."""
    data_licence: str | None = None
    """What the data's licence asks of weights that were trained on it, for the model card."""
    resize: Literal["letterbox", "nearest"] = "letterbox"
    """letterbox: as the node does. nearest: image and label alike, as the published study did."""
    augment: Augment | None = field(default_factory=Augment)
    """How frames are varied; null leaves them as they are."""
    weights: str | None = None
    """Weights that the whole network begins with, to fine-tune it: name of a shipped network such as rt_m, a
    file of drivable-export (target cpu, fp32), a checkpoint, or a state dict."""
    encoder_weights: str | None = None
    """The encoder's first weights: a file, `imagenet` for the library's own download, or none."""
    freeze_encoder: bool = False
    """Leave the encoder as it is and train the head alone."""
    freeze_batch_norm: bool = False
    """Keep the statistics of batch norms as they are: for small batches and several processes."""
    loss: Literal[
        "dice", "cross_entropy", "weighted_cross_entropy", "focal", "tversky", "dice+cross_entropy"
    ] = "dice"
    teachers: list[Teacher] = field(default_factory=list)
    optimiser: Literal["adam", "adamw", "sgd", "adagrad"] = "adamw"
    schedule: Literal["onecycle", "cosine_restarts", "polynomial"] = "onecycle"
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    """Largest norm of a step's gradient; 0 does not clip."""
    ema_decay: float = 0.0
    """Share that the moving average of the weights keeps at each step; 0 uses the weights themselves."""
    choose_by: Literal["mean_iou", "loss"] = "mean_iou"
    """What makes an epoch on the validation frames the best."""
    patience_epochs: int = 0
    """End a stage when that many epochs in a row were not its best; 0 goes on to its end."""
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU where there is one."""
    mean_bgr: tuple[float, float, float] = (GREY_LEVEL, GREY_LEVEL, GREY_LEVEL)
    std_bgr: tuple[float, float, float] = (GREY_STD, GREY_STD, GREY_STD)
    seed: int = 0
    workers: int = 0
    """Processes that prepare frames; 0 prepares them in the training process."""
    out: str = "runs"
    """Folder for checkpoints and the report: OUT/NAME/last.pt, best.pt, report/."""
    resume: bool = False
    """Continue OUT/NAME/last.pt where it stopped; with --out alone, the one run in OUT."""
    overwrite: bool = False
    """Begin again although a run lies in OUT/NAME."""

    @property
    def run_name(self) -> str:
        """What the run is called: the name of its folder."""
        return self.name or self.model

    @property
    def pad_bgr(self) -> tuple[int, int, int]:
        """The colour nearest to the mean: frames are padded with what the network sees as nothing."""
        return pad_bgr_of(self.mean_bgr)


def pad_bgr_of(mean_bgr: tuple[float, float, float]) -> tuple[int, int, int]:
    """The colour nearest to a mean: what frames are padded with where it is subtracted."""
    blue, green, red = mean_bgr
    return round(blue), round(green), round(red)
