"""`drivable-export certainty`: adds the network's uncertainty on the split `val` to a file's contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.config import check_out
from export.frames import VAL_SPLIT, ProgressFrames, at_camera_size
from export.outputs import check_writable, keep_other_files, settings_of, targets
from export.package import ExportError, engine_of, unpack
from export.run import write_with_cards
from perception.cli.collisions import Input, check_apart
from perception.frame import Frame
from perception.inference.ood import UncertaintyWatch, quantiles_of
from perception.inference.predictor import Predictor
from train.data.layouts import open_frames


@dataclass(frozen=True)
class CertaintyConfig:
    """Settings of `drivable-export certainty`."""

    file: str
    """ONNX file of drivable-export."""
    data: str
    """Frames like those that the network will see; the split `val` is used, without its labels."""
    out: str | None = None
    """File to write; without one, FILE itself is replaced."""
    overwrite: bool = False
    """Replace an existing OUT and its cards; without it, they are kept as NAME.1.onnx and so on."""
    layout: str = "auto"
    """Layout of the data set; auto recognises it."""
    label_map: str | None = None
    """YAML with the class of each label value, for a plain folder of images and masks."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        check_out(self.out)


def add_certainty(
    config: CertaintyConfig, say: Callable[[str], None], settings_files: Sequence[Path] = ()
) -> Path:
    """Write a file with the same graph and card, and the network's uncertainty; returns that file.

    Args:
        settings_files: of `--config`, which no output may overwrite.

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
    labelled = open_frames(config.data, VAL_SPLIT, config.layout, config.label_map)
    if not len(labelled):
        raise ExportError(f"{config.data}: no frames in split {VAL_SPLIT!r}")
    frames = ProgressFrames(at_camera_size(labelled, packed.contract.frame_wh), file.name, say)
    predict = UncertaintyWatch(Predictor(engine_of(file.read_bytes(), file.name)))
    for index in range(len(frames)):
        predict(Frame("certainty", index, 0, 0, frames[index][0], frames.name(index)))
    contract = replace(packed.contract, doubt_quantiles=quantiles_of(predict.uncertainties))
    if config.out is None:
        keep_other_files(file)
    write_with_cards(
        out, packed.graph, contract, packed.card, overwrite=config.overwrite or config.out is None
    )
    say(f"{out}: holds the network's uncertainty on {len(frames)} frames of `{VAL_SPLIT}`")
    return out
