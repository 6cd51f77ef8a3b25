"""Half precision changes how the network computes, and nothing that others see of it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

pytest.importorskip("torch")

from export.fp16 import to_fp16
from export.gpu import gpu_graph
from perception.inference.contract import ANY_SIZE
from perception.inference.zoo import model_file
from perception.labels import LABELS
from perception.synthetic import DriveRenderer

INPUT_WH, FRAME_WH, PAD_BGR = (640, 384), (640, 360), (116, 116, 116)
AROUND = ("gpu/preprocess/", "gpu/postprocess/")


@pytest.fixture(scope="module")
def cpu() -> onnx.ModelProto:
    return onnx.load(model_file("rt_m"))


@pytest.fixture(scope="module")
def whole(cpu: onnx.ModelProto) -> onnx.ModelProto:
    return gpu_graph(cpu, LABELS, INPUT_WH, FRAME_WH, PAD_BGR)


def session_of(graph: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def types_of(graph: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(graph, strict_mode=True).graph
    types = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    return types | {value.name: value.type.tensor_type.elem_type for value in values}


@pytest.mark.slow
@pytest.mark.parametrize("frame_wh", [FRAME_WH, ANY_SIZE], ids=str)
def test_shipped_network_in_half_precision_gives_the_same_classes(
    frame_wh: tuple[int, int], cpu: onnx.ModelProto
) -> None:
    graph = gpu_graph(cpu, LABELS, INPUT_WH, frame_wh, PAD_BGR)
    drive = DriveRenderer("mixed")
    float32, float16 = session_of(graph), session_of(to_fp16(graph))

    agreeing = []
    for index in (0, 300, 600):
        frame_bgr = drive.render(index)[0][np.newaxis]
        wanted, _ = float32.run(None, {"frame": frame_bgr})
        found, _ = float16.run(None, {"frame": frame_bgr})
        agreeing.append(np.mean(wanted == found))

    assert np.mean(agreeing) >= 0.999


def test_network_is_fp16_and_the_nodes_around_it_are_not(whole: onnx.ModelProto) -> None:
    fp16 = to_fp16(whole)

    types = types_of(fp16)
    for node in fp16.graph.node:
        if node.op_type == "Conv":
            assert {types[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}
        elif node.name.startswith(AROUND) or node.op_type == "Sub":
            assert TensorProto.FLOAT16 not in {types.get(name) for name in (*node.input, *node.output)}
    assert len(fp16.SerializeToString()) < 0.55 * len(whole.SerializeToString())


def test_inputs_and_outputs_stay_what_they_were(cpu: onnx.ModelProto, whole: onnx.ModelProto) -> None:
    for graph in (cpu, whole):
        fp16 = to_fp16(graph)

        assert list(fp16.graph.input) == list(graph.graph.input)
        assert list(fp16.graph.output) == list(graph.graph.output)


def test_fp16_network_can_be_put_into_the_gpu_graph(cpu: onnx.ModelProto, whole: onnx.ModelProto) -> None:
    around = gpu_graph(to_fp16(cpu), LABELS, INPUT_WH, FRAME_WH, PAD_BGR)

    frame_bgr = DriveRenderer("mixed").render(0)[0][np.newaxis]
    found, _ = session_of(around).run(None, {"frame": frame_bgr})
    wanted, _ = session_of(to_fp16(whole)).run(None, {"frame": frame_bgr})
    assert np.mean(found == wanted) >= 0.999


def test_graph_that_was_given_is_left_as_it_was(cpu: onnx.ModelProto) -> None:
    before = cpu.SerializeToString(deterministic=True)

    to_fp16(cpu)

    assert cpu.SerializeToString(deterministic=True) == before
