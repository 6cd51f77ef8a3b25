"""The CPU graph is the network with its normalisation folded in; patches change nothing but the speed."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch")

from export.graph import cpu_graph, with_stem_in_patches  # noqa: E402
from export.package import OPSET  # noqa: E402

MEAN_BGR, STD_BGR = (104.0, 116.5, 123.675), (57.0, 58.0, 59.0)
INPUT_WH = (48, 32)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 3, 1),
    )
    body[1].running_mean.uniform_(-1, 1)
    body[1].running_var.uniform_(0.5, 2)
    return body.eval()


@pytest.fixture(scope="module")
def graph(model: torch.nn.Module) -> onnx.ModelProto:
    return cpu_graph(model, MEAN_BGR, STD_BGR, INPUT_WH)


def stem(kernel: int, stride: int, pad: int) -> onnx.ModelProto:
    """Begins as every graph of `cpu_graph` does."""
    width, height = INPUT_WH
    weights = np.random.default_rng(0).normal(0, 0.01, (8, 3, kernel, kernel)).astype(np.float32)
    body = helper.make_graph(
        [
            helper.make_node("Transpose", ["frame"], ["upright"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["upright"], ["pixels"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Sub", ["pixels", "mean"], ["centred"]),
            helper.make_node(
                "Conv", ["centred", "weights"], ["logits"], strides=[stride] * 2, pads=[pad] * 4
            ),
        ],
        "stem",
        [helper.make_tensor_value_info("frame", onnx.TensorProto.UINT8, [1, height, width, 3])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array(MEAN_BGR, np.float32).reshape(1, 3, 1, 1), "mean"),
        ],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def run(graph: onnx.ModelProto, image_bgr: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(["logits"], {"frame": image_bgr[np.newaxis]})[0]
    return logits


@pytest.fixture
def noise_bgr() -> np.ndarray:
    """Noise up to the very border: padding of the wrong colour would show."""
    return np.random.default_rng(0).integers(0, 256, (INPUT_WH[1], INPUT_WH[0], 3), np.uint8)


@pytest.mark.slow
def test_cpu_graph_takes_bytes_and_gives_the_logits_of_the_normalised_network(
    model: torch.nn.Module, graph: onnx.ModelProto, noise_bgr: np.ndarray
) -> None:
    normalised = (noise_bgr - np.array(MEAN_BGR, np.float32)) / np.array(STD_BGR, np.float32)
    with torch.inference_mode():
        wanted = model(torch.from_numpy(normalised.astype(np.float32)).permute(2, 0, 1)[None]).numpy()

    np.testing.assert_allclose(run(graph, noise_bgr), wanted, atol=1e-5)


@pytest.mark.slow
def test_cpu_graph_states_its_opset_and_holds_no_batch_norm(graph: onnx.ModelProto) -> None:
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}


@pytest.mark.slow
def test_stem_of_an_exported_network_is_read_in_patches(
    graph: onnx.ModelProto, noise_bgr: np.ndarray
) -> None:
    patched = with_stem_in_patches(graph)

    assert len(patched.graph.node) == len(graph.graph.node) + 3
    np.testing.assert_allclose(run(patched, noise_bgr), run(graph, noise_bgr), atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "taps"),
    [(3, 2, 1, 2), (4, 4, 0, 1), (7, 2, 3, 4), (5, 4, 2, 2), (1, 2, 0, 1)],
)
def test_stem_in_patches_gives_the_same_logits(
    kernel: int, stride: int, pad: int, taps: int, noise_bgr: np.ndarray
) -> None:
    graph = stem(kernel, stride, pad)

    patched = with_stem_in_patches(graph)

    onnx.checker.check_model(patched, full_check=True)
    weights = next(tensor for tensor in patched.graph.initializer if tensor.name == "weights")
    assert list(weights.dims) == [8, 3 * stride * stride, taps, taps]
    np.testing.assert_allclose(run(patched, noise_bgr), run(graph, noise_bgr), atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (3, 5, 1)])
def test_stem_that_does_not_fit_patches_is_left_as_it_is(kernel: int, stride: int, pad: int) -> None:
    graph = stem(kernel, stride, pad)

    assert with_stem_in_patches(graph) == graph
