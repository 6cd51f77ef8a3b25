"""External networks: their description in YAML, and their graph adapted to take bytes and give our labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import onnxslim
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from export.package import OPSET, ExportError
from perception.inference.engines.reasons import why_not_loaded
from perception.labels import LABELS, LABELS_OF_TWO

PREFIX = "external/"
"""Prefix of all names of the external graph, so that none clashes with ours."""
SMALLEST_SCORE = 1e-7


@dataclass(frozen=True)
class ExternalContract:
    """Input and output of an external network."""

    input: str
    """Name of the input."""
    output: str
    """Name of the output with the drivable area."""
    classes: dict[str, list[int]]
    """Channels of the output for each of our labels; of several, the maximum is taken."""
    pad_bgr: tuple[int, int, int]
    """Padding colour for frames of another aspect ratio."""
    training_data: str
    licence: str
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Of the input."""
    output_layout: Literal["NCHW", "NHWC"] = "NCHW"
    colour_order: Literal["RGB", "BGR"] = "RGB"
    """Of the input, of `mean` and of `std`."""
    scale: float = 1.0
    """First, levels from 0 to 255 are multiplied by it: 0.00392156862745098 for levels from 0 to 1."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Then it is subtracted."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Last, the result is divided by it."""
    gives: Literal["logits", "scores"] = "logits"
    """scores: outputs of a softmax, from 0 to 1; their logarithm is taken."""

    def __post_init__(self) -> None:
        """Validate the description; raises ValueError."""
        if set(self.classes) not in (set(LABELS), set(LABELS_OF_TWO)):
            raise ValueError(
                f"classes names {', '.join(self.classes) or 'nothing'}; it must name {', '.join(LABELS)}, "
                f"or {', '.join(LABELS_OF_TWO)}"
            )
        for label, channels in self.classes.items():
            if not channels:
                raise ValueError(f"classes.{label} is empty; name at least one channel of the output")
        if not all(self.std):
            raise ValueError(f"std is {self.std}; no value can be 0")
        if not all(0 <= level <= 255 for level in self.pad_bgr):
            raise ValueError(f"pad_bgr is {self.pad_bgr}; levels are from 0 to 255")

    @property
    def labels(self) -> tuple[str, ...]:
        """Ours, in our order."""
        return LABELS if set(self.classes) == set(LABELS) else LABELS_OF_TWO

    def preprocess(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, 3) uint8 BGR to the network's input: (1, 3, h, w) or (1, h, w, 3) float32."""
        image = input_bgr[..., ::-1] if self.colour_order == "RGB" else input_bgr
        levels = image.astype(np.float32) * np.float32(self.scale)
        normalised = (levels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        planes = normalised.transpose(2, 0, 1) if self.layout == "NCHW" else normalised
        return np.ascontiguousarray(planes[np.newaxis])

    def logits(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """(labels, h, w) from the network's output, in the order of `labels`."""
        planes = output[0] if self.output_layout == "NCHW" else output[0].transpose(2, 0, 1)
        if self.gives == "scores":
            planes = np.log(np.maximum(planes, np.float32(SMALLEST_SCORE)))
        return np.stack([planes[self.classes[label]].max(0) for label in self.labels])


@dataclass(frozen=True)
class Shapes:
    """The sizes fixed in a graph."""

    input_wh: tuple[int, int]
    output_stride: int


def shapes_of(graph: onnx.ModelProto, contract: ExternalContract, where: str) -> Shapes:
    """Check the contract against the graph.

    Raises:
        ExportError: stating what the graph has instead.
    """
    known = {tensor.name for tensor in graph.graph.initializer}
    inputs = {value.name: value for value in graph.graph.input if value.name not in known}
    outputs = {value.name: value for value in graph.graph.output}
    if list(inputs) != [contract.input]:
        raise ExportError(f"{where}: input is {contract.input}, but the graph takes {', '.join(inputs)}")
    if contract.output not in outputs:
        raise ExportError(f"{where}: output is {contract.output}, but the graph has {', '.join(outputs)}")
    (in_channels, in_h, in_w), (channels, out_h, out_w) = (
        _sides(value, layout, where)
        for value, layout in (
            (inputs[contract.input], contract.layout),
            (outputs[contract.output], contract.output_layout),
        )
    )
    if in_channels != 3:
        raise ExportError(
            f"{where}: {contract.input} has {in_channels} channels in layout {contract.layout}, not 3"
        )
    for label, chosen in contract.classes.items():
        beyond = [channel for channel in chosen if not 0 <= channel < channels]
        if beyond:
            raise ExportError(
                f"{where}: classes.{label} names channel {beyond[0]}, but {contract.output} has {channels}, "
                f"counted from 0"
            )
    stride = in_h // max(out_h, 1)
    if not stride or (out_h * stride, out_w * stride) != (in_h, in_w):
        raise ExportError(
            f"{where}: {contract.output} is {out_w}x{out_h} for an input of {in_w}x{in_h}; the input must be "
            f"the same multiple of it along both sides"
        )
    return Shapes((in_w, in_h), stride)


def _sides(value: onnx.ValueInfoProto, layout: str, where: str) -> tuple[int, int, int]:
    """Channels, height, width."""
    kind = value.type.tensor_type
    sides = [dim.dim_value or dim.dim_param or "?" for dim in kind.shape.dim]
    if kind.elem_type != TensorProto.FLOAT:
        name = TensorProto.DataType.Name(kind.elem_type).lower()
        raise ExportError(f"{where}: {value.name} is of type {name}; only float is supported")
    if len(sides) != 4 or not all(isinstance(side, int) for side in sides) or sides[0] != 1:
        raise ExportError(
            f"{where}: {value.name} has the shape {'x'.join(str(side) for side in sides) or 'unknown'}; only "
            f"fixed shapes of one frame are supported: export it again with a batch of 1 and fixed sides"
        )
    _, first, second, third = (int(side) for side in sides)
    return (first, second, third) if layout == "NCHW" else (third, first, second)


def wrapped(
    graph: onnx.ModelProto, contract: ExternalContract, shapes: Shapes, where: str
) -> onnx.ModelProto:
    """The graph with a uint8 input `frame` and an output `logits` of our labels.

    Raises:
        ExportError: if the graph cannot be converted to our opset.
    """
    try:
        network = version_converter.convert_version(graph, OPSET)
    except Exception as error:  # the converter raises several types without a common base
        raise ExportError(
            f"{where}: cannot be converted to ONNX opset {OPSET}: {why_not_loaded(error)}"
        ) from error
    network = compose.add_prefix(network, PREFIX)
    network.ir_version = max(network.ir_version, onnx.helper.OP_SET_ID_VERSION_MAP[("ai.onnx", OPSET)])
    del network.metadata_props[:]
    width, height = shapes.input_wh
    stride = shapes.output_stride
    before, behind = _Chain("preprocess", "frame"), _Chain("labels", PREFIX + contract.output)
    _preprocess(before, contract)
    _label(behind, contract)
    before.nodes[-1].output[0] = PREFIX + contract.input
    behind.nodes[-1].output[0] = "logits"
    main = network.graph
    nodes = [*before.nodes, *main.node, *behind.nodes]
    kept = [tensor for tensor in main.initializer if tensor.name != PREFIX + contract.input]
    result = helper.make_model(
        helper.make_graph(
            nodes,
            "wrapped",
            [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, height, width, 3])],
            [
                helper.make_tensor_value_info(
                    "logits",
                    TensorProto.FLOAT,
                    [1, len(contract.labels), height // stride, width // stride],
                )
            ],
            [*kept, *before.constants, *behind.constants],
        ),
        opset_imports=list(network.opset_import),
        ir_version=network.ir_version,
    )
    slim: onnx.ModelProto = onnxslim.slim(result)  # also removes nodes of other outputs
    onnx.checker.check_model(slim, full_check=True)
    return slim


class _Chain:
    """A sequence of nodes, and their constants."""

    def __init__(self, prefix: str, start: str) -> None:
        self.prefix, self.last = prefix, start
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{self.prefix}/{len(self.nodes)}_{operator}"
        taken = inputs or (self.last,)
        self.nodes.append(helper.make_node(operator, taken, [name], name=name, **attributes))
        self.last = name
        return name

    def by(self, operator: str, values: NDArray[np.generic]) -> str:
        return self.add(operator, self.last, self.constant(values))


def _preprocess(chain: _Chain, contract: ExternalContract) -> None:
    """`ExternalContract.preprocess` as nodes, without those that change nothing."""
    axis, shape = (1, (1, 3, 1, 1)) if contract.layout == "NCHW" else (3, (1, 1, 1, 3))
    if contract.layout == "NCHW":
        chain.add("Transpose", perm=[0, 3, 1, 2])
    if contract.colour_order == "RGB":
        chain.add("Gather", chain.last, chain.constant(np.array([2, 1, 0])), axis=axis)
    chain.add("Cast", to=TensorProto.FLOAT)
    if contract.scale != 1:
        chain.by("Mul", np.array(contract.scale, np.float32))
    if any(contract.mean):
        chain.by("Sub", np.array(contract.mean, np.float32).reshape(shape))
    if contract.std != (1, 1, 1):
        chain.by("Div", np.array(contract.std, np.float32).reshape(shape))


def _label(chain: _Chain, contract: ExternalContract) -> None:
    """`ExternalContract.logits` as nodes."""
    if contract.output_layout == "NHWC":
        chain.add("Transpose", perm=[0, 3, 1, 2])
    if contract.gives == "scores":
        chain.by("Max", np.array(SMALLEST_SCORE, np.float32))
        chain.add("Log")
    planes, by_label = chain.last, []
    for label in contract.labels:
        channels = chain.constant(np.array(contract.classes[label]))
        chosen = chain.add("Gather", planes, channels, axis=1)
        if len(contract.classes[label]) > 1:
            chosen = chain.add("ReduceMax", chosen, chain.constant(np.array([1])), keepdims=1)
        by_label.append(chosen)
    chain.add("Concat", *by_label, axis=1)
