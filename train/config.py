"""TrainConfig: all settings of a training run, filled from YAML and then the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal

# Grey 116 is close to ImageNet's mean in all three channels. One integer for all of them makes the uint8
# frame itself a quantised tensor with zero point 116, and the zero padding of the first convolution exactly
# the colour that frames are padded with.
GREY_LEVEL = 116
GREY_STD = 57.4


@dataclass(frozen=True)
class Augment:
    """Augmentation of training frames."""

    flip: float = 0.5
    """Share of frames mirrored left to right."""
    scale_min: float = 0.9
    scale_max: float = 1.35
    rotate_deg: float = 3.0
    shift: float = 0.06
    """Largest shift of the frame, as a share of its sides. The network recognises the ego lane by its place
    in the frame, which large shifts would undo."""
    colour: float = 0.4
    """Strength of changes in brightness, contrast and saturation."""
    blur: float = 0.1
    """Share of frames blurred."""
    noise: float = 0.1
    """Share of frames with sensor noise added."""
    darkness: float = 0.1
    """Share of frames darkened to dusk or night."""
    glare: float = 0.05
    """Share of frames with a bright spot, like a low sun or headlights."""
    rain: float = 0.05
    """Share of frames with streaks and drops."""
    jpeg: float = 0.1
    """Share of frames compressed until blocks show."""
    low_resolution: float = 0.0
    """Share of frames shrunk to 128 pixels of width or a little more and scaled up again."""


@dataclass(frozen=True)
class Stage:
    """One stage of training: a frame size, its frames, and a learning-rate schedule of its own.

    It starts from the best weights of the stage before.
    """

    input_wh: tuple[int, int]
    epochs: int
    batch_size: int
    """Frames per step, over all processes together."""
    max_learning_rate: float
    synthetic_drives: int = 0
    """Rendered drives mixed into the training frames, each with a road of its own."""
    frames_per_drive: int = 20
    taught: bool = True
    """Whether this stage uses the teachers."""
    more_data: bool = True
    """Whether this stage uses the run's `more_data`."""
    augment: Augment | None = None
    """Augmentation of this stage, if it differs from the run's."""


@dataclass(frozen=True)
class MoreData:
    """A further data set, whose `train` frames join those of the run's `data`."""

    folder: str
    name: str | None = None
    """Its name in the model card; without one, the folder's."""
    share: float = 0.0
    """Its share of the real frames of an epoch, drawn at random each time; 0 takes every frame once."""
    scale_pictures: bool = False
    """Scale pictures that are smaller than their labels to the labels' size (bicubic); otherwise they are an
    error."""


@dataclass(frozen=True)
class Teacher:
    """A teacher network for distillation."""

    file: str
    """A checkpoint of drivable-train, a file of drivable-export, or an ONNX with the outputs `da` and
    `ll` (drivable area and lane lines, like TwinLiteNet)."""
    weight: float = 0.5
    """Weight of its loss; that of the labels is 1."""
    temperature: float = 2.0
    """Softening of the class distributions, for a teacher with our labels."""
    mirrored: bool = False
    """Average its answer with that to the mirrored frame; it then takes twice the time."""


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    model: str
    """The network: rt_s, rt_m, rt_l; fcn, unet, pspnet, deeplabv3plus or segformer."""
    stages: list[Stage]
    """The stages; without any, those of the network's shipped recipe."""
    name: str | None = None
    """Name of the trained network, in its folder, records and cards; without one, MODEL."""
    data: str | None = None
    """Folder of the data set; without one, only synthetic drives are used."""
    layout: str = "auto"
    """Layout of the data set; auto recognises it."""
    more_data: list[MoreData] = field(default_factory=list)
    """Further data sets for training; validation uses `data` alone, whose validation recordings they may not
    contain."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""
    data_name: str | None = None
    """Name of the data in the model card; without one, the folder's."""
    data_licence: str | None = None
    """Terms of the data's licence for weights trained on it, for the model card."""
    resize: Literal["letterbox", "nearest"] = "letterbox"
    """letterbox: like the node. nearest: image and label alike, like the published study."""
    augment: Augment | None = field(default_factory=Augment)
    """Augmentation of training frames; null turns it off."""
    weights: str | None = None
    """Initial weights of the whole network, to fine-tune it: name of a shipped network such as rt_m, a file
    of drivable-export (target cpu, fp32), a checkpoint, or a state dict."""
    encoder_weights: str | None = None
    """Initial weights of the encoder: a file, `imagenet` for the library's own download, or none."""
    freeze_encoder: bool = False
    """Train the head alone."""
    freeze_batch_norm: bool = False
    """Keep the statistics of batch norms: for small batches and several processes."""
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
    """Decay per step of the moving average of the weights; 0 uses the weights themselves."""
    choose_by: Literal["mean_iou", "loss"] = "mean_iou"
    """Validation figure that chooses the best epoch."""
    patience_epochs: int = 0
    """End a stage after this many epochs without a new best one; 0 never does."""
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto uses a GPU if there is one."""
    mean_bgr: tuple[float, float, float] = (GREY_LEVEL, GREY_LEVEL, GREY_LEVEL)
    std_bgr: tuple[float, float, float] = (GREY_STD, GREY_STD, GREY_STD)
    seed: int = 0
    workers: int = 0
    """Processes that prepare frames; 0 prepares them in the training process."""
    out: str = "runs"
    """Folder for checkpoints and the report: OUT/NAME/last.pt, best.pt, report/."""
    resume: bool = False
    """Continue OUT/NAME/last.pt where it stopped; with --out alone, the only run in OUT."""
    overwrite: bool = False
    """Start over and replace the run in OUT/NAME."""
    dry_run: bool = False
    """Take a few steps of each stage, report their time and memory and how long the run would take, and write
    nothing."""

    @property
    def run_name(self) -> str:
        """The run's name, that of its folder."""
        return self.name or self.model

    @property
    def pad_bgr(self) -> tuple[int, int, int]:
        """The colour that frames are padded with."""
        return pad_bgr_of(self.mean_bgr)


def settings_as_begun(begun: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a checkpoint, with defaults for what its version lacked in stages and augmentation."""
    whole = dict(begun)
    if "stages" in begun:
        whole["stages"] = [_stage_as_begun(stage) for stage in begun["stages"]]
    if "augment" in begun:
        whole["augment"] = _augment_as_begun(begun["augment"])
    return whole


def _stage_as_begun(stage: Mapping[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {
        setting.name: setting.default for setting in fields(Stage) if setting.default is not MISSING
    }
    known |= stage
    return known | {"augment": _augment_as_begun(known["augment"])}


def _augment_as_begun(augment: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if augment is None else asdict(Augment()) | dict(augment)


def pad_bgr_of(mean_bgr: tuple[float, float, float]) -> tuple[int, int, int]:
    """The padding colour for a mean: the colour nearest to it, which normalisation maps to about zero."""
    blue, green, red = mean_bgr
    return round(blue), round(green), round(red)
