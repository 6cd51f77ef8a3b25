"""Two linear convolutions in a row become one that gives the same; what is not linear, or grows, stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

pytest.importorskip("torch")

from export.fuse_convs import fuse_conv_pairs

CHANNELS_IN, SIDE = 6, 9


def network(
    inner: tuple[int, int],
    outer: tuple[int, int],
    *,
    between: str | None = None,
    groups: int = 1,
    outer_pad: int = 0,
    read_twice: bool = False,
    with_bias: bool = True,
) -> onnx.ModelProto:
    """Two convolutions, (channels out, kernel) each; the first strides and pads."""
    random = np.random.default_rng(0)
    weights = {
        "inner": random.normal(size=(inner[0], CHANNELS_IN // groups, inner[1], inner[1])),
        "outer": random.normal(size=(outer[0], inner[0], outer[1], outer[1])),
    }
    biases = {f"{name}_bias": random.normal(size=len(weights[name])) for name in weights if with_bias}
    after = "narrow"
    nodes = [
        helper.make_node(
            "Conv",
            ["image", "inner", *[name for name in biases if name == "inner_bias"]],
            ["narrow"],
            strides=[2, 2],
            pads=[inner[1] // 2] * 4,
            group=groups,
        )
    ]
    if between:
        nodes.append(helper.make_node(between, ["narrow"], ["between"]))
        after = "between"
    nodes.append(
        helper.make_node(
            "Conv",
            [after, "outer", *[name for name in biases if name == "outer_bias"]],
            ["wide"],
            pads=[outer_pad] * 4,
        )
    )
    outputs = ["wide", *(["narrow"] if read_twice else [])]
    graph = helper.make_graph(
        nodes,
        "pair",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, CHANNELS_IN, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(it.astype(np.float32), name) for name, it in (weights | biases).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def run(model: onnx.ModelProto) -> np.ndarray:
    image = np.random.default_rng(1).normal(size=(1, CHANNELS_IN, SIDE, SIDE)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(["wide"], {"image": image})[0]
    return found


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("with_bias", [True, False])
def test_pair_becomes_one_convolution_that_gives_the_same(kernel: int, with_bias: bool) -> None:
    model = network((4, kernel), (3, 1), with_bias=with_bias)
    wanted = run(model)

    fuse_conv_pairs(model)

    assert [node.op_type for node in model.graph.node] == ["Conv"]
    assert {tensor.name for tensor in model.graph.initializer} == set(model.graph.node[0].input[1:])
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(run(model), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(network((4, 1), (3, 1), between="Relu"), id="not linear"),
        pytest.param(network((6, 1), (3, 1), groups=6), id="depthwise"),
        pytest.param(network((4, 1), (3, 3), outer_pad=1), id="the second looks around"),
        pytest.param(network((4, 1), (3, 1), read_twice=True), id="read elsewhere too"),
        pytest.param(network((1, 3), (9, 1)), id="costs more"),
    ],
)
def test_others_are_left_alone(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)

    fuse_conv_pairs(model)

    assert model.SerializeToString(deterministic=True) == before
