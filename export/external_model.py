"""What is said of another's network in YAML, and the graph that follows: bytes in, our labels out."""

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

PREFIX = "foreign/"
"""Before all names of the other's graph, so that none is one of ours."""
SMALLEST_SCORE = 1e-7


@dataclass(frozen=True)
class ForeignContract:
    """What a network of others takes and gives."""

    input: str
    """Name of the input."""
    output: str
    """Name of the output that tells the drivable area."""
    classes: dict[str, list[int]]
    """Channels of the output that make each of our labels; of several, the largest counts."""
    pad_bgr: tuple[int, int, int]
    """Colour that frames are padded with where their shape is not the network's."""
    training_data: str
    licence: str
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Of the input."""
    output_layout: Literal["NCHW", "NHWC"] = "NCHW"
    colour_order: Literal["RGB", "BGR"] = "RGB"
    """Of the input, of `mean` and of `std`."""
    scale: float = 1.0
    """What levels of 0 to 255 are multiplied by first: 0.00392156862745098 for levels of 0 to 1."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted then."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divided by at last."""
    gives: Literal["logits", "scores"] = "logits"
    """scores: shares of 0 to 1 that a softmax gave; their logarithm is taken."""

    def __post_init__(self) -> None:
        """Refuse what is no description; raises ValueError."""
        if set(self.classes) not in (set(LABELS), set(LABELS_OF_TWO)):
            raise ValueError(
                f"classes names {', '.join(self.classes) or 'nothing'}; it must name {', '.join(LABELS)}, "
                f"or {', '.join(LABELS_OF_TWO)}"
            )
        for label, channels in self.classes.items():
            if not channels:
                raise ValueError(f"classes.{label} is empty; name one channel of the output at least")
        if not all(self.std):
            raise ValueError(f"std is {self.std}; none of it can be 0")
        if not all(0 <= level <= 255 for level in self.pad_bgr):
            raise ValueError(f"pad_bgr is {self.pad_bgr}; levels are from 0 to 255")

    @property
    def labels(self) -> tuple[str, ...]:
        """Ours, in our order."""
        return LABELS if set(self.classes) == set(LABELS) else LABELS_OF_TWO

    def prepared(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(h, w, 3) uint8 BGR as the network takes it: (1, 3, h, w) or (1, h, w, 3) float32."""
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
    """The sizes that a graph fixes."""

    input_wh: tuple[int, int]
    output_stride: int


def shapes_of(graph: onnx.ModelProto, contract: ForeignContract, where: str) -> Shapes:
    """Check the contract against the graph.

    Raises:
        ExportError: naming what the graph has instead.
    """
    known = {tensor.name for tensor in graph.graph.initializer}
    inputs = {value.name: value for value in graph.graph.input if value.name not in known}
    outputs = {value.name: value for value in graph.graph.output}
    if list(inputs) != [contract.input]:
        raise ExportError(f"{where}: input is {contract.input}, but the graph takes {', '.join(inputs)}")
    if contract.output not in outputs:
        raise ExportError(f"{where}: output is {contract.output}, but the graph gives {', '.join(outputs)}")
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
    for label, wanted in contract.classes.items():
        beyond = [channel for channel in wanted if not 0 <= channel < channels]
        if beyond:
            raise ExportError(
                f"{where}: classes.{label} names channel {beyond[0]}, but {contract.output} has {channels}, "
                f"counted from 0"
            )
    stride = in_h // max(out_h, 1)
    if not stride or (out_h * stride, out_w * stride) != (in_h, in_w):
        raise ExportError(
            f"{where}: {contract.output} is {out_w}x{out_h} for an input of {in_w}x{in_h}; the input must be "
            f"a multiple of it, the same along both sides"
        )
    return Shapes((in_w, in_h), stride)


def _sides(value: onnx.ValueInfoProto, layout: str, where: str) -> tuple[int, int, int]:
    """Channels, height, width."""
    kind = value.type.tensor_type
    sides = [dim.dim_value or dim.dim_param or "?" for dim in kind.shape.dim]
    if kind.elem_type != TensorProto.FLOAT:
        name = TensorProto.DataType.Name(kind.elem_type).lower()
        raise ExportError(f"{where}: {value.name} is of type {name}; only float is wrapped")
    if len(sides) != 4 or not all(isinstance(side, int) for side in sides) or sides[0] != 1:
        raise ExportError(
            f"{where}: {value.name} has the shape {'x'.join(str(side) for side in sides) or 'unknown'}; only "
            f"fixed shapes of one frame are wrapped: export it anew with a batch of 1 and fixed sides"
        )
    _, first, second, third = (int(side) for side in sides)
    return (first, second, third) if layout == "NCHW" else (third, first, second)


def wrapped(graph: onnx.ModelProto, contract: ForeignContract, shapes: Shapes, where: str) -> onnx.ModelProto:
    """The graph with bytes for its input and our labels for its output: `frame` in, `logits` out.

    Raises:
        ExportError: if the graph cannot be brought to the operators that ours have.
    """
    try:
        network = version_converter.convert_version(graph, OPSET)
    except Exception as error:  # the converter raises several kinds, none with a base of its own
        raise ExportError(
            f"{where}: cannot be brought to ONNX opset {OPSET}: {why_not_loaded(error)}"
        ) from error
    network = compose.add_prefix(network, PREFIX)
    network.ir_version = max(network.ir_version, onnx.helper.OP_SET_ID_VERSION_MAP[("ai.onnx", OPSET)])
    del network.metadata_props[:]
    width, height = shapes.input_wh
    stride = shapes.output_stride
    before, behind = _Chain("prepare", "frame"), _Chain("labels", PREFIX + contract.output)
    _prepare(before, contract)
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
    slim: onnx.ModelProto = onnxslim.slim(result)  # what led to other outputs goes as well
    onnx.checker.check_model(slim, full_check=True)
    return slim


class _Chain:
    """Nodes one after the other, and their constants."""

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


def _prepare(chain: _Chain, contract: ForeignContract) -> None:
    """`ForeignContract.prepared`, in the graph; what changes nothing is left out."""
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


def _label(chain: _Chain, contract: ForeignContract) -> None:
    """`ForeignContract.logits`, in the graph."""
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
