"""Where the network to export comes from: a checkpoint, random weights, or one of our own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import onnx

from export.config import ExportConfig
from export.file_source import FileSource
from export.package import ExportError
from export.torch_source import TorchSource
from export.verify import Infer, Predict
from perception.inference.zoo import FOLDER
from train.models import PUBLISHED, check_known

_FILES: Final = (".pt", ".pth", ".ckpt", ".onnx", ".safetensors")


class Source(Protocol):
    """A network, and what is known of it. Its answers are what an exported file must give."""

    network: str
    name: str
    """What files made of it are called, if nobody names them."""
    parameters: int
    labels: tuple[str, ...]
    pad_bgr: tuple[int, int, int]
    output_stride: int
    training_data: str
    licence: str
    training: dict[str, Any]
    """The card's part about training, ready for JSON."""
    arguments: list[str]
    """Of drivable-export, that lead to the same source."""
    control_is: str
    """What `control` is, for people."""

    def input_wh(self, size_wh: tuple[int, int] | None) -> tuple[int, int]:
        """The network's input for the size that was asked for; its own for None.

        Raises:
            ExportError: if the network cannot have that size.
        """
        ...

    def cpu_graph(self, input_wh: tuple[int, int]) -> onnx.ModelProto:
        """Input `frame` (1, h, w, 3) uint8 BGR, output `logits`."""
        ...

    def infer(self, input_wh: tuple[int, int]) -> Infer:
        """The network's own logits."""
        ...

    def predict(self, input_wh: tuple[int, int]) -> Predict:
        """From frame to class map as it was judged when it was trained."""
        ...

    def control(self, input_wh: tuple[int, int]) -> Infer:
        """The same layers with other weights: what a gate must refuse."""
        ...


def file_of(config: ExportConfig) -> Path | None:
    """The file that the network comes from; None where there is none."""
    if config.random_weights:
        return None
    if config.checkpoint:
        return Path(config.checkpoint)
    trained, shipped = Path(config.runs) / config.model / "best.pt", FOLDER / f"{config.model}.onnx"
    return next((file for file in (trained, shipped) if file.is_file()), None)


def open_source(config: ExportConfig, say: Callable[[str], None]) -> Source:
    """What the settings name: a checkpoint, one of our files, or the newest there is of the network.

    Raises:
        ExportError, CheckpointError, ValueError: in one line that says what to do.
    """
    if config.random_weights:
        return TorchSource.random(config.model)
    takes_int8 = config.target == "plain"
    if config.checkpoint:
        file = Path(config.checkpoint)
        return (
            FileSource(file, config.model, takes_int8)
            if file.suffix == ".onnx"
            else TorchSource.trained(file, config.model)
        )
    file = Path(config.runs) / config.model / "best.pt"
    if file.is_file():
        return TorchSource.trained(file, config.model)
    shipped = FOLDER / f"{config.model}.onnx"
    if shipped.is_file():
        say(f"no {file}: made from the shipped {shipped.name}")
        return FileSource(shipped, config.model, takes_int8)
    named = Path(config.model)
    if named.suffix in _FILES or "/" in config.model:
        file = named / "best.pt" if (named / "best.pt").is_file() else named
        raise ExportError(
            f"model is {config.model}; it names the network or its run, such as rt_m, and --checkpoint "
            f"{file} the file"
        )
    check_known(config.model)
    recipe = f"published --model {config.model}" if config.model in PUBLISHED else config.model
    raise ExportError(
        f"{file}: no checkpoint of {config.model}; train one with `drivable-train --config "
        f"train/{recipe} --data DIR`, name one with --checkpoint, or try --random-weights"
    )
