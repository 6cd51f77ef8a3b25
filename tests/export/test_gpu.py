"""The GPU graph sees and says what the node does on the CPU around the same network."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

pytest.importorskip("torch")

from export.gpu import gpu_graph
from export.package import ExportError
from perception.imaging.letterbox import Letterbox, letterbox, nearest
from perception.inference.contract import ANY_SIZE
from perception.inference.predictor import postprocess
from perception.labels import BACKGROUND, LABELS, LABELS_OF_TWO
from perception.synthetic import DriveRenderer

INPUT_WH = (640, 384)
PAD_BGR = (103, 116, 124)
SIZES_WH = [
    (1280, 720),
    (640, 360),
    (640, 384),
    (1920, 1080),
    (960, 540),
    (800, 600),
    (1283, 721),
    (321, 481),
    (320, 180),
    (1, 1),
]


def session_of(graph: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


def network(classes: int, output: str = "logits", opset: int = 18) -> onnx.ModelProto:
    """One convolution: logits at stride 8 that follow the mean colour of each patch of the frame."""
    by_colour = np.random.default_rng(1).normal(0, 0.002, (classes, 3, 1, 1)).astype(np.float32)
    weights = np.tile(by_colour, (1, 1, 8, 8))
    width, height = INPUT_WH
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["frame"], ["upright"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["upright"], ["pixels"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Sub", ["pixels", "pad"], ["centred"]),
            helper.make_node("Conv", ["centred", "weights"], [output], strides=[8, 8], kernel_shape=[8, 8]),
        ],
        "network",
        [helper.make_tensor_value_info("frame", onnx.TensorProto.UINT8, [1, height, width, 3])],
        [
            helper.make_tensor_value_info(
                output, onnx.TensorProto.FLOAT, [1, classes, height // 8, width // 8]
            )
        ],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.float32(116), "pad"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


PLACED = "gpu/preprocess/placed"


def with_placed(graph: onnx.ModelProto) -> onnx.ModelProto:
    """`graph`, which also gives the network's input, (1, 3, h, w) levels as floats."""
    width, height = INPUT_WH
    placed = helper.make_tensor_value_info(PLACED, onnx.TensorProto.FLOAT, [1, 3, height, width])
    graph.graph.output.append(placed)
    return graph


def as_image(placed: np.ndarray) -> np.ndarray:
    levels = placed[0].astype(np.uint8)
    np.testing.assert_array_equal(levels, placed[0])  # they are whole
    return levels.transpose(1, 2, 0)


@pytest.fixture(scope="module")
def picture_bgr() -> np.ndarray:
    return DriveRenderer("mixed").render(200)[0]


@pytest.fixture(scope="module")
def logits_session() -> ort.InferenceSession:
    return session_of(network(3))


@pytest.fixture(scope="module")
def any_size_session() -> ort.InferenceSession:
    graph = gpu_graph(network(3), LABELS, INPUT_WH, ANY_SIZE, PAD_BGR)
    return session_of(with_placed(graph))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("frame_wh", SIZES_WH, ids=str)
def test_graph_for_one_size_or_any_agrees_with_the_nodes_own_steps(
    frame_wh: tuple[int, int],
    picture_bgr: np.ndarray,
    logits_session: ort.InferenceSession,
    any_size_session: ort.InferenceSession,
) -> None:
    frame_bgr = np.asarray(cv2.resize(picture_bgr, frame_wh), np.uint8)
    placed_bgr, box = letterbox(frame_bgr, INPUT_WH, PAD_BGR)
    logits = logits_session.run(None, {"frame": placed_bgr[np.newaxis]})[0][0]
    wanted = postprocess(logits, box)
    graph = gpu_graph(network(3), LABELS, INPUT_WH, frame_wh, PAD_BGR)
    one_size = session_of(with_placed(graph))

    for session in (one_size, any_size_session):
        class_map, _, placed = session.run(None, {"frame": frame_bgr[np.newaxis]})
        found = class_map[0][box.rows, box.columns]
        if box.frame_wh[0] < box.content_wh[0]:
            found = nearest(found, box.frame_wh)

        assert np.abs(as_image(placed).astype(int) - placed_bgr).max() <= 1
        assert np.mean(found == wanted) >= 0.999


@pytest.mark.parametrize("frame_wh", [(1280, 720), (640, 360), (640, 384)], ids=str)
def test_whole_shrinks_are_exact_to_the_byte(frame_wh: tuple[int, int]) -> None:
    noise_bgr = np.random.default_rng(0).integers(0, 256, (frame_wh[1], frame_wh[0], 3), np.uint8)
    graph = gpu_graph(network(3), LABELS, INPUT_WH, frame_wh, PAD_BGR)
    session = session_of(with_placed(graph))

    placed = session.run([PLACED], {"frame": noise_bgr[np.newaxis]})[0]

    np.testing.assert_array_equal(as_image(placed), letterbox(noise_bgr, INPUT_WH, PAD_BGR)[0])


@pytest.mark.parametrize("frame_wh", [(1280, 720), (960, 540)], ids=str)
def test_known_size_leaves_no_shape_and_no_branch_to_run_time(frame_wh: tuple[int, int]) -> None:
    graph = gpu_graph(network(3), LABELS, INPUT_WH, frame_wh, PAD_BGR)

    kinds = {node.op_type for node in graph.graph.node}
    assert not kinds & {"Shape", "Range", "If", "Loop", "Scan", "NonMaxSuppression"}
    inferred = onnx.shape_inference.infer_shapes(graph, strict_mode=True)
    assert all(
        dim.dim_value > 0 for value in inferred.graph.value_info for dim in value.type.tensor_type.shape.dim
    )


@pytest.mark.parametrize("head", [("Transpose", "Cast"), ("Cast", "Transpose")])
def test_network_stands_inside_as_it_was_but_for_its_reading_of_bytes(head: tuple[str, str]) -> None:
    inside = network(3)
    if head[0] == "Cast":
        cast_first(inside)
    before = onnx.ModelProto()
    before.CopyFrom(inside)

    graph = gpu_graph(inside, LABELS, INPUT_WH, (1280, 720), PAD_BGR)

    own = [
        node for node in graph.graph.node if not node.name.startswith(("gpu/preprocess/", "gpu/postprocess/"))
    ]
    assert tuple(node.op_type for node in inside.graph.node[:2]) == head
    assert [node.op_type for node in own] == [node.op_type for node in inside.graph.node[2:]]
    assert [list(node.output) for node in own] == [list(node.output) for node in inside.graph.node[2:]]
    assert inside == before


def cast_first(graph: onnx.ModelProto) -> None:
    transpose, cast = graph.graph.node[:2]
    cast.input[0], transpose.input[0] = transpose.input[0], "levels"
    transpose.output[0], cast.output[0] = cast.output[0], "levels"
    first, second = onnx.NodeProto(), onnx.NodeProto()
    first.CopyFrom(cast)
    second.CopyFrom(transpose)
    graph.graph.node[0].CopyFrom(first)
    graph.graph.node[1].CopyFrom(second)


def test_network_of_another_order_of_colours_reads_floats_in_that_order() -> None:
    """As `drivable-export wrap` begins a network of RGB."""
    inside = network(3)
    inside.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "backwards"))
    inside.graph.node.insert(1, helper.make_node("Gather", ["upright", "backwards"], ["rgb"], axis=1))
    inside.graph.node[2].input[0] = "rgb"
    image_bgr = np.random.default_rng(0).integers(0, 256, (INPUT_WH[1], INPUT_WH[0], 3), np.uint8)

    found = session_of(gpu_graph(inside, LABELS, INPUT_WH, INPUT_WH, PAD_BGR)).run(
        ["class_map"], {"frame": image_bgr[np.newaxis]}
    )[0]

    image_rgb = np.ascontiguousarray(image_bgr[..., ::-1])
    wanted = session_of(gpu_graph(network(3), LABELS, INPUT_WH, INPUT_WH, PAD_BGR)).run(
        ["class_map"], {"frame": image_rgb[np.newaxis]}
    )[0]
    np.testing.assert_array_equal(found, wanted)


def test_network_that_computes_with_bytes_is_refused() -> None:
    inside = network(3)
    inside.graph.node[0].op_type = "MaxPool"

    with pytest.raises(ExportError, match="reads bytes with MaxPool; for target gpu it must convert"):
        gpu_graph(inside, LABELS, INPUT_WH, INPUT_WH, PAD_BGR)


@pytest.mark.parametrize(
    ("labels", "ids"), [(LABELS, [0, 1, 2]), (LABELS_OF_TWO, [3, 2])], ids=["three", "two"]
)
def test_class_ids_are_those_of_the_labels(labels: tuple[str, ...], ids: list[int]) -> None:
    inside = network(len(labels))
    graph = gpu_graph(inside, labels, INPUT_WH, INPUT_WH, PAD_BGR)
    image_bgr = np.random.default_rng(0).integers(0, 256, (INPUT_WH[1], INPUT_WH[0], 3), np.uint8)

    class_map, confidence = session_of(graph).run(None, {"frame": image_bgr[np.newaxis]})

    logits = session_of(inside).run(None, {"frame": image_bgr[np.newaxis]})[0][0]
    planes = np.stack([cv2.resize(plane, INPUT_WH) for plane in logits])
    np.testing.assert_array_equal(class_map[0], np.array(ids)[planes.argmax(0)])
    powers = np.exp(planes - planes.max(0))
    assert np.abs(confidence[0] - 255 * (powers / powers.sum(0)).max(0)).max() <= 0.51


@pytest.mark.parametrize("labels", [LABELS, LABELS_OF_TWO], ids=["three", "two"])
def test_background_wins_where_logits_are_equal(labels: tuple[str, ...]) -> None:
    graph = gpu_graph(network(len(labels)), labels, INPUT_WH, INPUT_WH, PAD_BGR)
    grey_bgr = np.full((INPUT_WH[1], INPUT_WH[0], 3), 116, np.uint8)  # every logit becomes 0

    class_map, confidence = session_of(graph).run(None, {"frame": grey_bgr[np.newaxis]})

    assert (class_map == BACKGROUND).all()
    assert (confidence == round(255 / len(labels) + 0.01)).all()


def test_logits_that_are_no_numbers_have_confidence_zero() -> None:
    inside = network(3)
    pad = next(tensor for tensor in inside.graph.initializer if tensor.name == "pad")
    pad.CopyFrom(numpy_helper.from_array(np.float32(np.nan), "pad"))
    graph = gpu_graph(inside, LABELS, INPUT_WH, INPUT_WH, PAD_BGR)

    image_bgr = np.zeros((INPUT_WH[1], INPUT_WH[0], 3), np.uint8)
    class_map, confidence = session_of(graph).run(None, {"frame": image_bgr[np.newaxis]})

    assert (confidence == 0).all()
    assert (class_map == BACKGROUND).all()


@pytest.mark.parametrize(("opset", "output"), [(13, "logits"), (20, "logits"), (18, "other_name")])
def test_network_of_another_opset_or_with_another_output_name_fits_in(opset: int, output: str) -> None:
    graph = gpu_graph(network(3, output, opset), LABELS, INPUT_WH, (1280, 720), PAD_BGR)

    assert [value.name for value in graph.graph.input] == ["frame"]
    assert [value.name for value in graph.graph.output] == ["class_map", "confidence"]
    frame_bgr = np.zeros((1, 720, 1280, 3), np.uint8)
    assert session_of(graph).run(None, {"frame": frame_bgr})[0].shape == (1, INPUT_WH[1], INPUT_WH[0])


def test_letterbox_in_the_graph_rounds_as_python_does() -> None:
    graph = gpu_graph(network(3), LABELS, INPUT_WH, ANY_SIZE, PAD_BGR)
    graph.graph.output.append(
        helper.make_tensor_value_info("gpu/preprocess/pads", onnx.TensorProto.INT64, [8])
    )
    session = session_of(graph)

    for frame_wh in [(64, 35), (128, 71), (97, 400), (7, 3), (333, 222), (3, 1)]:
        box = Letterbox.fit(frame_wh, INPUT_WH)
        pads = session.run(
            ["gpu/preprocess/pads"], {"frame": np.zeros((1, frame_wh[1], frame_wh[0], 3), np.uint8)}
        )[0]
        assert [pads[2], pads[3]] == [box.top_px, box.left_px]
        content_wh = (INPUT_WH[0] - pads[3] - pads[7], INPUT_WH[1] - pads[2] - pads[6])
        assert content_wh == box.content_wh
