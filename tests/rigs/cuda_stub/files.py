"""Models for the stub: shipped ones, and files for GPUs made of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from export.fp16 import to_fp16
from export.gpu import gpu_graph
from export.package import pack, unpack
from export.quantise import quantise
from perception.imaging.letterbox import letterbox
from perception.inference.contract import ANY_SIZE
from perception.inference.zoo import model_file
from perception.synthetic import DriveRenderer

FRAME_WH: Final = (1280, 720)
SHIPPED: Final = tuple(
    f"{name}{precision}" for precision in ("", "-int8") for name in ("rt_s", "rt_m", "rt_l")
)


_FOLDER: Final = TemporaryDirectory()  # removed at the end


@cache
def for_gpu(name: str, precision: str, frame_wh: tuple[int, int]) -> Path:
    """A file of `--target gpu`, as `drivable-export` makes it; int8 calibrated on a few rendered frames."""
    packed = unpack(model_file(name))
    contract, network = packed.contract, packed.graph
    if precision == "fp16":
        network = to_fp16(network)
    elif precision == "int8":
        renderer = DriveRenderer("mixed")
        inputs = [
            letterbox(renderer.render(50 * at)[0], contract.input_wh, contract.pad_bgr)[0] for at in range(3)
        ]
        network = next(quantise(network, inputs[:2], inputs[2:], form="tensorrt")).graph
    graph = gpu_graph(network, contract.labels, contract.input_wh, frame_wh, contract.pad_bgr)
    size = "any" if frame_wh == ANY_SIZE else f"{frame_wh[0]}x{frame_wh[1]}"
    file = Path(_FOLDER.name) / f"{name}-gpu-{precision}-{size}.onnx"
    made = replace(contract, model_id=file.stem, precision=precision, frame_wh=frame_wh, output="class_map")
    file.write_bytes(pack(graph, made, {})[0])
    return file


@cache
def without_answer(name: str) -> Path:
    """A shipped model without its known answer: the stub computes nothing, and the node would not run it."""
    packed = unpack(model_file(name))
    file = Path(_FOLDER.name) / f"{name}.onnx"
    file.write_bytes(pack(packed.graph, packed.contract, {})[0])
    return file
