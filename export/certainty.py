"""How unsure a network is of `val`, for its contract: `drivable-export certainty` adds it to a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.frames import VAL_SPLIT, Told, of_camera
from export.outputs import check_writable, keep_what_is_no_card, settings_of, targets
from export.package import ExportError, engine_of, unpack
from export.run import write_with_cards
from perception.cli.collisions import Input, check_apart
from perception.frame import Frame
from perception.inference.ood import UncertaintyWatch, quantiles_of
from perception.inference.predictor import Predictor
from train.data.layouts import open_frames


@dataclass(frozen=True)
class CertaintyConfig:
    """One file that is to know how unsure its network is of frames like those it is meant for."""

    file: str
    """ONNX file of drivable-export."""
    data: str
    """Frames; those of the split `val` are looked at. Their labels do not count."""
    out: str | None = None
    """File to write; without one, FILE itself is written anew."""
    overwrite: bool = False
    """Replace what lies where OUT and its cards go; without, it is kept as NAME.1.onnx and so on."""
    layout: str = "auto"
    """How the data set is laid out; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""

    def __post_init__(self) -> None:
        """Refuse what cannot be written; raises ValueError."""
        if self.out is not None and not self.out.endswith(".onnx"):
            raise ValueError(f"out is {self.out}; the file's name must end in .onnx")


def add_certainty(
    config: CertaintyConfig, say: Callable[[str], None], settings_files: Sequence[Path] = ()
) -> Path:
    """Write a file with the same graph and card, and how unsure its network is; returns that file.

    Args:
        settings_files: of `--config`, which no output may lie on.

    Raises:
        ExportError, DataError, EngineError: in one line; nothing is left behind.
    """
    file = Path(config.file)
    out = Path(config.out or file)
    check_writable(out)
    if config.out:
        inputs = [Input("the file to add to", file), Input("the data", Path(config.data), is_data_set=True)]
        check_apart([*inputs, *settings_of(settings_files)], targets(out))
    packed = unpack(file)
    frames = of_camera(
        open_frames(config.data, VAL_SPLIT, config.layout, config.label_map), packed.contract.frame_wh
    )
    if not len(frames):
        raise ExportError(f"{config.data}: no frames in split {VAL_SPLIT!r} to look at")
    predict = UncertaintyWatch(Predictor(engine_of(file.read_bytes(), file.name)))
    told = Told(frames, file.name, say)
    for index in range(len(frames)):
        predict(Frame("certainty", index, 0, 0, told[index][0], frames.name(index)))
    contract = replace(packed.contract, doubt_quantiles=quantiles_of(predict.uncertainties))
    if config.out is None:
        keep_what_is_no_card(file)
    write_with_cards(
        out, packed.graph, contract, packed.card, overwrite=config.overwrite or config.out is None
    )
    say(f"{out}: knows how unsure its network is of {len(frames)} frames of `{VAL_SPLIT}`")
    return out
