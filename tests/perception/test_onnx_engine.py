"""OnnxEngine: models made here, packed as the exporter packs them; only what is whole and ours is run."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, get_ident
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.package import pack
from perception.inference.contract import METADATA_KEY, ModelContract
from perception.inference.engines import EngineError, OnnxEngine, cuda
from perception.inference.engines import onnx as engine_module
from perception.labels import LABELS_OF_TWO

INPUT_WH = (64, 32)
STRIDE = 8


def tiny_graph(input_wh: tuple[int, int] = INPUT_WH, classes: int = 3) -> onnx.ModelProto:
    """(1, H, W, 3) uint8 to (1, classes, H / 8, W / 8) logits: one random convolution and an average."""
    width, height = input_wh
    weights = np.random.default_rng(0).normal(size=(classes, 3, 2, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["floats", "weights"], ["features"], strides=[2, 2]),
        helper.make_node("AveragePool", ["features"], ["logits"], kernel_shape=[4, 4], strides=[4, 4]),
    ]
    logits_shape = [1, classes, height // STRIDE, width // STRIDE]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits_shape)],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def nan_graph() -> onnx.ModelProto:
    """A network whose logits are 0 / 0 where the image is black."""
    model = tiny_graph()
    model.graph.node[-1].output[0] = "pooled"
    model.graph.node.append(helper.make_node("Div", ["pooled", "pooled"], ["logits"]))
    return model


def contract_of(**values: Any) -> ModelContract:
    known: dict[str, Any] = {
        "model_id": "tiny-1",
        "labels": ("direct", "alternative", "background"),
        "input_wh": INPUT_WH,
        "pad_bgr": (116, 116, 116),
        "output_stride": STRIDE,
        "training_data": "none",
        "licence": "Apache-2.0",
    }
    return ModelContract(**(known | values))


def packed(graph: onnx.ModelProto | None = None, **values: Any) -> bytes:
    return pack(graph or tiny_graph(), contract_of(**values), {})[0]


def written(folder: Path, content: bytes) -> Path:
    file = folder / "tiny.onnx"
    file.write_bytes(content)
    return file


def frames(count: int) -> list[np.ndarray]:
    chance = np.random.default_rng(1)
    return [chance.integers(0, 256, (INPUT_WH[1], INPUT_WH[0], 3), np.uint8) for _ in range(count)]


def test_packed_model_loads_with_its_contract(tmp_path: Path) -> None:
    engine = OnnxEngine(written(tmp_path, packed()), "cpu")

    assert engine.contract.model_id == "tiny-1"
    assert engine.contract.input_wh == INPUT_WH
    assert (engine.provider, engine.state) == ("cpu", "ok")


def test_logits_are_those_of_the_network(tmp_path: Path) -> None:
    (frame,) = frames(1)

    logits = OnnxEngine(written(tmp_path, packed()), "cpu").infer(frame)

    weights = numpy_helper.to_array(tiny_graph().graph.initializer[0])
    patches = frame.reshape(16, 2, 32, 2, 3).astype(np.float32)
    features = np.einsum("yaxbc,kcab->kyx", patches, weights)
    expected = features.reshape(3, 4, 4, 8, 4).mean((2, 4))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_number_of_threads_does_not_change_the_logits(tmp_path: Path, threads: int) -> None:
    file = written(tmp_path, packed())
    (frame,) = frames(1)

    logits = OnnxEngine(file, "cpu", threads=threads).infer(frame)

    np.testing.assert_array_equal(logits, OnnxEngine(file, "cpu").infer(frame))


def test_two_threads_get_the_same_as_one(tmp_path: Path) -> None:
    engine = OnnxEngine(written(tmp_path, packed()), "cpu", threads=1)
    images = frames(20)
    alone = [engine.infer(image) for image in images]
    both_are_there = Barrier(2, timeout=5)

    def infer_all() -> list[np.ndarray]:
        both_are_there.wait()
        return [engine.infer(image) for image in images]

    with ThreadPoolExecutor(2) as pool:
        together = [pool.submit(infer_all) for _ in range(2)]

    for results in together:
        np.testing.assert_array_equal(results.result(timeout=5), alone)


def test_logits_stay_the_same_after_the_next_inference(tmp_path: Path) -> None:
    engine = OnnxEngine(written(tmp_path, packed()), "cpu")
    first, second = frames(2)
    logits = engine.infer(first)
    before = logits.copy()

    engine.infer(second)

    np.testing.assert_array_equal(logits, before)


def test_onnx_file_without_a_contract_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, tiny_graph().SerializeToString())

    with pytest.raises(
        EngineError, match=r"tiny.onnx: an ONNX file without a drivable contract, .*`drivable-export wrap "
    ):
        OnnxEngine(file, "cpu")


def foreign_contract() -> bytes:
    model = tiny_graph()
    model.metadata_props.add(key=METADATA_KEY, value='{"model_id": "other"}')
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(lambda: b"", "not a model that ONNX Runtime can load", id="empty"),
        pytest.param(lambda: b"not a model " * 50, "not a model that ONNX Runtime can load", id="garbage"),
        pytest.param(lambda: bytes(5000), "not a model that ONNX Runtime can load", id="zeros"),
        pytest.param(lambda: packed()[:300], "not a model that ONNX Runtime can load", id="cut in the graph"),
        pytest.param(lambda: packed()[:-20], "not a model that ONNX Runtime can load", id="cut at the end"),
        pytest.param(lambda: packed() + b"x", "not a model that ONNX Runtime can load", id="appended"),
        pytest.param(foreign_contract, "the model contract lacks the field", id="contract of another kind"),
    ],
)
def test_file_that_is_no_model_is_refused(tmp_path: Path, content: Callable[[], bytes], reason: str) -> None:
    file = written(tmp_path, content())

    with pytest.raises(EngineError, match=f"tiny.onnx: {reason}") as raised:
        OnnxEngine(file, "cpu")

    assert "\n" not in str(raised.value)


def test_nothing_is_printed_about_a_file_that_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(packed())
    content[40] ^= 0x80

    with pytest.raises(EngineError):
        OnnxEngine(written(tmp_path, bytes(content)), "cpu")

    assert capfd.readouterr() == ("", "")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"none.onnx: the model cannot be read: No such file"):
        OnnxEngine(tmp_path / "none.onnx", "cpu")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the model cannot be read: Is a directory"):
        OnnxEngine(tmp_path, "cpu")


def test_changed_byte_of_the_weights_is_found(tmp_path: Path) -> None:
    weights = numpy_helper.to_array(tiny_graph().graph.initializer[0]).tobytes()
    content = bytearray(packed())
    content[content.index(weights) + 5] ^= 1

    with pytest.raises(EngineError, match=r"tiny.onnx: the file was changed after it was exported"):
        OnnxEngine(written(tmp_path, bytes(content)), "cpu")


def test_changed_byte_of_the_contract_is_found(tmp_path: Path) -> None:
    content = packed().replace(b"tiny-1", b"tiny-2")

    with pytest.raises(EngineError, match=r"tiny.onnx: the file was changed after it was exported"):
        OnnxEngine(written(tmp_path, content), "cpu")


def test_no_changed_byte_gets_through(tmp_path: Path) -> None:
    whole = packed()
    chance = random.Random(3)
    for position in chance.sample(range(len(whole)), 150):
        content = bytearray(whole)
        content[position] ^= chance.choice((0x01, 0x10, 0x80))

        with pytest.raises(EngineError):
            OnnxEngine(written(tmp_path, bytes(content)), "cpu", threads=1)


def test_input_that_is_not_the_contracts_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, packed(tiny_graph((64, 40))))

    with pytest.raises(EngineError, match=r"takes \[1, 40, 64, 3\], its contract says \[1, 32, 64, 3\]"):
        OnnxEngine(file, "cpu")


@pytest.mark.parametrize(
    ("graph", "stride"), [(tiny_graph(classes=2), STRIDE), (tiny_graph(), 4)], ids=["classes", "stride"]
)
def test_output_that_is_not_the_contracts_is_refused(
    tmp_path: Path, graph: onnx.ModelProto, stride: int
) -> None:
    file = written(tmp_path, packed(graph, output_stride=stride))

    with pytest.raises(EngineError, match=r"the graph outputs \[1, .*its contract says \[1, 3, "):
        OnnxEngine(file, "cpu")


def test_logits_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    engine = OnnxEngine(written(tmp_path, packed(nan_graph())), "cpu")

    with pytest.raises(EngineError, match="tiny-1 gave logits that are not finite on cpu"):
        engine.infer(np.zeros((INPUT_WH[1], INPUT_WH[0], 3), np.uint8))


def test_two_classes_are_two_planes(tmp_path: Path) -> None:
    file = written(tmp_path, packed(tiny_graph(classes=2), labels=LABELS_OF_TWO))

    assert OnnxEngine(file, "cpu").infer(frames(1)[0]).shape == (2, 4, 8)


def test_logits_engine_is_not_asked_for_a_class_map(tmp_path: Path) -> None:
    engine = OnnxEngine(written(tmp_path, packed()), "cpu")

    with pytest.raises(EngineError, match=r"^tiny-1 outputs logits, not class_map$"):
        engine.segment(frames(1)[0])


def test_graph_that_takes_floats_is_refused(tmp_path: Path) -> None:
    graph = tiny_graph()
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT

    with pytest.raises(EngineError, match=r"takes tensor\(float\), its contract says tensor\(uint8\)"):
        OnnxEngine(written(tmp_path, packed(graph)), "cpu")


def test_input_of_another_shape_is_one_line(tmp_path: Path) -> None:
    engine = OnnxEngine(written(tmp_path, packed()), "cpu")

    with pytest.raises(EngineError, match=r"^tiny-1 does not run on cpu: [^\n]+$"):
        engine.infer(np.zeros((8, 8, 3), np.uint8))


class TestClassMaps:
    @pytest.mark.parametrize("frame_wh", [(128, 72), (0, 0)])
    def test_classifier_gives_ids_and_confidence_at_the_networks_size(
        self, make_classifier: Callable[..., Path], frame_wh: tuple[int, int]
    ) -> None:
        engine = OnnxEngine(make_classifier(frame_wh), "cpu")
        frame_bgr = np.zeros((72, 128, 3), np.uint8)
        frame_bgr[..., 1] = 200

        class_map, confidence = engine.segment(frame_bgr)

        assert (class_map.shape, confidence.shape) == ((48, 64), (48, 64))
        assert (class_map[24, 32], confidence[24, 32]) == (1, 200)
        assert (class_map.dtype, confidence.dtype) == (np.uint8, np.uint8)

    def test_graph_for_any_size_takes_one_after_the_other(self, make_classifier: Callable[..., Path]) -> None:
        engine = OnnxEngine(make_classifier((0, 0)), "cpu")

        for shape in ((72, 128, 3), (48, 64, 3), (101, 33, 3)):
            assert engine.segment(np.full(shape, 9, np.uint8))[0].shape == (48, 64)

    def test_frame_of_another_size_is_refused_with_both_sizes_and_what_to_do(
        self, make_classifier: Callable[..., Path]
    ) -> None:
        engine = OnnxEngine(make_classifier((128, 72)), "cpu")

        with pytest.raises(
            EngineError,
            match="takes only frames of 128x72, and this one is 64x48; "
            "export it with --frame 64x48 or --frame any, or use the file for the CPU",
        ):
            engine.segment(np.zeros((48, 64, 3), np.uint8))

    def test_confidence_of_nothing_is_an_error(self, make_classifier: Callable[..., Path]) -> None:
        engine = OnnxEngine(make_classifier((128, 72)), "cpu")
        frame_bgr = np.full((72, 128, 3), 9, np.uint8)
        frame_bgr[30:34, 60:64] = 0

        with pytest.raises(EngineError, match=r"^classifier-1 found no class for a part of the frame on cpu"):
            engine.segment(frame_bgr)

    def test_classifier_is_not_asked_for_logits(self, make_classifier: Callable[..., Path]) -> None:
        engine = OnnxEngine(make_classifier((128, 72)), "cpu")

        with pytest.raises(EngineError, match=r"^classifier-1 outputs class_map, not logits$"):
            engine.infer(np.zeros((72, 128, 3), np.uint8))

    @pytest.mark.parametrize(
        ("made_for_wh", "promised_wh", "message"),
        [
            ((128, 72), (128, 80), r"takes \[1, 72, 128, 3\], its contract says \[1, 80, 128, 3\]"),
            ((0, 0), (128, 72), r"takes \[1, 'H', 'W', 3\], its contract says \[1, 72, 128, 3\]"),
            ((128, 72), (0, 0), r"takes \[1, 72, 128, 3\], its contract says \[1, 'any', 'any', 3\]"),
        ],
    )
    def test_size_of_frame_that_is_not_the_contracts_is_refused(
        self,
        make_classifier: Callable[..., Path],
        make_graph: Callable[..., onnx.ModelProto],
        made_for_wh: tuple[int, int],
        promised_wh: tuple[int, int],
        message: str,
    ) -> None:
        with pytest.raises(EngineError, match=message):
            OnnxEngine(make_classifier(promised_wh, graph=make_graph(made_for_wh)), "cpu")

    def test_outputs_that_are_not_the_contracts_are_refused(
        self, make_classifier: Callable[..., Path], make_graph: Callable[..., onnx.ModelProto]
    ) -> None:
        swapped, single = make_graph((128, 72)), make_graph((128, 72))
        swapped.graph.output.reverse()
        del single.graph.output[1]

        with pytest.raises(
            EngineError, match="outputs confidence, class_map, its contract says class_map, conf"
        ):
            OnnxEngine(make_classifier((128, 72), graph=swapped), "cpu")
        with pytest.raises(EngineError, match="outputs 1 tensors, its contract says 2"):
            OnnxEngine(make_classifier((128, 72), graph=single), "cpu")

    def test_class_map_at_another_size_than_the_input_is_refused(
        self, make_classifier: Callable[..., Path], make_graph: Callable[..., onnx.ModelProto]
    ) -> None:
        file = make_classifier((128, 72), graph=make_graph((128, 72), input_wh=(32, 24)))

        with pytest.raises(EngineError, match=r"outputs \[1, 24, 32\], its contract says \[1, 48, 64\]"):
            OnnxEngine(file, "cpu")


class TestBoundBuffers:
    """The path of GPUs, on the CPU's memory."""

    @pytest.fixture(autouse=True)
    def cpu_as_a_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(engine_module.DEVICES, "cpu", "cpu")  # type: ignore[arg-type]

    def test_logits_are_those_of_a_plain_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = written(tmp_path, packed())
        bound = OnnxEngine(file, "cpu")
        monkeypatch.delitem(engine_module.DEVICES, "cpu")  # type: ignore[arg-type]
        plain = OnnxEngine(file, "cpu")

        assert (bound.runs_one_at_a_time, plain.runs_one_at_a_time) == (True, False)
        for frame in frames(5):
            np.testing.assert_array_equal(bound.infer(frame), plain.infer(frame))

    def test_class_maps_of_any_size_are_those_of_a_plain_run(
        self, make_classifier: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = make_classifier((0, 0))
        bound = OnnxEngine(file, "cpu")
        monkeypatch.delitem(engine_module.DEVICES, "cpu")  # type: ignore[arg-type]
        plain = OnnxEngine(file, "cpu")
        chance = np.random.default_rng(0)

        for shape in ((72, 128, 3), (72, 128, 3), (48, 64, 3), (72, 128, 3)):
            frame_bgr = chance.integers(0, 256, shape, np.uint8)
            for ours, theirs in zip(bound.segment(frame_bgr), plain.segment(frame_bgr), strict=True):
                np.testing.assert_array_equal(ours, theirs)

    def test_result_stays_the_same_after_the_next_inference(self, tmp_path: Path) -> None:
        engine = OnnxEngine(written(tmp_path, packed()), "cpu")
        first, second = frames(2)
        logits = engine.infer(first)
        before = logits.copy()

        assert not np.array_equal(engine.infer(second), before)
        np.testing.assert_array_equal(logits, before)

    def test_threads_do_not_mix_up_their_frames(self, tmp_path: Path) -> None:
        engine = OnnxEngine(written(tmp_path, packed()), "cpu", threads=1)
        images = frames(20)
        alone = [engine.infer(image) for image in images]

        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(engine.infer, images * 4))

        np.testing.assert_array_equal(together, alone * 4)

    def test_all_runs_are_in_one_thread(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = OnnxEngine(written(tmp_path, packed()), "cpu", threads=1)
        run, seen = ort.InferenceSession.run_with_iobinding, set()
        monkeypatch.setattr(
            ort.InferenceSession,
            "run_with_iobinding",
            lambda session, binding: (seen.add(get_ident()), run(session, binding)),
        )

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(engine.infer, frames(8)))
        engine.infer(frames(1)[0])

        assert len(seen) == 1
        assert get_ident() not in seen

    def test_strided_frame_is_taken_as_it_looks(self, tmp_path: Path) -> None:
        engine = OnnxEngine(written(tmp_path, packed()), "cpu")
        (frame,) = frames(1)

        np.testing.assert_array_equal(engine.infer(frame[::-1]), engine.infer(frame[::-1].copy()))

    def test_failure_is_one_line_and_the_next_frame_runs(self, tmp_path: Path) -> None:
        engine = OnnxEngine(written(tmp_path, packed()), "cpu")

        with pytest.raises(EngineError, match=r"^tiny-1 does not run on cpu: [^\n]+$"):
            engine.infer(np.zeros((8, 8, 3), np.uint8))

        assert engine.infer(frames(1)[0]).shape == (3, 4, 8)


class SessionWithoutGpu:
    """ONNX Runtime built for CUDA on a machine without a GPU, falling back quietly or by an error."""

    def __init__(self, raises: bool) -> None:
        self.asked: list[list[str]] = []
        self.raises = raises
        self._session = ort.InferenceSession

    def __call__(self, content: bytes, options: Any, providers: list[str], **others: Any) -> Any:
        if providers == ["CPUExecutionProvider"]:
            return self._session(content, options, providers=providers, **others)
        if providers[-1] != ("CPUExecutionProvider", {}):
            raise AssertionError("the CPU must always be there for what a GPU cannot run")
        self.asked.append([name for name, _ in providers])
        if self.raises:
            raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")
        return self._session(content, options, providers=["CPUExecutionProvider"], **others)


@pytest.fixture(params=[None, False, True], ids=["CPU build", "GPU build, quiet", "GPU build, raises"])
def without_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built_in = ["CPUExecutionProvider"]
    if request.param is not None:
        built_in = ["TensorrtExecutionProvider", "CUDAExecutionProvider", *built_in]
        monkeypatch.setattr(ort, "InferenceSession", SessionWithoutGpu(request.param))
        missing = None if request.param else "libcublasLt.so.13 is missing"
        monkeypatch.setattr(cuda, "why_not_loaded", lambda provider: missing)
    monkeypatch.setattr(ort, "get_available_providers", lambda: built_in)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("without_gpu")
class TestWithoutGpu:
    @pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
    def test_provider_that_was_asked_for_and_did_not_load_is_an_error(
        self, tmp_path: Path, provider: Any
    ) -> None:
        file = written(tmp_path, packed())

        with pytest.raises(
            EngineError, match=f"^provider {provider} did not load .* took cpu.*--provider cpu"
        ):
            OnnxEngine(file, provider)

    def test_reason_is_reported(self, tmp_path: Path) -> None:
        file = written(tmp_path, packed())
        stub = ort.InferenceSession
        raises = isinstance(stub, SessionWithoutGpu) and stub.raises

        with pytest.raises(EngineError) as raised:
            OnnxEngine(file, "cuda")

        assert ("no CUDA-capable device is detected" in str(raised.value)) == raises
        assert (
            raises
            or re.search(r"libcublasLt\.so\.\d+ is missing", str(raised.value))
            or "has no cuda" in str(raised.value)
        )
        assert "\n" not in str(raised.value)

    def test_graph_that_cannot_be_captured_is_tried_once_more_without(self, tmp_path: Path) -> None:
        OnnxEngine(written(tmp_path, packed()), "cuda", allow_fallback=True)

        stub = ort.InferenceSession
        if isinstance(stub, SessionWithoutGpu):
            once = [["CUDAExecutionProvider", "CPUExecutionProvider"]]
            assert stub.asked == once * (2 if stub.raises else 1)

    @pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
    def test_fallback_that_is_allowed_is_visible(self, tmp_path: Path, provider: Any) -> None:
        engine = OnnxEngine(written(tmp_path, packed()), provider, allow_fallback=True)

        assert (engine.provider, engine.state) == ("cpu", "fallback")

    def test_auto_takes_the_cpu_and_says_so(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        engine = OnnxEngine(written(tmp_path, packed()), "auto")

        assert (engine.provider, engine.state) == ("cpu", "ok")
        assert capfd.readouterr() == ("", "")

    def test_bad_file_is_reported_as_such(self, tmp_path: Path) -> None:
        with pytest.raises(EngineError, match=r"tiny.onnx: not a model that ONNX Runtime can load"):
            OnnxEngine(written(tmp_path, b"garbage"), "auto")
