"""Fuses consecutive linear convolutions: equal in exact arithmetic, more precise in reduced precision."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

MAX_GROWTH: Final = 1.5
"""Largest cost of the fused convolution relative to the two it replaces; it saves a tensor in between."""


def fuse_conv_pairs(model: onnx.ModelProto) -> None:
    """Fuse every convolution with the 1x1 convolution that is its only reader, in place.

    The first block of a MobileNet narrows to few channels, which the next block widens again with nothing
    in between. These channels hold sums of large numbers that nearly cancel: rounding them to bfloat16
    cost `rt_m` 0.43 points of mean IoU on val, of which 0.05 remain.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(output.name for output in graph.output)
    makers = {output: node for node in graph.node for output in node.output}
    for second in list(graph.node):
        first = makers.get(second.input[0]) if second.input else None
        if first is None or readers[second.input[0]] > 1 or not _are_linear(first, second, constants):
            continue
        weight, bias = _fused(_weights(first, constants), _weights(second, constants))
        parts = sum(np.prod(constants[node.input[1]].dims) for node in (first, second))
        if weight.size > MAX_GROWTH * parts:
            continue
        names = [f"{second.input[1]}/joined", f"{second.input[1]}/joined_bias"]
        for name, array in zip(names, (weight, bias), strict=True):
            graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
            constants[name] = graph.initializer[-1]
        one = helper.make_node("Conv", [first.input[0], *names], list(second.output), second.name)
        one.attribute.extend(first.attribute)
        graph.node.insert(list(graph.node).index(second), one)
        graph.node.remove(first)
        graph.node.remove(second)
        makers[one.output[0]] = one
    read = {name for node in graph.node for name in node.input}
    for stored in (graph.initializer, graph.value_info):
        for unread in [item for item in stored if item.name not in read]:
            stored.remove(unread)


def _are_linear(
    first: onnx.NodeProto, second: onnx.NodeProto, constants: dict[str, onnx.TensorProto]
) -> bool:
    """Whether they are a convolution over all channels, and a 1x1 one without padding or stride."""
    if first.op_type != "Conv" or second.op_type != "Conv":
        return False
    if any(name not in constants for node in (first, second) for name in node.input[1:]):
        return False
    settings: dict[str, Any] = {item.name: helper.get_attribute_value(item) for item in second.attribute}
    groups = [item.i for node in (first, second) for item in node.attribute if item.name == "group"]
    return (
        set(groups) <= {1}
        and list(constants[second.input[1]].dims[2:]) == [1, 1]
        and set(settings.get("pads", [0])) == {0}
        and set(settings.get("strides", [1])) == {1}
    )


_Layer = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(out, in, kernel_h, kernel_w) weights and (out,) bias."""


def _weights(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> _Layer:
    weight, *bias = (numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:])
    return weight, bias[0] if bias else np.zeros(len(weight))


def _fused(first: _Layer, second: _Layer) -> _Layer:
    (inner, inner_bias), (outer, outer_bias) = first, second
    outer = outer[:, :, 0, 0]
    return np.tensordot(outer, inner, 1), outer @ inner_bias + outer_bias
