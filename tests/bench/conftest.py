"""A small data set, and small networks with the peers' signatures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT

FRAME_WH = (64, 36)
RED_BGR, BLUE_BGR, CYAN_BGR = (0, 0, 230), (230, 0, 0), (230, 230, 0)

MakePeer = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four frames of three recordings in split val, one in test: drivable is red.

    The red is half direct and half alternative. The rest is blue, as dark as night, and cyan in snow,
    as bright as day. `weather` is a column to choose by.
    """
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    width, height = FRAME_WH
    rows = ["id,split,weather"]
    for frame_id, split, weather in (
        ("0000000a-00000001", "val", "dry"),
        ("0000000a-00000002", "val", "rain"),
        ("0000000b-00000001", "val", "rain"),
        ("0000000c-00000001", "val", "snow"),
        ("0000000d-00000001", "test", "fog"),
    ):
        image_bgr = np.full((height, width, 3), CYAN_BGR if weather == "snow" else BLUE_BGR, np.uint8)
        image_bgr[:, : width // 2] = RED_BGR
        label = np.full((height, width), BACKGROUND, np.uint8)
        label[:, : width // 2] = ALTERNATIVE
        label[:, : width // 4] = DIRECT
        cv2.imwrite(str(root / "images" / f"{frame_id}.jpg"), image_bgr, [cv2.IMWRITE_JPEG_QUALITY, 100])
        cv2.imwrite(str(root / "labels" / f"{frame_id}.png"), label)
        rows.append(f"{frame_id},{split},{weather}")
    (root / "index.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def make_peer(tmp_path: Path) -> MakePeer:
    """A function that writes an ONNX file whose outputs are 1x1 convolutions of its input."""
    onnx = pytest.importorskip("onnx")

    def make(
        name: str,
        input_shape: list[int | str],
        outputs: dict[str, tuple[list[list[float]], list[float]]],
    ) -> Path:
        """`outputs`: for each name the weights, a row of three an output channel, and the biases."""
        helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
        nodes, values, found = [], [], []
        for output, (weights, biases) in outputs.items():
            kernel = np.array(weights, np.float32)[:, :, None, None]
            values.append(numpy_helper.from_array(kernel, f"{output}.weight"))
            values.append(numpy_helper.from_array(np.array(biases, np.float32), f"{output}.bias"))
            nodes.append(helper.make_node("Conv", ["images", f"{output}.weight", f"{output}.bias"], [output]))
            shape = [input_shape[0], len(biases), *input_shape[2:]]
            found.append(helper.make_tensor_value_info(output, kind, shape))
        taken = helper.make_tensor_value_info("images", kind, input_shape)
        graph = helper.make_graph(nodes, "peer", [taken], found, values)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(model.SerializeToString())
        return file

    return make


@pytest.fixture
def red_is_drivable(make_peer: MakePeer) -> Path:
    """TwinLiteNet's signature; drivable where the first channel, divided by 255, is above a half."""
    yes_or_no = ([[0, 0, 0], [1, 0, 0]], [0.5, 0.0])
    return make_peer("red", [1, 3, 36, 64], {"da": yes_or_no, "ll": ([[0, 0, 0]] * 2, [0.0, 0.0])})
