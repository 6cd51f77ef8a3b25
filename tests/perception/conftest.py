"""Model files that several tests of the runtime need, made here and packed as the exporter packs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.package import pack
from perception.imaging.letterbox import Letterbox
from perception.inference.contract import ModelContract
from perception.labels import LABELS, LABELS_OF_TWO

INPUT_WH = (64, 48)
MakeClassifier = Callable[..., Path]


def classifier_graph(
    frame_wh: tuple[int, int], two_classes: bool = False, input_wh: tuple[int, int] = INPUT_WH
) -> onnx.ModelProto:
    """Whole frames to a class map: blue is the first class, green the second, red the third.

    The frame is letterboxed into the input, the padding red; (0, 0) is any size, stretched. Of two classes
    blue is drivable, all else background. The confidence is the level of the brightest channel.
    """
    width, height = input_wh
    is_any = frame_wh == (0, 0)
    box = Letterbox.fit(input_wh if is_any else frame_wh, input_wh)
    right, bottom = width - box.columns.stop, height - box.rows.stop
    constants = {
        "sizes": np.array([1, box.content_wh[1], box.content_wh[0], 3], np.int64),
        "above": np.array([0, box.top_px, box.left_px, 0, 0, bottom, right, 0], np.int64),
        "nothing": np.array(-1, np.float32),
        "red": np.array([0, 0, 1], np.float32),
        "zero": np.array(0, np.float32),
        "two": np.array(2, np.int64),
        "one": np.array(1, np.int64),
        "three": np.array(3, np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["frame"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["floats", "", "", "sizes"], ["resized"], mode="nearest"),
        helper.make_node("Pad", ["resized", "above", "nothing"], ["padded"]),
        # Where the padding's -1 stands, a little red makes the third class.
        helper.make_node("Less", ["padded", "zero"], ["is_padding"]),
        helper.make_node("Where", ["is_padding", "red", "padded"], ["coloured"]),
        helper.make_node("ArgMax", ["coloured"], ["brightest"], axis=3, keepdims=0),
        helper.make_node("ReduceMax", ["coloured"], ["level"], axes=[3], keepdims=0),
        helper.make_node("Cast", ["level"], ["confidence"], to=TensorProto.UINT8),
    ]
    if two_classes:
        nodes += [
            helper.make_node("Min", ["brightest", "one"], ["is_background"]),
            helper.make_node("Sub", ["three", "is_background"], ["ids"]),
        ]
    else:
        nodes += [helper.make_node("Min", ["brightest", "two"], ["ids"])]
    nodes += [helper.make_node("Cast", ["ids"], ["class_map"], to=TensorProto.UINT8)]
    sides = ["H", "W"] if is_any else [frame_wh[1], frame_wh[0]]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, *sides, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.UINT8, [1, height, width])
            for name in ("class_map", "confidence")
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def classifier_contract(frame_wh: tuple[int, int] | None, **values: Any) -> ModelContract:
    known: dict[str, Any] = {
        "model_id": "classifier-1",
        "labels": LABELS,
        "input_wh": INPUT_WH,
        "pad_bgr": (116, 116, 116),
        "output_stride": 1,
        "training_data": "none",
        "licence": "Apache-2.0",
        "frame_wh": frame_wh,
        "output": "class_map",
    }
    return ModelContract(**(known | values))


@pytest.fixture
def make_classifier(tmp_path: Path) -> MakeClassifier:
    """A function that writes such a model: `frame_wh`, `two_classes`, and fields of the contract."""

    def make(
        frame_wh: tuple[int, int] = (128, 72),
        two_classes: bool = False,
        graph: onnx.ModelProto | None = None,
        **values: Any,
    ) -> Path:
        labels = LABELS_OF_TWO if two_classes else LABELS
        contract = classifier_contract(frame_wh, **({"labels": labels} | values))
        file = tmp_path / "classifier.onnx"
        file.write_bytes(pack(graph or classifier_graph(frame_wh, two_classes), contract, {})[0])
        return file

    return make


@pytest.fixture
def make_graph() -> Callable[..., onnx.ModelProto]:
    """`classifier_graph`, for files that do not keep to their contract."""
    return classifier_graph
