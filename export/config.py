"""ExportConfig: what to export, from where, to where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from perception.inference.contract import ANY_SIZE
from train.check import NAME

Target = Literal["cpu", "gpu", "plain"]
Precision = Literal["fp32", "fp16", "int8"]

SMALLEST_SIDE_PX: Final = 32
LARGEST_SIDE_PX: Final = 8192
DEFAULT_SIZE_WH: Final = (640, 384)
DEFAULT_FRAME_WH: Final = (1280, 720)
STRIDE: Final = 32
"""No network halves its input more than five times."""


@dataclass(frozen=True)
class ExportConfig:
    """Settings of one export."""

    model: str
    """Name of the network, such as rt_m, or of the run that trained it."""
    name: str | None = None
    """Name of the file, also in records, cards and metrics; target and precision are appended. Without one,
    the name of its run, or MODEL-own if that has none."""
    checkpoint: str | None = None
    """Checkpoint of drivable-train, or a .onnx of drivable-export (target cpu, fp32; for target plain also
    int8). Without one, RUNS/MODEL/best.pt, or if that is missing the shipped file of this name."""
    runs: str = "runs"
    """Folder that drivable-train wrote to."""
    out: str | None = None
    """File to write; without one, NAME.onnx in the current folder, with target and precision in its name."""
    overwrite: bool = False
    """Replace an existing file and its cards; without it, they are kept as NAME.1.onnx and so on."""
    target: Target = "cpu"
    """cpu: the node resizes the frame, the graph outputs logits. gpu: the graph takes the whole camera frame
    and outputs the class map. plain: the usual float NCHW graph, without a contract, for other programs and
    as the bench's baseline."""
    precision: Precision = "fp32"
    """fp16 is for target gpu. int8 needs frames for calibration; it is made with zero points for CPUs and
    symmetric for TensorRT."""
    size_wh: tuple[int, int] | None = None
    """Width and height of the network's input, such as 640x384, rounded up to multiples of 32. Without one,
    that of the last training stage."""
    frame_wh: tuple[int, int] | None = None
    """Width and height of the camera frames that a graph for target gpu takes, or any; without, 1280x720."""
    data: str | None = None
    """Labelled frames for the gates, and for the accuracy on `test` in the card."""
    calibrate: str | None = None
    """Labelled frames whose `train` split calibrates int8; without them, those of DATA."""
    layout: str = "auto"
    """Layout of the data sets; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""
    random_weights: bool = False
    """Export without training, for speed tests; the card says so."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        if self.size_wh is not None:
            _check_sides("size_wh", self.size_wh)
        if self.frame_wh is not None:
            if self.target != "gpu":
                raise ValueError(
                    f"frame_wh is for --target gpu: a graph for target {self.target} resizes no frames"
                )
            if self.frame_wh != ANY_SIZE:
                _check_sides("frame_wh", self.frame_wh)
        if self.precision == "fp16" and self.target == "cpu":
            raise ValueError(
                "precision fp16 is for --target gpu: ONNX Runtime's CPU kernels would convert it back to "
                "fp32 and take longer; int8 is faster on a CPU"
            )
        if self.target == "plain" and self.precision != "fp32":
            raise ValueError(
                f"target plain has the precision of its source, not {self.precision}; for int8 name an int8 "
                f"file: --model {self.model}-int8 if one is shipped, or with --checkpoint what "
                f"`drivable-export --precision int8` wrote"
            )
        if self.precision == "int8" and not (self.calibrate or self.data):
            raise ValueError(
                "precision int8 needs frames for calibration: name them with --calibrate DIR or --data DIR"
            )
        if self.random_weights and self.checkpoint:
            raise ValueError("a checkpoint and random_weights exclude each other")
        if self.name is not None and not NAME.fullmatch(self.name):
            raise ValueError(
                f"name must consist of letters, digits, dots, dashes and underscores, not {self.name!r}"
            )
        check_out(self.out)

    def model_id(self, name: str) -> str:
        """The file's id: its name, then its target and precision unless these are the defaults.

        Args:
            name: the source's, which `self.name` overrides.
        """
        special = [part for part in (self.target, self.precision) if part not in ("cpu", "fp32")]
        return "-".join([self.name or name, *special])

    def file(self, name: str) -> Path:
        """The file to write; `name` as for `model_id`."""
        return Path(self.out or f"{self.model_id(name)}.onnx")

    @property
    def camera_wh(self) -> tuple[int, int] | None:
        """The contract's `frame_wh`: the frame that the graph itself takes, or `ANY_SIZE`."""
        return (self.frame_wh or DEFAULT_FRAME_WH) if self.target == "gpu" else None


def check_out(out: str | None) -> None:
    """Raise ValueError if a file to write is named and does not end in .onnx."""
    if out is not None and not out.endswith(".onnx"):
        raise ValueError(f"out is {out}; the file's name must end in .onnx")


def _check_sides(name: str, sides_wh: tuple[int, int]) -> None:
    if not all(SMALLEST_SIDE_PX <= side <= LARGEST_SIDE_PX for side in sides_wh):
        raise ValueError(
            f"{name} is {sides(sides_wh)}; both sides must be from {SMALLEST_SIDE_PX} to "
            f"{LARGEST_SIDE_PX} pixels"
        )


def rounded_up(size_wh: tuple[int, int]) -> tuple[int, int]:
    """The smallest input that contains `size_wh` and fits every network.

    Example:
        >>> rounded_up((640, 360))
        (640, 384)
    """
    width, height = (-(-side // STRIDE) * STRIDE for side in size_wh)
    return width, height


def sides(size_wh: tuple[int, int]) -> str:
    """A size in the notation of the options.

    Example:
        >>> sides((640, 360)), sides((0, 0))
        ('640x360', 'any')
    """
    return f"{size_wh[0]}x{size_wh[1]}" if any(size_wh) else "any"
