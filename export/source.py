"""The source of an export: a checkpoint, random weights, or one of our own files."""

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
    """A network and its metadata. Its outputs are the reference for the exported file."""

    network: str
    name: str
    """Default name of files made from it."""
    parameters: int
    labels: tuple[str, ...]
    pad_bgr: tuple[int, int, int]
    output_stride: int
    training_data: str
    licence: str
    training: dict[str, Any]
    """The training section of the card, ready for JSON."""
    arguments: list[str]
    """Arguments of drivable-export for the same source."""
    control_is: str
    """Description of `control`."""

    def input_wh(self, size_wh: tuple[int, int] | None) -> tuple[int, int]:
        """The network's input size for a requested size; its own for None.

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
        """From frame to class map, as validated in training."""
        ...

    def control(self, input_wh: tuple[int, int]) -> Infer:
        """The same layers with other weights, which the gates must reject."""
        ...


def file_of(config: ExportConfig) -> Path | None:
    """The file that the network comes from; None if there is none."""
    if config.random_weights:
        return None
    if config.checkpoint:
        return Path(config.checkpoint)
    trained, shipped = Path(config.runs) / config.model / "best.pt", FOLDER / f"{config.model}.onnx"
    return next((file for file in (trained, shipped) if file.is_file()), None)


def open_source(config: ExportConfig, say: Callable[[str], None]) -> Source:
    """Open the source that the settings name: a checkpoint, one of our files, or the latest of the network.

    Raises:
        ExportError, CheckpointError, ValueError: in one line that says what to do.
    """
    if config.random_weights:
        return TorchSource.random(config.model)
    trained = Path(config.runs) / config.model / "best.pt"
    if (file := file_of(config)) is not None:
        if file.suffix != ".onnx":
            return TorchSource.trained(file, config.model)
        if not config.checkpoint:
            say(f"there is no {trained}; exporting the shipped {file.name}")
        return FileSource(file, config.model, takes_int8=config.target == "plain")
    named = Path(config.model)
    if named.suffix in _FILES or "/" in config.model:
        inside = named / "best.pt" if (named / "best.pt").is_file() else named
        raise ExportError(
            f"model is {config.model}; it must name the network or its run, such as rt_m; give the file with "
            f"--checkpoint {inside}"
        )
    check_known(config.model)
    recipe = f"published --model {config.model}" if config.model in PUBLISHED else config.model
    raise ExportError(
        f"{trained}: no checkpoint of {config.model}; train one with `drivable-train --config "
        f"train/{recipe} --data DIR`, name one with --checkpoint, or try --random-weights"
    )
