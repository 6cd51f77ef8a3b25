"""A wrapped external network gives the same results as its own file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from export.cli import main
from export.external_model import ExternalContract
from perception.cli_config import parse, shipped_config
from perception.inference.engines import OnnxEngine

SIZE_WH = (64, 32)
CONTRACT: dict[str, Any] = {
    "input": "pixels",
    "output": "road",
    "classes": {"drivable": [1], "background": [0]},
    "scale": 0.0078125,
    "mean": [0.9, 1.0, 1.1],
    "std": [0.5, 0.6, 0.7],
    "pad_bgr": [116, 116, 116],
    "training_data": "their roads",
    "licence": "MIT",
}
MakeExternal = Callable[..., Path]
WriteContract = Callable[..., str]


@pytest.fixture(autouse=True)
def _few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.frames.PARITY_FRAMES", 2)


@pytest.fixture
def make_external(tmp_path: Path) -> MakeExternal:
    """A function that writes a float network: a convolution to `road`, and one to `lines` beside it."""

    def make(
        layout: str = "NCHW", channels: int = 2, kernel: int = 1, softmax: bool = False, batch: int | str = 1
    ) -> Path:
        width, height = SIZE_WH
        random = np.random.default_rng(0)
        shape = (channels, 3, kernel, kernel)
        constants = {name: random.normal(size=shape).astype(np.float32) for name in ("w_road", "w_lines")}
        nodes, start = [], "pixels"
        if layout == "NHWC":
            nodes.append(helper.make_node("Transpose", ["pixels"], ["upright"], perm=[0, 3, 1, 2]))
            start = "upright"
        for name in ("road", "lines"):
            planes = f"{name}_planes" if softmax else name
            nodes.append(helper.make_node("Conv", [start, f"w_{name}"], [planes], strides=[kernel] * 2))
            if softmax:
                nodes.append(helper.make_node("Softmax", [planes], [name], axis=1))
        taken = [batch, 3, height, width] if layout == "NCHW" else [batch, height, width, 3]
        given = [batch, channels, height // kernel, width // kernel]
        graph = helper.make_graph(
            nodes,
            "theirs",
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, taken)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, given) for name in ("road", "lines")],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        file = tmp_path / "theirs.onnx"
        onnx.save(model, file)
        return file

    return make


@pytest.fixture
def write_contract(tmp_path: Path) -> WriteContract:
    def write(**values: Any) -> str:
        file = tmp_path / "theirs.yaml"
        file.write_text(yaml.safe_dump(CONTRACT | values))
        return str(file)

    return write


@pytest.mark.parametrize(
    ("external", "values"),
    [
        ({}, {}),
        ({"layout": "NHWC"}, {"layout": "NHWC"}),
        ({"kernel": 4}, {"colour_order": "BGR"}),
        ({"channels": 5}, {"classes": {"background": [4, 2], "direct": [0], "alternative": [3, 1]}}),
        ({"softmax": True}, {"gives": "scores"}),
    ],
    ids=["RGB", "NHWC", "BGR at stride 4", "merged channels", "scores"],
)
def test_wrapped_file_gives_the_results_of_the_external_one(
    external: dict[str, Any],
    values: dict[str, Any],
    make_external: MakeExternal,
    write_contract: WriteContract,
    tmp_path: Path,
) -> None:
    file, out = make_external(**external), tmp_path / "ours.onnx"
    said = CONTRACT | values

    assert main(["wrap", str(file), "--contract", write_contract(**values), "--out", str(out)]) == 0

    input_bgr = np.random.default_rng(1).integers(0, 256, (SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    image = input_bgr.astype(np.float64)
    if said.get("colour_order", "RGB") == "RGB":
        image = image[..., ::-1]
    pixels = ((image * said["scale"] - said["mean"]) / said["std"]).astype(np.float32)[np.newaxis]
    if said.get("layout", "NCHW") == "NCHW":
        pixels = pixels.transpose(0, 3, 1, 2)
    theirs = ort.InferenceSession(str(file)).run(["road"], {"pixels": np.ascontiguousarray(pixels)})[0][0]
    if said.get("gives") == "scores":
        theirs = np.log(theirs)
    engine = OnnxEngine(out, "cpu")
    wanted = [theirs[said["classes"][label]].max(0) for label in engine.contract.labels]
    np.testing.assert_allclose(engine.infer(input_bgr), wanted, atol=1e-4)
    assert engine.contract.output_stride == external.get("kernel", 1)
    assert (engine.contract.training_data, engine.contract.licence) == ("their roads", "MIT")
    assert engine.contract.labels == (
        ("direct", "alternative", "background") if len(wanted) == 3 else ("drivable", "background")
    )
    assert engine.is_proven
    graph = onnx.load(out).graph
    assert [output.name for output in graph.output] == ["logits"]
    assert not [tensor.name for tensor in graph.initializer if "lines" in tensor.name]
    assert "theirs.onnx" in out.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("external", "values", "expected", "message"),
    [
        ({}, {"input": "images"}, 1, "theirs.onnx: input is images, but the graph takes pixels"),
        ({}, {"output": "da"}, 1, "theirs.onnx: output is da, but the graph has road, lines"),
        (
            {},
            {"classes": {"drivable": [2], "background": [0]}},
            1,
            "classes.drivable names channel 2, but road has 2",
        ),
        (
            {},
            {"classes": {"road": [1], "background": [0]}},
            2,
            "classes names background, road; it must name",
        ),
        ({}, {"classes": {"drivable": [], "background": [0]}}, 2, "classes.drivable is empty"),
        ({}, {"layout": "NHWC"}, 1, "pixels has 64 channels in layout NHWC, not 3"),
        (
            {},
            {"colour": "RGB"},
            2,
            "theirs.yaml: line 6: unknown setting colour; the nearest known one is colour_order",
        ),
        ({}, {"std": [1, 0, 1]}, 2, "std is (1.0, 0.0, 1.0); no value can be 0"),
        ({"batch": "N"}, {}, 1, "pixels has the shape Nx3x32x64; only fixed shapes of one frame"),
        ({"batch": 2}, {}, 1, "only fixed shapes of one frame"),
    ],
)
def test_contract_that_is_not_the_graphs_is_refused_in_one_line(
    external: dict[str, Any],
    values: dict[str, Any],
    expected: int,
    message: str,
    make_external: MakeExternal,
    write_contract: WriteContract,
    tmp_path: Path,
    only_error_line: Callable[[str], str],
) -> None:
    out = tmp_path / "ours.onnx"

    status = main(
        ["wrap", str(make_external(**external)), "--contract", write_contract(**values), "--out", str(out)]
    )

    assert status == expected
    assert message in only_error_line("drivable-export")
    assert not out.exists()


def test_our_own_file_is_not_wrapped_again(
    make_file: Callable[..., Path], write_contract: WriteContract, only_error_line: Callable[[str], str]
) -> None:
    assert main(["wrap", str(make_file()), "--contract", write_contract()]) == 1
    assert "is one of our files already" in only_error_line("drivable-export")


@pytest.mark.parametrize("name", ["contracts/twinlitenet", "contracts/road_segmentation_adas_0001"])
def test_shipped_contract_is_a_whole_one(name: str) -> None:
    assert shipped_config(name) is not None

    contract = parse(ExternalContract, "wrap", "", ["--config", name])

    assert contract.labels == ("drivable", "background")
    assert contract.licence
