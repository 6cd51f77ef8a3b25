"""The usual float NCHW graph, without a contract: for other programs, and as the bench's baseline.

From a checkpoint it is traced. From one of our own files it is that file's graph with other preprocessing:
the weights, and in int8 the bytes that the first layer reads, stay the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.config import ExportConfig
from export.frames import GateFrames
from export.graph import to_onnx
from export.outputs import write
from export.package import ExportError
from export.source import Source
from export.torch_source import TorchSource
from export.verify import LIMITS, Gate, Infer, check_control, compare, require
from perception.imaging.letterbox import letterbox
from perception.inference.engines.session import CPU, load_session
from train.config import GREY_STD

Bgr = tuple[float, ...]

INPUT: Final = "image"
MODEL_TYPE_KEY: Final = "model_info model_type"
MEAN_KEY: Final = "model_info mean_values"
STD_KEY: Final = "model_info scale_values"
"""In the file's metadata, where OpenVINO's Model API expects them; levels in BGR."""
_CHANNELS: Final = 3


def export_plain_nchw(
    source: Source, config: ExportConfig, input_wh: tuple[int, int], out: Path, say: Callable[[str], None]
) -> list[Gate]:
    """Write the graph that maps (1, 3, h, w) float32, normalised as in training, to logits.

    Raises:
        ExportError: if the source's graph does not begin like ours, or `out` cannot be written.
        GateError: if the graph does not reproduce the network.
    """
    frames = GateFrames.open(config)
    graph, mean_bgr, std_bgr = _made(source, input_wh)
    _write_normalisation(graph, mean_bgr, std_bgr)
    content = graph.SerializeToString(deterministic=True)
    inputs = [letterbox(image, input_wh, source.pad_bgr)[0] for image in frames.parity_bgr]
    infer = _infer(content, mean_bgr, std_bgr)
    # In int8 too: both read the same bytes with the same scales, so there is no further rounding.
    limits = LIMITS["fp32"]
    gates = require(compare(source.infer(input_wh), infer, inputs).gates(limits, frames.parity_on), say)
    check_control(compare(source.control(input_wh), infer, inputs), limits)
    write({out: content}, overwrite=config.overwrite)
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (mean_bgr, std_bgr))
    say(f"{out}: plain float graph, {len(content) / 1e6:.1f} MB; input: BGR levels, minus {mean}, over {std}")
    return gates


def _made(source: Source, input_wh: tuple[int, int]) -> tuple[onnx.ModelProto, Bgr, Bgr]:
    """The graph, and the mean and std of its input's normalisation."""
    if isinstance(source, TorchSource):
        width, height = input_wh
        graph = to_onnx(source.model, torch.zeros(1, _CHANNELS, height, width), INPUT)
        return graph, source.mean_bgr, source.std_bgr
    # A file has its std folded into the first weights, so any value serves as well as training's.
    graph, mean_bgr = plain_nchw_graph(source.cpu_graph(input_wh), GREY_STD)
    return graph, mean_bgr, (GREY_STD,) * _CHANNELS


def plain_nchw_graph(cpu: onnx.ModelProto, std: float) -> tuple[onnx.ModelProto, Bgr]:
    """The same network for floats: input `image` (1, 3, h, w), (level - mean) / std; and that mean, in BGR.

    In a float graph the subtraction of the mean is removed, and the std is folded into the first
    convolution. A graph that reads the bytes as quantised values gets the floats quantised to these.

    Args:
        cpu: (1, h, w, 3) uint8 `frame` in, float or int8.
        std: of all channels.

    Raises:
        ExportError: if the graph does not begin like ours.
    """
    model = copy.deepcopy(cpu)
    graph = model.graph
    head = _head(graph)
    for node in head.nodes:
        graph.node.remove(node)
    begin: list[onnx.NodeProto] = []

    def add(operator: str, *inputs: str, **attributes: Any) -> None:
        taken = begin[-1].output[0] if begin else INPUT
        name = f"{INPUT}/{len(begin)}_{operator}"
        begin.append(helper.make_node(operator, [taken, *inputs], [name], name, **attributes))

    def constant(name: str, value: float) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"{INPUT}/{name}"))
        return f"{INPUT}/{name}"

    if head.zero_point is not None:
        add("QuantizeLinear", constant("scale", 1 / std), head.zero_point)
    if [_attributes(node) for node in head.layout] != [{"perm": [0, 3, 1, 2]}]:
        add("Transpose", perm=[0, 2, 3, 1])
        for node in head.layout:
            add(node.op_type, *node.input[1:], **_attributes(node))
    if head.zero_point is None and not fuse_scale(graph, head.output, std):
        add("Mul", constant("std", std))

    height, width = (dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[1:3])
    graph.input[0].CopyFrom(
        helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, _CHANNELS, height, width])
    )
    first = begin[-1].output[0] if begin else INPUT
    for node in graph.node:
        node.input[:] = [first if name == head.output else name for name in node.input]
    for place, node in enumerate(begin):
        graph.node.insert(place, node)
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    del graph.value_info[:]  # some describe removed tensors
    onnx.checker.check_model(model, full_check=True)
    return model, head.mean_bgr


@dataclass(frozen=True)
class _Head:
    """The nodes between a frame's bytes and the first layer."""

    nodes: list[onnx.NodeProto]
    layout: list[onnx.NodeProto]
    """Those of them that only move values, from (1, h, w, 3)."""
    output: str
    """The first layer's input: levels minus the mean, or quantised bytes."""
    mean_bgr: Bgr
    zero_point: str | None
    """Of those bytes."""


def _head(graph: onnx.GraphProto) -> _Head:
    """Raises ExportError, naming the unexpected operator."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    layout: list[onnx.NodeProto] = []
    output = graph.input[0].name
    node = _reader(graph, output)
    while node.op_type in ("Reshape", "Transpose"):
        layout.append(node)
        output = node.output[0]
        node = _reader(graph, output)
    if node.op_type == "DequantizeLinear" and len(node.input) == 3 and constants[node.input[2]].size == 1:
        mean_bgr = (float(constants[node.input[2]].item()),) * _CHANNELS
        return _Head(layout, layout, output, mean_bgr, node.input[2])
    if node.op_type != "Cast":
        raise ExportError(
            f"the graph begins with {node.op_type}, unlike networks of drivable-train; for target plain use "
            f"the file that it was wrapped from"
        )
    nodes, mean = [*layout, node], np.zeros(_CHANNELS, np.float32)
    output = node.output[0]
    node = _reader(graph, output)
    if node.op_type == "Sub" and node.input[0] == output and node.input[1] in constants:
        nodes.append(node)
        output = node.output[0]
        mean = np.resize(constants[node.input[1]], _CHANNELS)  # over patches it is repeated
    return _Head(nodes, layout, output, tuple(float(level) for level in mean), None)


def _reader(graph: onnx.GraphProto, name: str) -> onnx.NodeProto:
    readers = [node for node in graph.node if name in node.input]
    if len(readers) != 1:
        raise ExportError(f"the graph reads {name} in {len(readers)} places; ours read it in one")
    return readers[0]


def fuse_scale(graph: onnx.GraphProto, name: str, std: float) -> bool:
    """Multiply the weights of the convolution that is the only reader of `name`; False if there is none."""
    readers = [node for node in graph.node if name in node.input]
    weights = {tensor.name: tensor for tensor in graph.initializer}
    if [node.op_type for node in readers] != ["Conv"] or readers[0].input[1] not in weights:
        return False
    weight = weights[readers[0].input[1]]
    if sum(list(node.input).count(weight.name) for node in graph.node) != 1:
        return False
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(std), weight.name))
    return True


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _write_normalisation(model: onnx.ModelProto, mean_bgr: Bgr, std_bgr: Bgr) -> None:
    """Replace the metadata by the normalisation."""
    del model.metadata_props[:]
    model.metadata_props.add(key=MODEL_TYPE_KEY, value="Segmentation")
    for key, levels in ((MEAN_KEY, mean_bgr), (STD_KEY, std_bgr)):
        model.metadata_props.add(key=key, value=" ".join(f"{level:.9g}" for level in levels))


def _infer(content: bytes, mean_bgr: Bgr, std_bgr: Bgr) -> Infer:
    """Run it like other programs would, normalised in numpy."""
    session = load_session(content, "the plain graph", [CPU], threads=0)
    mean, std = (np.array(values, np.float32) for values in (mean_bgr, std_bgr))

    def infer(input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        planes = ((input_bgr.astype(np.float32) - mean) / std).transpose(2, 0, 1)
        return np.asarray(session.run(None, {INPUT: np.ascontiguousarray(planes[np.newaxis])})[0][0])

    return infer
