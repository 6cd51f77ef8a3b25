"""The int8 graph: static quantisation, with choices made by comparison with the float graph."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import add_infer_metadata

from export.calibration import QUANTILES, activation_quantiles
from export.graph import with_stem_in_patches
from perception.inference.engines.session import CPU, load_session

Ranges = Mapping[str, tuple[float, float]]
Form = Literal["cpu", "tensorrt"]
"""cpu: activations in uint8 with a zero point, biases in int32. tensorrt: activations in int8 around 0 and
biases in float: its quantisation has no zero point but 0, no uint8 and no int32."""
_SYMMETRIC: Final = {"ActivationSymmetric": True, "QuantizeBias": False}
_Quantiles = NDArray[np.float32]

# Share of a tensor's values, at either end, that its range excludes in each frame; the widest range of all
# frames counts. The mean of the frames' ranges came closer to the float graph on average, but it cuts off
# the values of which the network is certain: with it the rare class of `rt_s` lost a point of IoU, with the
# widest 0.2.
METHODS: Final = {
    "all values": 0.0,
    "99.998 % of each frame's values": 1e-5,
    "99.98 % of each frame's values": 1e-4,
}
MAX_FLOAT_SHARE: Final = 0.03
"""Largest share of the network's cost that may stay in float. A float layer takes several times as long and
keeps the kernels around it from fusing: a share of 9 % made `rt_m` 46 % slower."""
MIN_GAIN: Final = 0.1
"""Share of the int8 graph's error that a layer must remove to stay in float."""
_CANDIDATES: Final = 6  # layers, those with the largest errors first
_RANKING_FRAMES: Final = 4  # probe frames that suffice to rank the layers by error
# Cost of converting a value of a layer's input or output and moving it as float, in multiplications: an
# early layer of few weights and millions of values is expensive in float.
_OPERATIONS_PER_VALUE: Final = 32

_WEIGHTED: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_ACTIVATIONS: Final = ("Relu", "Clip")
# Operators with integer kernels in ONNX Runtime, or that only move bytes. The others run in float.
_QUANTISED: Final = (
    *_WEIGHTED, *_ACTIVATIONS, "Add", "Mul", "LeakyRelu", "Sigmoid", "MaxPool", "AveragePool",
    "GlobalAveragePool", "Resize", "Concat", "Split", "Slice", "Pad", "Reshape", "Transpose", "Squeeze",
    "Unsqueeze", "Flatten",
)  # fmt: skip


@dataclass(frozen=True)
class Quantised:
    """An int8 graph, and the choices that led to it."""

    graph: onnx.ModelProto
    kept_in_float: tuple[str, ...]
    """Names of layers, largest gain first."""
    method: str
    """Calibration method; a key of `METHODS`."""


@dataclass(frozen=True)
class _Layer:
    """A layer with weights, and the activation that is fused into it."""

    name: str
    nodes: tuple[str, ...]
    cost: int
    """Multiply-adds for one frame, plus the equivalent of converting its values."""


def quantise(
    cpu: onnx.ModelProto,
    calibration_bgr: Sequence[NDArray[np.uint8]],
    probe_bgr: Sequence[NDArray[np.uint8]],
    say: Callable[[str], None] = lambda line: None,
    form: Form = "cpu",
) -> Iterator[Quantised]:
    """The CPU graph in int8: weights per channel, activations per tensor.

    The calibration frames run through the float graph once. The layers left in float are those that
    bring the result closest to the float graph on `probe_bgr`. The gates decide whether that is close
    enough: the ranges that fit the probabilities of most positions best may cost a rare class, so there
    is one graph for each of `METHODS`, the closest first.

    Args:
        cpu: float, (1, h, w, 3) uint8 `frame` in, `logits` out.
        calibration_bgr: (h, w, 3) uint8 network inputs to take ranges from.
        probe_bgr: other inputs, to base choices on.
        form: for the integer kernels of CPUs, or for TensorRT.
    """
    graph = _prepared(cpu, form)
    probe = _Probe(cpu, probe_bgr)
    quantiles = activation_quantiles(graph, _watched(graph), calibration_bgr)
    say(f"calibrated on {len(calibration_bgr)} frames")

    ranges_by = {name: _ranges(graph, quantiles, cut) for name, cut in METHODS.items()}
    graphs = {name: _quantised(graph, ranges, form) for name, ranges in ranges_by.items()}
    errors = {name: probe.error(made) for name, made in graphs.items()}
    for method in sorted(errors, key=errors.__getitem__):
        say(f"calibrated to {method}: probabilities differ by {errors[method]:.5f} on average")
        kept, best = _left_in_float(
            graph, ranges_by[method], form, probe, graphs[method], errors[method], say
        )
        del best.metadata_props[:]
        onnx.checker.check_model(best, full_check=True)
        yield Quantised(best, tuple(layer.name for layer in kept), method)


class _Probe:
    """The float graph's outputs for the probe frames, as the reference."""

    def __init__(self, cpu: onnx.ModelProto, probe_bgr: Sequence[NDArray[np.uint8]]) -> None:
        self._probe_bgr = probe_bgr
        self._expected = list(self._probabilities(cpu))

    def error(self, graph: onnx.ModelProto, frames: int | None = None) -> float:
        """Mean difference of the probabilities over the first `frames`, all positions and classes."""
        pairs = zip(self._expected[:frames], self._probabilities(graph, frames), strict=True)
        return float(np.mean([np.abs(expected - found).mean() for expected, found in pairs]))

    def _probabilities(
        self, graph: onnx.ModelProto, frames: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        session = load_session(graph.SerializeToString(), "the graph to measure", [CPU], threads=0)
        for image in self._probe_bgr[:frames]:
            logits = session.run(["logits"], {"frame": image[np.newaxis]})[0][0]
            powers = np.exp(logits - logits.max(0))
            yield powers / powers.sum(0)


def _prepared(cpu: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """A copy in which every node has a name and every tensor a shape."""
    graph = with_stem_in_patches(cpu) if form == "cpu" else copy.deepcopy(cpu)
    for index, node in enumerate(graph.graph.node):
        node.name = node.name or f"{index}_{node.op_type}"
    del graph.graph.value_info[:]
    del graph.metadata_props[:]
    graph = onnx.shape_inference.infer_shapes(graph, strict_mode=True)
    add_infer_metadata(graph)  # keeps the quantiser from inferring shapes again through a file
    return graph


def _watched(graph: onnx.ModelProto) -> list[str]:
    """The float tensors that need a range."""
    made = {name for node in graph.graph.node if node.op_type != "Constant" for name in node.output}
    values = (*graph.graph.value_info, *graph.graph.output)
    is_float = {value.name: value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for value in values}
    inside = set(_activation_behind(graph))
    return [name for name in sorted(made) if is_float.get(name) and name not in inside]


def _activation_behind(graph: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """By tensor: the ReLU or Clip that is its only reader, and is fused into its quantisation."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in graph.graph.output}
    return {
        name: nodes[0]
        for name, nodes in readers.items()
        if len(nodes) == 1 and nodes[0].op_type in _ACTIVATIONS and name not in outputs
    }


def _ranges(graph: onnx.ModelProto, quantiles: Mapping[str, _Quantiles], cut: float) -> Ranges:
    """The range of values of each tensor."""
    low, high = QUANTILES.index(cut), QUANTILES.index(1 - cut)
    ranges = {
        name: (float(found[:, low].min()), float(found[:, high].max())) for name, found in quantiles.items()
    }
    behind = _activation_behind(graph)
    for name, activation in behind.items():
        while activation.output[0] in behind:  # a Clip behind a ReLU
            activation = behind[activation.output[0]]
        ranges[name] = ranges[activation.output[0]]
    head = _subtraction(graph)
    if head is not None:
        subtract, mean = head
        ranges[subtract.output[0]] = (float(-mean.max()), float(255 - mean.min()))
    return ranges


def _subtraction(graph: onnx.ModelProto) -> tuple[onnx.NodeProto, NDArray[np.float32]] | None:
    """The node that subtracts the mean colour from the frame, and that mean."""
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    cast = next((node for node in graph.graph.node if node.op_type == "Cast"), None)
    for node in graph.graph.node:
        if cast is not None and node.op_type == "Sub" and node.input[0] == cast.output[0]:
            return node, numpy_helper.to_array(constants[node.input[1]])
    return None


def _quantised(
    graph: onnx.ModelProto,
    ranges: Ranges,
    form: Form,
    *,
    in_float: Collection[str] = (),
    only: Collection[str] = (),
) -> onnx.ModelProto:
    """`graph` in int8 except the nodes `in_float`; or, if given, with the nodes `only` in int8."""
    with _quietly():
        quantiser = QDQQuantizer(
            copy.deepcopy(graph),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8 if form == "cpu" else QuantType.QInt8,
            tensors_range={
                name: TensorData(lowest=np.float32(low), highest=np.float32(high))
                for name, (low, high) in ranges.items()
            },
            nodes_to_quantize=list(only),
            nodes_to_exclude=list(in_float),
            op_types_to_quantize=list(_QUANTISED),
            extra_options={} if form == "cpu" else _SYMMETRIC,
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
    made: onnx.ModelProto = quantiser.model.model
    if form == "cpu":
        _read_frame_as_quantised(made)
    _keep_in_float(made, in_float)
    return made


def _keep_in_float(made: onnx.ModelProto, nodes: Collection[str]) -> None:
    """Insert a Clip without effect before the nodes that were left in float.

    Otherwise ONNX Runtime finds them between a dequantised input and a quantised output, and quantises
    them after all, with one scale for all channels: that made the error four times as large as with the
    layer in int8.
    """
    makers = {output: node for node in made.graph.node for output in node.output}
    for name in nodes:
        place, node = next(pair for pair in enumerate(made.graph.node) if pair[1].name == name)
        maker = makers.get(node.input[0])
        if maker is None or maker.op_type != "DequantizeLinear":
            continue
        limits = [f"{name}/lowest", f"{name}/highest"]
        for limit, value in zip(
            limits, (np.finfo(np.float32).min / 2, np.finfo(np.float32).max / 2), strict=True
        ):
            made.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), limit))
        clip = helper.make_node("Clip", [node.input[0], *limits], [f"{name}/held"], f"{name}/hold")
        node.input[0] = clip.output[0]
        made.graph.node.insert(place, clip)


def _read_frame_as_quantised(made: onnx.ModelProto) -> None:
    """Feed the frame's bytes to the first layer directly, if the mean is one whole number.

    Byte minus mean is a quantised value of scale 1 with the mean as zero point, so converting,
    subtracting and quantising would give the same bytes.
    """
    head = _subtraction(made)
    if head is None:
        return
    subtract, mean = head
    level = float(mean.flat[0])
    readers = [node for node in made.graph.node if subtract.output[0] in node.input]
    if [node.op_type for node in readers] != ["QuantizeLinear"] or (mean != level).any() or level % 1:
        return
    quantise_node = readers[0]
    cast = next(node for node in made.graph.node if node.output[0] == subtract.input[0])
    for node in made.graph.node:
        node.input[:] = [cast.input[0] if name == quantise_node.output[0] else name for name in node.input]
    for node in (cast, subtract, quantise_node):
        made.graph.node.remove(node)
    made.graph.initializer.remove(
        next(tensor for tensor in made.graph.initializer if tensor.name == subtract.input[1])
    )


def _left_in_float(
    graph: onnx.ModelProto,
    ranges: Ranges,
    form: Form,
    probe: _Probe,
    best: onnx.ModelProto,
    error: float,
    say: Callable[[str], None],
) -> tuple[list[_Layer], onnx.ModelProto]:
    """The few layers that are better left in float, and the graph with these in float.

    Each layer is quantised alone to measure its error; those with the largest errors are then left in
    float one after the other, and stay so if it pays.
    """
    layers = _layers(graph)
    budget = MAX_FLOAT_SHARE * sum(layer.cost for layer in layers)
    affordable = [layer for layer in layers if layer.cost <= budget]
    alone = {
        layer: probe.error(_quantised(graph, ranges, form, only=layer.nodes), _RANKING_FRAMES)
        for layer in affordable
    }
    kept: list[_Layer] = []
    least_gain = MIN_GAIN * error
    for layer in sorted(affordable, key=alone.__getitem__, reverse=True)[:_CANDIDATES]:
        tried = [*kept, layer]
        if sum(one.cost for one in tried) > budget:
            continue
        made = _quantised(graph, ranges, form, in_float=[one.nodes[0] for one in tried])
        found = probe.error(made)
        if error - found >= least_gain:
            say(f"{layer.name} stays in float: {error:.5f} becomes {found:.5f}")
            kept, best, error = tried, made, found
    return kept, best


def _layers(graph: onnx.ModelProto) -> list[_Layer]:
    values = (*graph.graph.value_info, *graph.graph.output)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    weights = {tensor.name: list(tensor.dims) for tensor in graph.graph.initializer}
    behind = _activation_behind(graph)
    layers = []
    for node in graph.graph.node:
        if node.op_type in _WEIGHTED and node.input[1] in weights:
            name = node.input[1].removeprefix("model.").removesuffix(".weight")
            activation = behind.get(node.output[0])
            nodes = (node.name,) if activation is None else (node.name, activation.name)
            values_in, values_out = np.prod(shapes[node.input[0]]), np.prod(shapes[node.output[0]])
            # Each value of an output channel takes all weights of that channel.
            channels = shapes[node.output[0]][1 if node.op_type.startswith("Conv") else -1]
            operations = values_out * np.prod(weights[node.input[1]]) // channels
            layers.append(
                _Layer(name, nodes, int(operations + _OPERATIONS_PER_VALUE * (values_in + values_out)))
            )
    return layers


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress the quantiser's log."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
