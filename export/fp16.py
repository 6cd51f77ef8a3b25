"""The float16 graph for GPUs: half the memory traffic and faster arithmetic where precision allows."""

from __future__ import annotations

import copy

import onnx
from onnx import TensorProto
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from export.gpu import POSTPROCESS, PREPROCESS

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def to_fp16(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with the network in float16, from its first weights to its logits.

    Inputs and outputs, the letterbox, the postprocessing (resize, softmax and argmax) and the network's
    nodes before its first weights stay in float32: float16 has steps of 1/8 from 128 on, too coarse to
    subtract a mean of 123.675 exactly.
    """
    fp16 = copy.deepcopy(graph)
    for index, node in enumerate(fp16.graph.node):
        node.name = node.name or f"{index}_{node.op_type}"
    fp16 = convert_float_to_float16(fp16, keep_io_types=True, node_block_list=_kept_in_float(fp16))
    _remove_duplicate_casts(fp16.graph)
    _remove_casts_and_back(fp16.graph)
    in_order = ONNXModel(fp16)  # the casts were appended at the end
    in_order.topological_sort()
    onnx.checker.check_model(in_order.model, full_check=True)
    return in_order.model


def _remove_duplicate_casts(graph: onnx.GraphProto) -> None:
    """ONNX Runtime before 1.32 adds a cast for every reader."""
    made: set[str] = set()
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] in made:
            graph.node.remove(node)
        made.update(node.output)


def _remove_casts_and_back(graph: onnx.GraphProto) -> None:
    """Remove casts to float16 and back, which the converter adds between nodes that stay in float32."""
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
