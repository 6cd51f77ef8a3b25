"""A file as drivable-export writes it, whose network is one convolution."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from export.package import pack  # noqa: E402
from perception.inference.contract import ModelContract  # noqa: E402
from perception.labels import LABELS  # noqa: E402

INPUT_WH = (32, 32)
CONTRACT = ModelContract("tiny", LABELS, INPUT_WH, (116, 116, 116), 8, "our own roads", "Apache-2.0")

MakeFile = Callable[..., Path]


def tiny_graph() -> Any:
    """`frame` (1, 32, 32, 3) uint8 to `logits` (1, 3, 4, 4): one 8x8 convolution of stride 8."""
    helper, kind = onnx.helper, onnx.TensorProto
    weight = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["frame"], ["upright"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["upright"], ["pixels"], to=kind.FLOAT),
        helper.make_node("Conv", ["pixels", "weight"], ["logits"], strides=[8, 8]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frame", kind.UINT8, [1, 32, 32, 3])],
        [helper.make_tensor_value_info("logits", kind.FLOAT, [1, 3, 4, 4])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """As for the tests of training: a second thread would only wait for the first."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """A function that writes the file; its arguments are the card and fields of the contract."""

    def make(name: str = "tiny.onnx", card: dict[str, Any] | None = None, **fields: Any) -> Path:
        content, _ = pack(tiny_graph(), replace(CONTRACT, **fields), card or {})
        file = tmp_path / name
        file.write_bytes(content)
        return file

    return make
