"""The plain graph: what other programs run gives what ours gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

import onnxruntime as ort  # noqa: E402

from export.config import ExportConfig  # noqa: E402
from export.package import ExportError, unpack  # noqa: E402
from export.plain_nchw import plain_nchw_graph  # noqa: E402
from export.run import export  # noqa: E402
from export.verify import GateError  # noqa: E402
from perception.inference.zoo import model_file  # noqa: E402
from train.config import GREY_STD  # noqa: E402

MEAN_BGR = (100.0, 110.0, 120.0)
SIDE_PX = 16


@pytest.fixture(autouse=True)
def _few_parity_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.frames.PARITY_FRAMES", 2)


def _graph(*operators: str, mean_bgr: tuple[float, ...] = MEAN_BGR) -> Any:
    """`frame` (1, 16, 16, 3) uint8 through the operators into a convolution, whose sum is the output."""
    helper, kind = onnx.helper, onnx.TensorProto
    random = np.random.default_rng(0)
    constants = {
        "mean": np.array(mean_bgr, np.float32).reshape(1, 3, 1, 1),
        "scale": np.array(1.25, np.float32),
        "zero": np.array(120, np.uint8),
        "turned": np.array([2, 1, 0]),
        "weight": random.normal(size=(3, 3, 4, 4)).astype(np.float32),
    }
    inputs = {"Sub": ["mean"], "QuantizeLinear": ["scale", "zero"], "DequantizeLinear": ["scale", "zero"]}
    inputs |= {"Gather": ["turned"]}
    attributes = {"Transpose": {"perm": [0, 3, 1, 2]}, "Cast": {"to": kind.FLOAT}, "Gather": {"axis": 1}}
    nodes, last = [], "frame"
    for operator in operators:
        taken = [last, *inputs.get(operator, [])]
        nodes.append(helper.make_node(operator, taken, [operator], **attributes.get(operator, {})))
        last = operator
    nodes.append(helper.make_node("Conv", [last, "weight"], ["logits"], strides=[4, 4]))
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("frame", kind.UINT8, [1, SIDE_PX, SIDE_PX, 3])],
        [helper.make_tensor_value_info("logits", kind.FLOAT, [1, 3, 4, 4])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items() if name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _run(graph: Any, array: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: array})[0])


def _differ(cpu: Any, std: float) -> tuple[float, tuple[float, ...], list[str]]:
    """By how much at most; the mean; and the operators of the plain graph."""
    plain, mean_bgr = plain_nchw_graph(cpu, std)
    sides = [dim.dim_value for dim in cpu.graph.input[0].type.tensor_type.shape.dim]
    frame = np.random.default_rng(1).integers(0, 256, sides, np.uint8)
    image = ((frame.astype(np.float32) - np.array(mean_bgr, np.float32)) / np.float32(std)).transpose(
        0, 3, 1, 2
    )
    found = _run(plain, np.ascontiguousarray(image))
    return (
        float(np.abs(found - _run(cpu, frame)).max()),
        mean_bgr,
        [node.op_type for node in plain.graph.node],
    )


def test_float_graph_loses_its_mean_and_its_first_weights_take_the_std_in() -> None:
    difference, mean_bgr, operators = _differ(_graph("Transpose", "Cast", "Sub"), 57.4)

    assert difference < 1e-2  # of logits up to thousands
    assert mean_bgr == MEAN_BGR
    assert operators == ["Conv"]


@pytest.mark.parametrize(
    ("head", "mean_bgr", "operators"),
    [
        pytest.param(
            ("Transpose", "DequantizeLinear"),
            (120.0,) * 3,
            ["QuantizeLinear", "DequantizeLinear", "Conv"],
            id="bytes read as quantised",
        ),
        pytest.param(
            ("Transpose", "Cast", "Sub", "QuantizeLinear", "DequantizeLinear"),
            MEAN_BGR,
            ["Mul", "QuantizeLinear", "DequantizeLinear", "Conv"],
            id="mean of three levels",
        ),
        pytest.param(("Transpose", "Cast"), (0.0,) * 3, ["Conv"], id="no mean"),
    ],
)
def test_other_beginnings_of_ours_give_the_same(
    head: tuple[str, ...], mean_bgr: tuple[float, ...], operators: list[str]
) -> None:
    difference, found_bgr, found = _differ(_graph(*head), 50.0)

    assert difference < 1e-2
    assert found_bgr == mean_bgr
    assert found == operators


def test_weights_that_another_layer_reads_too_stay_as_they_are() -> None:
    cpu = _graph("Transpose", "Cast", "Sub")
    cpu.graph.node[-1].output[0] = "first"
    cpu.graph.node.append(onnx.helper.make_node("ReduceMax", ["weight"], ["most"], keepdims=0))
    cpu.graph.node.append(onnx.helper.make_node("Add", ["first", "most"], ["logits"]))

    difference, _, operators = _differ(cpu, 57.4)

    assert difference < 1e-2
    assert operators == ["Mul", "Conv", "ReduceMax", "Add"]


@pytest.mark.parametrize(("model", "most"), [("rt_s", 1e-4), ("rt_s-int8", 0.0)])
def test_shipped_network_gives_the_same_logits(model: str, most: float) -> None:
    cpu = unpack(model_file(model)).graph
    plain, mean_bgr = plain_nchw_graph(cpu, GREY_STD)
    frame = np.random.default_rng(0).integers(0, 256, (1, 384, 640, 3), np.uint8)
    image = ((frame.astype(np.float32) - np.array(mean_bgr, np.float32)) / np.float32(GREY_STD)).transpose(
        0, 3, 1, 2
    )

    difference = np.abs(_run(plain, np.ascontiguousarray(image)) - _run(cpu, frame)).max()

    assert difference <= most
    (taken,) = plain.graph.input
    assert (taken.name, taken.type.tensor_type.elem_type) == ("image", onnx.TensorProto.FLOAT)
    assert [dim.dim_value for dim in taken.type.tensor_type.shape.dim] == [1, 3, 384, 640]


@pytest.mark.parametrize(
    ("head", "message"),
    [(("Transpose", "Gather", "Cast"), "begins with Gather"), ((), "begins with Conv")],
)
def test_graph_that_begins_otherwise_is_refused(head: tuple[str, ...], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        plain_nchw_graph(_graph(*head), 57.4)


def test_file_of_ours_becomes_a_plain_graph_and_the_line_states_its_normalisation(
    tmp_path: Path, make_file: Callable[..., Path]
) -> None:
    file = make_file("tiny.onnx")
    said: list[str] = []

    plain = export(
        ExportConfig("tiny", checkpoint=str(file), target="plain", out=str(tmp_path / "plain.onnx")),
        said.append,
    ).file

    session = ort.InferenceSession(str(plain), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["model_info mean_values"] == "0 0 0"
    assert metadata["model_info scale_values"] == "57.4 57.4 57.4"
    assert session.get_inputs()[0].shape == [1, 3, 32, 32]
    assert said[-1].endswith("input: BGR levels, minus 0, 0, 0, over 57.4, 57.4, 57.4")
    assert any(line.startswith("logits, largest difference: ") for line in said)


def test_plain_nchw_graph_of_other_weights_is_not_written(
    tmp_path: Path, make_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.plain_nchw.fuse_scale", lambda graph, name, std: True)  # but it was not
    out = tmp_path / "plain.onnx"
    config = ExportConfig("tiny", checkpoint=str(make_file("tiny.onnx")), target="plain", out=str(out))

    with pytest.raises(GateError, match="logits, largest difference"):
        export(config, lambda line: None)

    assert not out.exists()


@pytest.mark.slow
def test_network_in_torch_is_traced_for_floats(tmp_path: Path) -> None:
    out = tmp_path / "rt_s.onnx"

    export(
        ExportConfig("rt_s", out=str(out), target="plain", size_wh=(96, 64), random_weights=True),
        lambda line: None,
    )

    session = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(float)"
    assert session.get_inputs()[0].shape == [1, 3, 64, 96]
    assert session.get_modelmeta().custom_metadata_map["model_info mean_values"] == "116 116 116"
    assert [left.name for left in tmp_path.iterdir()] == ["rt_s.onnx"]


@pytest.mark.parametrize(
    "named",
    [
        {"model": "rt_s-int8"},
        {"model": "rt_s", "checkpoint": str(model_file("rt_s-int8"))},
        {"model": "rt_s-int8", "checkpoint": str(model_file("rt_s-int8"))},
    ],
)
def test_int8_file_is_a_source_of_a_plain_nchw_graph_alone(named: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "plain.onnx"

    exported = export(ExportConfig(**named, runs="none", target="plain", out=str(out)), lambda line: None)

    assert exported.gates[0].measured == 0
    operators = [node.op_type for node in onnx.load(out).graph.node]
    assert operators.count("QuantizeLinear") > 10
    with pytest.raises(ExportError, match=r"rt_s-int8\.onnx: is a file for target cpu in int8"):
        export(ExportConfig(**named, runs="none", target="gpu", out=str(out)), lambda line: None)


def test_precision_of_a_plain_nchw_graph_is_that_of_its_source() -> None:
    with pytest.raises(ValueError, match="for int8 name an int8 file: --model rt_m-int8 if one is shipped"):
        ExportConfig("rt_m", target="plain", precision="int8", data="frames")
