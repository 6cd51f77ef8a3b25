"""TensorRT takes every shipped network for GPUs as a whole, in every precision, by its documented rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch")

from export.fp16 import to_fp16
from export.gpu import gpu_graph
from export.package import unpack
from export.quantise import quantise
from export.tensorrt import left_by_tensorrt, tensorrt_line
from perception.imaging.letterbox import letterbox
from perception.inference.contract import ANY_SIZE
from perception.inference.engines.session import CPU, load_session
from perception.synthetic import DriveRenderer

MODELS = Path(__file__).parents[2] / "perception" / "models"
NETWORKS = ("rt_s", "rt_m", "rt_l")
FRAME_WH = (640, 360)


@pytest.fixture(scope="module")
def frames_bgr() -> list[np.ndarray]:
    renderer = DriveRenderer("mixed", FRAME_WH)
    return [renderer.render(50 * number)[0] for number in range(6)]


def in_precision(name: str, precision: str, frames_bgr: list[np.ndarray]) -> onnx.ModelProto:
    packed = unpack(MODELS / f"{name}.onnx")
    contract, network = packed.contract, packed.graph
    if precision == "fp16":
        network = to_fp16(network)
    if precision == "int8":
        inputs = [letterbox(frame, contract.input_wh, contract.pad_bgr)[0] for frame in frames_bgr]
        network = next(quantise(network, inputs[:2], inputs[2:3], form="tensorrt")).graph
    return gpu_graph(network, contract.labels, contract.input_wh, FRAME_WH, contract.pad_bgr)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        pytest.param(
            name, precision, marks=pytest.mark.slow if precision == "int8" and name != "rt_s" else ()
        )
        for name in NETWORKS
        for precision in ("fp32", "fp16", "int8")
    ],
)
def test_every_network_for_gpus_is_taken_as_a_whole_and_sees_what_the_float_file_sees(
    name: str, precision: str, frames_bgr: list[np.ndarray]
) -> None:
    graph = in_precision(name, precision, frames_bgr)

    assert left_by_tensorrt(graph) == []
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", 18)]
    wanted, found = (
        load_session(made.SerializeToString(), name, [CPU], 0)
        for made in (in_precision(name, "fp32", frames_bgr), graph)
    )
    shown = {"frame": frames_bgr[5][np.newaxis]}
    same = np.mean(wanted.run(None, shown)[0] == found.run(None, shown)[0])
    assert same >= {"fp32": 1.0, "fp16": 0.995, "int8": 0.97}[precision]


def test_files_for_cpus_and_graphs_for_any_size_are_not() -> None:
    packed = unpack(MODELS / "rt_s-int8.onnx")
    float_file = unpack(MODELS / "rt_s.onnx")
    contract = float_file.contract
    any_size = gpu_graph(float_file.graph, contract.labels, contract.input_wh, ANY_SIZE, contract.pad_bgr)

    assert any("its integers are uint8" in line for line in left_by_tensorrt(packed.graph))
    assert any("does not support double" in line for line in left_by_tensorrt(any_size))
    assert "does not run the whole graph" in tensorrt_line(packed.graph)


def model(nodes: list[onnx.NodeProto], gives: int, opsets: int = 1) -> onnx.ModelProto:
    """A graph from 2 bytes `bytes` to 2 values `out`."""
    graph = helper.make_graph(
        nodes,
        "rules",
        [helper.make_tensor_value_info("bytes", TensorProto.UINT8, [1, 2])],
        [helper.make_tensor_value_info("out", gives, [1, 2])],
        [
            numpy_helper.from_array(np.float32(0.1), "scale"),
            numpy_helper.from_array(np.int8(3), "three"),
            numpy_helper.from_array(np.uint8(0), "zero_byte"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)] * opsets, ir_version=8)


FLOAT, BYTES = TensorProto.FLOAT, TensorProto.UINT8
TO_FLOAT = helper.make_node("Cast", ["bytes"], ["floats"], to=FLOAT)


@pytest.mark.parametrize(
    ("nodes", "gives", "reason"),
    [
        ([TO_FLOAT, helper.make_node("Relu", ["floats"], ["out"])], FLOAT, None),
        ([TO_FLOAT, helper.make_node("Cast", ["floats"], ["out"], to=BYTES)], BYTES, None),
        ([helper.make_node("Identity", ["bytes"], ["out"])], BYTES, "reads bytes"),
        (
            [helper.make_node("Cast", ["bytes"], ["whole"], to=TensorProto.INT64),
             helper.make_node("Cast", ["whole"], ["out"], to=BYTES)],
            BYTES, "makes bytes from int64",
        ),
        (
            [TO_FLOAT, helper.make_node("Cast", ["floats"], ["again"], to=BYTES),
             helper.make_node("Cast", ["again"], ["out"], to=FLOAT)],
            FLOAT, "makes bytes, which only a Cast to an output",
        ),
        (
            [helper.make_node("Cast", ["bytes"], ["wide"], to=TensorProto.DOUBLE),
             helper.make_node("Cast", ["wide"], ["out"], to=FLOAT)],
            FLOAT, "does not support double",
        ),
        (
            [TO_FLOAT, helper.make_node("QuantizeLinear", ["floats", "scale", "zero_byte"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "scale", "zero_byte"], ["out"])],
            FLOAT, "its integers are uint8",
        ),
        (
            [TO_FLOAT, helper.make_node("QuantizeLinear", ["floats", "scale", "three"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "scale", "three"], ["out"])],
            FLOAT, "zero point must be 0",
        ),
        ([TO_FLOAT, helper.make_node("Sin", ["floats"], ["out"])], FLOAT, "not among its operators"),
    ],
)  # fmt: skip
def test_each_rule(nodes: list[onnx.NodeProto], gives: int, reason: str | None) -> None:
    left = left_by_tensorrt(model(nodes, gives))

    assert bool(left) == (reason is not None)
    assert reason is None or any(reason in line for line in left)


def test_opset_that_is_listed_twice_is_found() -> None:
    twice = model([TO_FLOAT, helper.make_node("Relu", ["floats"], ["out"])], FLOAT, opsets=2)

    assert left_by_tensorrt(twice) == ["opset_import lists ai.onnx 2 times"]
