"""The float16 graph for GPUs: half the memory traffic and faster arithmetic, where that is exact enough."""

from __future__ import annotations

import onnx
from onnx import TensorProto
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from export.gpu import POSTPROCESS, PREPROCESS

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def to_half(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with the network in float16, from its first weights to its logits.

    In float32 stay inputs and outputs, the letterbox, the reading of the logits (their resize,
    softmax and argmax), and what the network does to the frame's bytes before its first weights:
    float16 has steps of 1/8 from 128 on, so that a mean of 123.675 could not be taken away exactly.
    """
    half = onnx.ModelProto()
    half.CopyFrom(graph)
    for index, node in enumerate(half.graph.node):
        node.name = node.name or f"{index}_{node.op_type}"
    half = convert_float_to_float16(half, keep_io_types=True, node_block_list=_kept_in_float(half))
    _drop_doubles(half.graph)
    _pass_by_needless_casts(half.graph)
    in_order = ONNXModel(half)  # the conversions to and fro were put at the end
    in_order.topological_sort()
    onnx.checker.check_model(in_order.model, full_check=True)
    return in_order.model


def _drop_doubles(graph: onnx.GraphProto) -> None:
    """Take out conversions that are there already: ONNX Runtime before 1.32 adds one for every reader."""
    made: set[str] = set()
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] in made:
            graph.node.remove(node)
        made.update(node.output)


def _pass_by_needless_casts(graph: onnx.GraphProto) -> None:
    """Take out float32 to float16 and back, which stands between any two nodes that stay in float32."""
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    before = {
        output: casts[cast.input[0]].input[0]
        for output, cast in casts.items()
        if cast.input[0] in casts
        and (_target(casts[cast.input[0]]), _target(cast)) == (TensorProto.FLOAT16, TensorProto.FLOAT)
    }
    for node in graph.node:
        node.input[:] = [before.get(name, name) for name in node.input]
    outputs = {output.name for output in graph.output}
    for cast in reversed(list(casts.values())):
        read = {name for node in graph.node for name in node.input} | outputs
        if cast.output[0] not in read:
            graph.node.remove(cast)


def _target(cast: onnx.NodeProto) -> int:
    return next(item.i for item in cast.attribute if item.name == "to")


def _kept_in_float(graph: onnx.ModelProto) -> list[str]:
    around = [node.name for node in graph.graph.node if node.name.startswith((PREPROCESS, POSTPROCESS))]
    network = [node for node in graph.graph.node if not node.name.startswith((PREPROCESS, POSTPROCESS))]
    first = next((at for at, node in enumerate(network) if node.op_type in _WEIGHTED), len(network))
    return around + [node.name for node in network[:first]]
