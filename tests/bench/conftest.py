"""A small data set, and a small network of two classes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.inference.contract import ModelContract
from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, LABELS_OF_TWO

FRAME_WH = (64, 36)
RED_BGR, BLUE_BGR, CYAN_BGR = (0, 0, 230), (230, 0, 0), (230, 230, 0)


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
def red_is_drivable(tmp_path: Path) -> Path:
    """A network of two classes: drivable where a pixel is red above a half."""
    onnx = pytest.importorskip("onnx")
    from export.package import pack

    helper = onnx.helper
    constants = {
        "red": np.array([2], np.int64),
        "half": np.array(127.5, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["frame"], ["levels"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["levels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["planes", "red"], ["reds"], axis=1),
        helper.make_node("Sub", ["reds", "half"], ["drivable"]),
        helper.make_node("Neg", ["drivable"], ["background"]),
        helper.make_node("Concat", ["drivable", "background"], ["logits"], axis=1),
    ]
    width, height = FRAME_WH
    taken = helper.make_tensor_value_info("frame", onnx.TensorProto.UINT8, [1, height, width, 3])
    given = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 2, height, width])
    values = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "red", [taken], [given], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    contract = ModelContract("red", LABELS_OF_TWO, FRAME_WH, (0, 0, 0), 1, "none", "Apache-2.0")
    file = tmp_path / "red.onnx"
    file.write_bytes(pack(model, contract, {})[0])
    return file
