"""Weights outside the model's file are refused before anything opens them, wherever they are named."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.cli import main as export_main
from export.package import pack
from perception.inference.contract import ModelContract
from perception.inference.engines import EngineError, OnnxEngine
from perception.inference.zoo import model_file
from perception.labels import LABELS
from perception.node import main

SECRET = b"s3cr3t" * 100
CONTRACT = ModelContract("leaky", LABELS, (64, 32), (0, 0, 0), 1, "none", "Apache-2.0")
ENDLESS_NESTING = 20_000


def outside(location: str = "weights.bin", name: str = "leak") -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[100])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", "100")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def network(leak: onnx.TensorProto) -> onnx.ModelProto:
    """Takes (1, 32, 64, 3) uint8, gives (1, 3, 32, 64) logits to which all values of `leak` are added."""
    steps = [
        ("Cast", ["frame"], "floats", {"to": 1}),
        ("Transpose", ["floats"], "planes", {"perm": [0, 3, 1, 2]}),
        ("Cast", [leak.name], "values", {"to": 1}),
        ("ReduceSum", ["values"], "sum", {"keepdims": 0}),
        ("Add", ["planes", "sum"], "logits", {}),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **rest) for kind, inputs, output, rest in steps],
        "leaky",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 32, 64, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, 32, 64])],
        [leak],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def inside() -> onnx.ModelProto:
    return network(numpy_helper.from_array(np.zeros(100, np.uint8), "leak"))


def in_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(outside())


def in_constant(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="Constant", output=["c"]).attribute.add(name="value", type=4).t.CopyFrom(
        outside()
    )


def in_list_of_tensors(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="Odd").attribute.add(name="many", type=9).tensors.append(outside())


def in_branch(model: onnx.ModelProto) -> None:
    branch = model.graph.node.add(op_type="If").attribute.add(name="then_branch", type=5).g
    branch.node.add(op_type="If").attribute.add(name="graphs", type=10).graphs.add().initializer.append(
        outside()
    )


def in_sparse_values(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(outside())


def in_sparse_attribute(model: onnx.ModelProto) -> None:
    model.graph.node.add(op_type="Odd").attribute.add(name="s", type=11).sparse_tensor.indices.CopyFrom(
        outside()
    )


def in_function(model: onnx.ModelProto) -> None:
    node = model.functions.add(name="f", domain="own").node.add(op_type="Constant")
    node.attribute.add(name="value", type=4).t.CopyFrom(outside())


def in_training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(outside())


def by_location_alone(model: onnx.ModelProto) -> None:
    """As a file says that is to be read by a lenient parser."""
    model.graph.initializer.add(name="leak2").external_data.add(key="location", value="weights.bin")


def by_flag_alone(model: onnx.ModelProto) -> None:
    model.graph.initializer.add(name="leak2").data_location = TensorProto.EXTERNAL


PLACES = (
    *(in_initializer, in_constant, in_list_of_tensors, in_branch, in_sparse_values, in_sparse_attribute),
    *(in_function, in_training, by_location_alone, by_flag_alone),
)


@pytest.mark.parametrize("put", PLACES)
def test_values_outside_the_file_are_refused_wherever_they_are_named(
    put: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    model = inside()
    put(model)
    file = tmp_path / "leaky.onnx"
    file.write_bytes(pack(model, CONTRACT, {})[0])

    with pytest.raises(
        EngineError, match=r"leaky\.onnx: a tensor.* has its values in another file.*onnx\.save"
    ):
        OnnxEngine(file, "cpu")


@pytest.mark.parametrize("where", ["weights.bin", "/etc/passwd", "../weights.bin", "link.bin", "nothing.bin"])
def test_node_ends_in_one_line_and_opens_nothing(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_error_line: Callable[[str], str]
) -> None:
    (tmp_path / "weights.bin").write_bytes(SECRET)
    (tmp_path / "link.bin").symlink_to("/etc/passwd")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "leaky.onnx"
    file.write_bytes(pack(network(outside(where)), CONTRACT, {})[0])

    assert main(["--model", str(file), "--max_frames", "2"]) == 1

    assert "'leak') has its values in another file" in only_error_line("drivable-node")


@pytest.mark.parametrize("command", ["inspect", "renew"])
def test_export_refuses_it_too(command: str, tmp_path: Path, only_error_line: Callable[[str], str]) -> None:
    if command == "renew":
        pytest.importorskip("torch")
    file = tmp_path / "leaky.onnx"
    file.write_bytes(pack(network(outside()), CONTRACT, {})[0])

    assert export_main([command, str(file)]) == 1

    assert "in another file" in only_error_line("drivable-export")


def test_name_of_a_tensor_says_nothing_to_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "leaky.onnx"
    file.write_bytes(pack(network(outside(name="a\n\x1b[2Jb")), CONTRACT, {})[0])

    with pytest.raises(EngineError, match=r"'a\\n\\x1b\[2Jb'"):
        OnnxEngine(file, "cpu")


def test_engine_that_was_built_elsewhere_is_refused(tmp_path: Path) -> None:
    model = inside()
    model.graph.node.add(op_type="EPContext", domain="com.microsoft", output=["x"])
    file = tmp_path / "built.onnx"
    file.write_bytes(pack(model, CONTRACT, {})[0])

    with pytest.raises(EngineError, match="built elsewhere"):
        OnnxEngine(file, "cpu")


def test_whole_file_runs(tmp_path: Path) -> None:
    file = tmp_path / "whole.onnx"
    file.write_bytes(pack(inside(), CONTRACT, {})[0])

    assert OnnxEngine(file, "cpu").infer(np.zeros((32, 64, 3), np.uint8)).shape == (3, 32, 64)


def test_graphs_within_graphs_without_an_end_are_refused_in_one_line(tmp_path: Path) -> None:
    message = outside().SerializeToString()
    message = b"\x2a" + varint(len(message)) + message  # an initializer of a graph
    for _ in range(ENDLESS_NESTING):
        message = b"\x32" + varint(len(message)) + message  # the graph of an attribute
        message = b"\x2a" + varint(len(message)) + message  # the attribute of a node
        message = b"\x0a" + varint(len(message)) + message  # the node of a graph
    file = tmp_path / "deep.onnx"
    file.write_bytes(b"\x3a" + varint(len(message)) + message)

    with pytest.raises(EngineError, match="in another file"):
        OnnxEngine(file, "cpu")


def varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_file_that_was_cut_off_is_refused_in_one_line(share: float, tmp_path: Path) -> None:
    content = model_file("rt_s").read_bytes()
    file = tmp_path / "cut.onnx"
    file.write_bytes(content[: int(share * len(content))])

    with pytest.raises(EngineError, match=r"cut\.onnx: not a model that ONNX Runtime can load[^\n]*$"):
        OnnxEngine(file, "cpu")


def test_file_of_more_than_two_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.onnx"
    with file.open("wb") as opened:
        os.truncate(opened.fileno(), 40_000_000_000)  # a hole: it takes no room on the disk

    started_s = time.monotonic()
    with pytest.raises(EngineError, match=r"40\.0 GB; an ONNX file has 2 GB at most"):
        OnnxEngine(file, "cpu")
    assert time.monotonic() - started_s < 5
