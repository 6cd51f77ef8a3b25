"""Nodes of a graph that TensorRT would not run, by its documented rules.

Not tested on TensorRT itself, for lack of a GPU. Sources: onnx-tensorrt's operator table (docs/operators.md,
TensorRT 10), and NVIDIA's answers in TensorRT's issues 3985 (bytes must feed a Cast) and 3026 (bytes are made
from floats only).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

import onnx
from onnx import TensorProto, helper, numpy_helper

_OPERATORS: Final = """
    Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv
    ConvTranspose DequantizeLinear Div Elu Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish
    Identity InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log MatMul Max MaxPool
    Min Mul Neg Not Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceMax ReduceMean ReduceMin
    ReduceSum Relu Reshape Resize Round Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Sum
    Tanh Tile Transpose Unsqueeze Where
"""
OPERATORS: Final = frozenset(_OPERATORS.split())
"""The operators of its table that occur in vision networks."""

_TYPES: Final = ("FLOAT", "FLOAT16", "BFLOAT16", "INT32", "INT64", "BOOL", "INT8")
TYPES: Final = frozenset(TensorProto.DataType.Value(name) for name in _TYPES)
"""Types of tensors anywhere; uint8 is limited to inputs and outputs, double is not supported."""
_FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16)


def left_by_tensorrt(model: onnx.ModelProto) -> list[str]:
    """Every node that TensorRT would not run, with the reason; empty if it runs the whole graph.

    Only a whole graph can be captured, and runs without copies between providers.
    """
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    types = _types(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    inputs, outputs = ({value.name for value in values} for values in (graph.input, graph.output))
    left = []
    for node in graph.node:
        for reason in _reasons(node, types, constants, inputs, outputs):
            left.append(f"{node.name or node.output[0]} ({node.op_type}): {reason}")
    domains = Counter(entry.domain or "ai.onnx" for entry in model.opset_import)
    left += [f"opset_import lists {domain} {count} times" for domain, count in domains.items() if count > 1]
    return left


def tensorrt_line(model: onnx.ModelProto) -> str:
    """The result of `left_by_tensorrt` in one line."""
    left = left_by_tensorrt(model)
    if not left:
        return "TensorRT runs the whole graph, by its documented rules"
    return f"TensorRT does not run the whole graph, by its documented rules: {left[0]} (1 of {len(left)})"


def _reasons(
    node: onnx.NodeProto,
    types: Mapping[str, int],
    constants: Mapping[str, onnx.TensorProto],
    inputs: set[str],
    outputs: set[str],
) -> Iterator[str]:
    if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
        yield "not among its operators"
        return
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    read = [types[name] for name in node.input if name in types]
    made = [types[name] for name in node.output if name in types]
    if TensorProto.UINT8 in read and not (node.op_type == "Cast" and node.input[0] in inputs):
        yield "reads bytes, which only a Cast of the graph's input may"
    if TensorProto.UINT8 in made:
        if node.op_type != "Cast" or node.output[0] not in outputs:
            yield "makes bytes, which only a Cast to an output of the graph may"
        elif read[0] not in _FLOATS:
            yield f"makes bytes from {_name(read[0])}, which is supported from floats only"
    for other in sorted({*read, *made} - TYPES - {TensorProto.UINT8}):
        yield f"does not support {_name(other)}"
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        yield from _of_quantisation(node, read, made, constants)
    if node.op_type == "ArgMax" and attributes.get("select_last_index"):
        yield "select_last_index must be 0"
    if node.op_type == "Resize" and attributes.get("antialias"):
        yield "antialias must be 0"


def _of_quantisation(
    node: onnx.NodeProto, read: list[int], made: list[int], constants: Mapping[str, onnx.TensorProto]
) -> Iterator[str]:
    integer = made[0] if node.op_type == "QuantizeLinear" else read[0]
    if integer != TensorProto.INT8:
        yield f"its integers are {_name(integer)}, but must be int8"
    if node.input[1] not in constants:
        yield "its scale is not a constant"
    if len(node.input) > 2:
        zero = constants.get(node.input[2])
        if zero is None or numpy_helper.to_array(zero).any():
            yield "its zero point must be 0"


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()  # type: ignore[arg-type]
