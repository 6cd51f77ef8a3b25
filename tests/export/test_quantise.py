"""The int8 graph says what the float graph says, in integers wherever that is as good."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch")

from export.quantise import METHODS, Quantised, quantise

WIDTH, HEIGHT = 64, 48
GREY, IMAGENET = [116.0], [103.53, 116.28, 123.675]


def network(
    mean: list[float], activation: str = "Clip", logits_bias: tuple[float, float, float] = (0, 0, 0)
) -> onnx.ModelProto:
    """A stem, a depthwise layer around a shortcut, a coarser level joined again, and three classes."""
    random = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {
        "mean": np.array(mean, np.float32).reshape(1, -1, 1, 1),
        "lowest": np.array(0, np.float32),
        "highest": np.array(6, np.float32),
        "size": np.array([1, 16, HEIGHT // 2, WIDTH // 2], np.int64),
    }
    nodes = [
        helper.make_node("Transpose", ["frame"], ["upright"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["upright"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "mean"], ["centred"]),
    ]

    def conv(name: str, source: str, shape: tuple[int, int, int, int], scale: float, **settings: int) -> str:
        spread = scale / np.sqrt(np.prod(shape[1:]))
        constants[f"model.{name}.weight"] = random.normal(0, spread, shape).astype(np.float32)
        constants[f"model.{name}.bias"] = random.normal(0, 0.3, shape[0]).astype(np.float32)
        nodes.append(
            helper.make_node(
                "Conv",
                [source, f"model.{name}.weight", f"model.{name}.bias"],
                [name],
                strides=[settings.get("stride", 1)] * 2,
                pads=[shape[2] // 2] * 4,
                group=settings.get("group", 1),
            )
        )
        return name

    def active(source: str) -> str:
        limits = ["lowest", "highest"] if activation == "Clip" else []
        nodes.append(helper.make_node(activation, [source, *limits], [f"{source}/active"]))
        return f"{source}/active"

    fine = active(conv("stem", "centred", (16, 3, 3, 3), 0.03, stride=2))
    deep = conv("depthwise", fine, (16, 1, 3, 3), 1.5, group=16)
    nodes.append(helper.make_node("Add", [fine, active(deep)], ["shortcut"]))
    coarse = active(conv("coarse", "shortcut", (16, 16, 3, 3), 1.5, stride=2))
    nodes.append(
        helper.make_node(
            "Resize",
            [coarse, "", "", "size"],
            ["wide"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
    )
    nodes.append(helper.make_node("Concat", ["shortcut", "wide"], ["both"], axis=1))
    conv("body", "both", (16, 32, 3, 3), 1.5, stride=2)
    conv("classify", active("body"), (3, 16, 1, 1), 1.5)
    constants["model.classify.bias"] += np.array(logits_bias, np.float32)
    nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, HEIGHT // 4, WIDTH // 4])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def pictures(count: int, seed: int) -> list[np.ndarray]:
    """Noise of many coarsenesses: ranges of one picture hold for the others, as with real frames."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        side = (2, 4, 8)[index % 3]
        blocks = random.integers(0, 256, (HEIGHT // side, WIDTH // side, 3), np.uint8)
        found.append(np.kron(blocks, np.ones((side, side, 1), np.uint8)))
    return found


def int8(model: onnx.ModelProto) -> Quantised:
    return next(quantise(model, pictures(9, 1), pictures(5, 2), lambda line: None))


def logits_of(model: onnx.ModelProto, image_bgr: np.ndarray, *, optimised: bool = True) -> np.ndarray:
    options = ort.SessionOptions()
    # As on x86 with VNNI: without it the fast kernels saturate at 16 bits, and no CPU is tested here.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(["logits"], {"frame": image_bgr[np.newaxis]})[0][0]
    return logits


def makers_of(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {output: node for node in model.graph.node for output in node.output}


@pytest.fixture(scope="module")
def quantised() -> Quantised:
    return int8(network(GREY))


@pytest.fixture(scope="module")
def all_int8() -> onnx.ModelProto:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.quantise.MAX_FLOAT_SHARE", 0)
        return int8(network(GREY)).graph


@pytest.mark.parametrize(
    ("mean", "activation"), [(GREY, "Clip"), (GREY, "Relu"), (GREY, "HardSwish"), (IMAGENET, "Clip")]
)
def test_int8_graph_gives_what_the_float_graph_gives(mean: list[float], activation: str) -> None:
    model = network(mean, activation)
    found = int8(model)

    for image_bgr in pictures(3, 3):
        wanted, given = logits_of(model, image_bgr), logits_of(found.graph, image_bgr)
        assert np.mean(wanted.argmax(0) == given.argmax(0)) >= 0.97
        assert np.abs(wanted - given).mean() < 0.04 * wanted.std()  # seen: 0.030 at most


def test_result_tells_how_it_was_made(quantised: Quantised) -> None:
    assert quantised.method in METHODS
    assert quantised.graph.graph.input == network(GREY).graph.input
    assert [output.name for output in quantised.graph.graph.output] == ["logits"]


def test_every_choice_of_ranges_is_offered_once_the_closest_first() -> None:
    said: list[str] = []

    offered = list(quantise(network(GREY), pictures(4, 1), pictures(2, 2), said.append))

    assert {found.method for found in offered} == set(METHODS)
    assert len(offered) == len(METHODS)
    errors = [
        float(line.split("differ by ")[1].split()[0]) for line in said if line.startswith("calibrated to ")
    ]
    assert errors == sorted(errors)


def test_bytes_of_the_frame_are_the_first_layers_input(all_int8: onnx.ModelProto) -> None:
    kinds = [node.op_type for node in all_int8.graph.node]
    stem = next(node for node in all_int8.graph.node if node.op_type == "Conv")
    dequantise = makers_of(all_int8)[stem.input[0]]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in all_int8.graph.initializer}

    assert not {"Sub", "Cast"} & set(kinds)
    assert dequantise.op_type == "DequantizeLinear"
    assert [constants[name].item() for name in dequantise.input[1:]] == [1.0, 116]


def test_mean_of_other_than_one_whole_number_is_still_taken_away_in_float() -> None:
    found = int8(network(IMAGENET))

    assert [node.op_type for node in found.graph.graph.node].count("Sub") == 1


def test_weights_are_int8_by_channel_and_activations_uint8(all_int8: onnx.ModelProto) -> None:
    makers = makers_of(all_int8)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in all_int8.graph.initializer}

    convs = [node for node in all_int8.graph.node if node.op_type == "Conv"]
    for conv in convs:
        values, scales, _ = (constants[name] for name in makers[conv.input[1]].input)
        assert (values.dtype, scales.shape) == (np.int8, (len(values),))
        assert constants[makers[conv.input[0]].input[2]].dtype == np.uint8
    assert len(convs) == 5


def test_nothing_computes_in_float_between_integers(all_int8: onnx.ModelProto) -> None:
    makers = makers_of(all_int8)
    for node in all_int8.graph.node:
        if node.op_type in ("Conv", "Add", "Resize", "Concat"):
            readers = [reader for reader in all_int8.graph.node if node.output[0] in reader.input]
            assert {reader.op_type for reader in readers} == {"QuantizeLinear"}
            assert makers[node.input[0]].op_type == "DequantizeLinear"
    assert not {"Clip", "Relu"} & {node.op_type for node in all_int8.graph.node}


def test_layer_that_256_steps_are_too_coarse_for_stays_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    # One class lies so far below that an int8 step is larger than what parts the other two.
    model = network(GREY, logits_bias=(0, 0, -2000))

    found = int8(model)
    monkeypatch.setattr("export.quantise.MAX_FLOAT_SHARE", 0)
    without = int8(model)

    assert (found.kept_in_float, without.kept_in_float) == (("classify",), ())
    images = pictures(3, 3)
    wanted, given, coarse = (
        np.stack([logits_of(graph, image) for image in images]).argmax(1)
        for graph in (model, found.graph, without.graph)
    )
    assert np.mean(wanted != given) < 0.3 * np.mean(wanted != coarse)


def test_layer_in_float_is_not_quantised_by_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.quantise.MAX_FLOAT_SHARE", 1.0)
    monkeypatch.setattr("export.quantise.MIN_GAIN", -100.0)  # every layer stays, whatever it costs
    model = network(GREY)
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "model.depthwise.weight")
    unlike = numpy_helper.to_array(weights) * np.logspace(-3, 0, 16, dtype=np.float32).reshape(-1, 1, 1, 1)
    weights.CopyFrom(numpy_helper.from_array(unlike, weights.name))  # one scale fits no two channels

    found = int8(model)

    assert len(found.kept_in_float) == 5
    for image_bgr in pictures(3, 3):
        as_written = logits_of(found.graph, image_bgr, optimised=False)
        optimised = logits_of(found.graph, image_bgr)
        assert np.abs(as_written - optimised).mean() < 0.002 * as_written.std()


def test_same_frames_give_the_same_graph(quantised: Quantised) -> None:
    again = int8(network(GREY))

    assert again.graph.SerializeToString(deterministic=True) == quantised.graph.SerializeToString(
        deterministic=True
    )


def test_float_graph_is_left_as_it_was_and_nothing_but_our_lines_is_said(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model, said = network(GREY), []

    with caplog.at_level(logging.INFO):
        list(quantise(model, pictures(3, 1), pictures(2, 2), said.append))

    assert model == network(GREY)
    assert said[0] == "calibrated on 3 frames"
    assert said[1].startswith("calibrated to ")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
