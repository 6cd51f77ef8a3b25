"""Every shipped file carries a known answer; an engine that gives another one is refused in one line."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from export.gpu import gpu_graph
from export.known_answer import known_answer_of
from export.package import engine_of, pack, unpack
from perception.inference.contract import ModelContract
from perception.inference.engines import Engine, EngineError, OnnxEngine, OpenVinoEngine
from perception.inference.engines.openvino import has_bf16
from perception.inference.known_answer import LEAST_MEAN_IOU, KnownAnswer, mean_iou, reading_of
from perception.inference.zoo import model_file, shipped_models
from perception.node import main

ENGINES: dict[str, Callable[[Path], Engine]] = {
    "onnx": lambda file: OnnxEngine(file, "cpu"),
    "openvino-f32": lambda file: OpenVinoEngine(file, precision="f32"),
    "openvino-bf16": lambda file: OpenVinoEngine(file, precision="bf16"),
}
WELL_ABOVE, WELL_BELOW = 0.95, 0.76


def png(pixels: NDArray[np.uint8]) -> str:
    return base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()


def engine_or_skip(name: str, file: Path) -> Engine:
    if name != "onnx":
        pytest.importorskip("openvino")
    if name == "openvino-bf16" and not has_bf16():
        pytest.skip("this CPU has no bf16")
    return ENGINES[name](file)


def known_of(file: Path) -> KnownAnswer:
    known = unpack(file).known
    assert known is not None
    return known


def found(engine: Engine, input_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return reading_of([engine.infer(input_bgr)[np.newaxis]], engine.contract)[0]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("model", shipped_models())
def test_every_engine_gives_the_answer_of_every_shipped_file_with_a_margin(
    model: str, engine_name: str
) -> None:
    file = model_file(model)
    engine, known = engine_or_skip(engine_name, file), known_of(file)

    class_map = found(engine, known.input_bgr(engine.contract))

    assert engine.is_proven
    assert set(known.classes) == set(engine.contract.labels)
    assert mean_iou(known.class_map, class_map) >= WELL_ABOVE > LEAST_MEAN_IOU + 0.05


@pytest.mark.parametrize("model", shipped_models())
def test_wrong_answers_are_far_below_the_limit(model: str) -> None:
    file = model_file(model)
    engine, known = OnnxEngine(file, "cpu"), known_of(file)
    input_bgr = known.input_bgr(engine.contract)
    logits = engine.infer(input_bgr)

    wrong = {str(value): np.full_like(logits, value) for value in (0.0, 1.0, np.nan)}
    wrong |= {str(order): logits[list(order)] for order in list(itertools.permutations(range(3)))[1:]}
    wrong["red and blue exchanged"] = engine.infer(np.ascontiguousarray(input_bgr[..., ::-1]))
    wrong["mirrored"] = np.ascontiguousarray(logits[:, :, ::-1])
    wrong["upside down"] = np.ascontiguousarray(logits[:, ::-1])
    wrong["noise"] = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)

    for name, output in wrong.items():
        class_map, _ = reading_of([output[np.newaxis]], engine.contract)
        assert mean_iou(known.class_map, class_map) <= WELL_BELOW < LEAST_MEAN_IOU - 0.05, name
        assert known.why_wrong([output[np.newaxis]], engine.contract), name
    assert known.why_wrong([logits[np.newaxis]], engine.contract) is None


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, whose last convolution gives nothing: what a provider gives that computes nothing."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    last = [node for node in other.graph.node if node.op_type in ("Conv", "Gemm")][-1]
    for tensor in other.graph.initializer:
        if tensor.name in last.input[1:]:
            tensor.CopyFrom(
                numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name)
            )
    return other


def broken(folder: Path, frame_wh: tuple[int, int] | None) -> Path:
    """rt_s with the answer that it gives, and a graph that gives nothing any more."""
    packed = unpack(model_file("rt_s"))
    contract, network = packed.contract, packed.graph

    def graph_of(inside: onnx.ModelProto) -> onnx.ModelProto:
        if frame_wh is None:
            return inside
        return gpu_graph(inside, contract.labels, contract.input_wh, frame_wh, contract.pad_bgr)

    if frame_wh is not None:
        contract = replace(contract, frame_wh=frame_wh, output="class_map")
    known = known_answer_of(engine_of(pack(graph_of(network), contract, {})[0], "rt_s"))
    file = folder / "broken.onnx"
    file.write_bytes(pack(graph_of(without_weights(network)), contract, {}, known)[0])
    return file


@pytest.mark.parametrize("frame_wh", [None, (1280, 720), (0, 0)], ids=str)
@pytest.mark.parametrize("engine_name", ["onnx", "openvino-f32"])
def test_engine_that_computes_something_else_is_refused(
    engine_name: str, frame_wh: tuple[int, int] | None, tmp_path: Path
) -> None:
    file = broken(tmp_path, frame_wh)

    with pytest.raises(
        EngineError, match=r"does not give its known answer on .*mean IoU 0\.\d\d.*0\.85.*; run it"
    ):
        engine_or_skip(engine_name, file)


def test_node_ends_in_one_line_and_publishes_nothing(
    tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    records = tmp_path / "records.jsonl"

    status = main(["--model", str(broken(tmp_path, None)), "--max_frames", "3", "--jsonl", str(records)])

    assert status == 1
    assert "does not give its known answer on cpu" in only_error_line("drivable-node")
    assert not records.exists()


def test_file_without_an_answer_runs_and_the_node_says_that_it_was_not_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = unpack(model_file("rt_s"))
    file = tmp_path / "old.onnx"
    file.write_bytes(pack(packed.graph, packed.contract, packed.card)[0])

    assert main(["--model", str(file), "--max_frames", "3"]) == 0

    assert capsys.readouterr().err.count("not verified by a known answer") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"picture_png": "no base64"},
        {"class_map_png": "AAAA"},
        {"picture_png": png(np.zeros((2, 5000, 3), np.uint8))},
        {"picture_png": base64.b64encode(cv2.imencode(".bmp", np.zeros((9, 9, 3), np.uint8))[1]).decode()},
        {"picture_png": png(np.zeros((9, 9, 3), np.uint8))[:-40]},
        {"confidence": "much"},
        {"confidence": None},
    ],
)
def test_answer_that_is_damaged_is_refused_in_one_line(change: dict[str, Any]) -> None:
    packed = unpack(model_file("rt_s"))
    assert packed.known is not None
    text = json.dumps(json.loads(packed.known.to_json()) | change)

    with pytest.raises(ValueError, match=r"^rt_s: the known answer in the file is damaged: [^\n]*$"):
        KnownAnswer.from_json(text, packed.contract, "rt_s")


def test_classes_that_the_network_does_not_know_are_refused() -> None:
    packed = unpack(model_file("rt_s"))
    assert packed.known is not None
    strange = replace(packed.known, class_map=np.full_like(packed.known.class_map, 200))

    with pytest.raises(ValueError, match="for another graph"):
        KnownAnswer.from_json(strange.to_json(), packed.contract, "rt_s")


def test_answer_of_another_graph_is_refused() -> None:
    known = known_of(model_file("rt_s"))
    contract: ModelContract = unpack(model_file("rt_l")).contract

    with pytest.raises(ValueError, match="for another graph"):
        KnownAnswer.from_json(known.to_json(), contract, "rt_l")
