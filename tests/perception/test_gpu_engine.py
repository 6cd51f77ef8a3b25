"""A model on a GPU, without one: what is tried in turn, and what is said."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.known_answer import known_answer_of
from export.package import pack
from perception.inference.contract import ModelContract
from perception.inference.engines import EngineError, OnnxEngine, cuda
from perception.inference.engines import onnx as engine_module
from perception.inference.engines.gpu import nodes_by_provider
from perception.inference.engines.providers import session_entries
from perception.inference.engines.session import load_session

INPUT_WH = (64, 32)
STRIDE = 8
CUDA = "CUDAExecutionProvider"


def graph() -> onnx.ModelProto:
    """(1, 32, 64, 3) uint8 to (1, 3, 4, 8) logits."""
    width, height = INPUT_WH
    weights = np.random.default_rng(0).normal(size=(3, 3, STRIDE, STRIDE)).astype(np.float32)
    network = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "weights"], ["features"], strides=[STRIDE, STRIDE]),
            helper.make_node("Relu", ["features"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, 3])],
        [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT, [1, 3, height // STRIDE, width // STRIDE]
            )
        ],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.float32(0), "zero"),
        ],
    )
    return helper.make_model(network, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def contract(**values: Any) -> ModelContract:
    known: dict[str, Any] = {
        "model_id": "tiny-1",
        "labels": ("direct", "alternative", "background"),
        "input_wh": INPUT_WH,
        "pad_bgr": (0, 0, 0),
        "output_stride": STRIDE,
        "training_data": "none",
        "licence": "Apache-2.0",
    }
    return ModelContract(**(known | values))


def written(folder: Path, model: onnx.ModelProto | None = None, **values: Any) -> Path:
    file = folder / "tiny.onnx"
    file.write_bytes(pack(model or graph(), contract(**values), {})[0])
    return file


class Gpu:
    """ONNX Runtime with a CUDA provider that computes on the CPU, and fails as it is asked to."""

    def __init__(self, fails_at_run: Callable[[bool], str | None]) -> None:
        self.computes = True
        self.captured: list[bool] = []
        """Of each session on it, whether a graph is captured."""
        self.nodes = [(CUDA, 1), (CUDA, 3)]
        """Of the parts that the graph is cut into: what runs them, and how many nodes they have."""
        gpu, made_by = self, ort.InferenceSession

        class Session(made_by):  # type: ignore[misc, valid-type]
            def __init__(self, content: bytes, options: Any, providers: list[Any], **others: Any) -> None:
                super().__init__(content, options, providers=["CPUExecutionProvider"], **others)
                self._cuda: dict[str, str] | None = None
                if providers[0] != "CPUExecutionProvider":
                    self._cuda = providers[0][1]
                    gpu.captured.append(self._cuda["enable_cuda_graph"] == "1")

            def get_providers(self) -> list[str]:
                return [CUDA, "CPUExecutionProvider"] if self._cuda else ["CPUExecutionProvider"]

            def get_provider_graph_assignment_info(self) -> list[Any]:
                return [
                    SimpleNamespace(ep_name=name, get_nodes=lambda count=count: list(range(count)))
                    for name, count in gpu.nodes
                ]

            def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
                assert self._cuda is not None
                failure = fails_at_run(self._cuda["enable_cuda_graph"] == "1")
                if failure:
                    raise RuntimeError(failure)
                if gpu.computes:
                    super().run_with_iobinding(binding, options)

        self.session = Session


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[bool], str | None]], Gpu]:
    def install(fails_at_run: Callable[[bool], str | None]) -> Gpu:
        gpu = Gpu(fails_at_run)
        monkeypatch.setattr(ort, "InferenceSession", gpu.session)
        monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
        monkeypatch.setitem(engine_module.DEVICES, "cuda", "cpu")  # type: ignore[arg-type]
        monkeypatch.setattr(cuda, "why_not_loaded", lambda provider: None)
        return gpu

    return install


FRAME_BGR = np.full((INPUT_WH[1], INPUT_WH[0], 3), 7, np.uint8)
CAPTURE_FAILED = "CUDA failure 901: operation failed; GPU=0 ; hostname=car ; file=cuda_graph.cc ; line=103"
NO_MEMORY = "bfc_arena.cc:360 AllocateRawInternal Failed to allocate memory for requested buffer of size 9"


def test_model_that_runs_on_the_gpu_is_captured_and_nothing_is_to_be_said(
    on_gpu: Any, tmp_path: Path
) -> None:
    gpu = on_gpu(lambda captured: None)

    engine = OnnxEngine(written(tmp_path), "cuda")

    assert (engine.provider, engine.state, engine.notes, gpu.captured) == ("cuda", "ok", (), [True])
    np.testing.assert_allclose(engine.infer(FRAME_BGR), OnnxEngine(written(tmp_path), "cpu").infer(FRAME_BGR))


@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_capture_that_fails_at_the_first_run_is_done_without(
    on_gpu: Any, tmp_path: Path, provider: Any
) -> None:
    gpu = on_gpu(lambda captured: CAPTURE_FAILED if captured else None)

    engine = OnnxEngine(written(tmp_path), provider)

    assert (engine.provider, engine.state, gpu.captured) == ("cuda", "ok", [True, False])
    assert engine.notes == ("cuda runs without a captured graph: CUDA failure 901: operation failed",)
    assert engine.infer(FRAME_BGR).shape == (3, 4, 8)


class TestFirstRunThatFails:
    """No memory on the device, captured or not."""

    @pytest.fixture(autouse=True)
    def full(self, on_gpu: Any) -> None:
        on_gpu(lambda captured: NO_MEMORY)

    def test_auto_takes_the_cpu_and_says_so(self, tmp_path: Path) -> None:
        engine = OnnxEngine(written(tmp_path), "auto")

        assert (engine.provider, engine.state) == ("cpu", "ok")
        assert engine.notes == (
            "warning: an NVIDIA GPU is present but does not run it (Failed to allocate memory for requested "
            "buffer of size 9); using cpu",
        )
        assert engine.infer(FRAME_BGR).shape == (3, 4, 8)

    def test_cuda_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(EngineError, match=r"^provider cuda did not load .*: Failed to allocate[^\n]*$"):
            OnnxEngine(written(tmp_path), "cuda")

    def test_fallback_that_is_allowed_is_marked(self, tmp_path: Path) -> None:
        engine = OnnxEngine(written(tmp_path), "cuda", allow_fallback=True)

        assert (engine.provider, engine.state) == ("cpu", "fallback")
        assert "Failed to allocate memory" in engine.notes[0]


def test_buffers_that_cannot_be_made_are_one_line(
    on_gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu(lambda captured: None)

    def full(*_: Any) -> None:
        raise RuntimeError(NO_MEMORY)

    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_shape_and_type", full)

    with pytest.raises(EngineError, match=r"^provider cuda did not load .*Failed to allocate[^\n]*$"):
        OnnxEngine(written(tmp_path), "cuda")


def test_nodes_that_are_left_to_the_cpu_are_counted_and_said(on_gpu: Any, tmp_path: Path) -> None:
    gpu = on_gpu(lambda captured: None)
    gpu.nodes = [("CPUExecutionProvider", 2), (CUDA, 5), ("CPUExecutionProvider", 1)]

    engine = OnnxEngine(written(tmp_path), "cuda")

    assert engine.nodes == {"cuda": 5, "cpu": 3}
    assert engine.notes == ("cuda does not run all of tiny-1: of 8 nodes 3 on cpu",)


def test_nodes_are_those_that_onnx_runtime_has_placed(tmp_path: Path) -> None:
    content = written(tmp_path).read_bytes()
    session = load_session(content, "tiny", ["CPUExecutionProvider"], 1, session_entries(CUDA, contract()))
    unmarked = load_session(content, "tiny", ["CPUExecutionProvider"], 1)

    assert nodes_by_provider(session) == {"cpu": 4}
    assert nodes_by_provider(unmarked) == {}


@pytest.mark.parametrize(
    ("provider", "said_by_the_loader", "reason"),
    [
        ("cuda", "libcublasLt.so.13: cannot open shared object file: No such file or directory",
         "libcublasLt.so.13 is missing; pip install 'drivable[cuda]' installs it"),
        ("cuda", "libcuda.so.1: cannot open shared object file: No such file or directory",
         "libcuda.so.1 is missing; it comes with NVIDIA's driver"),
        ("tensorrt", "libnvinfer.so.10: cannot open shared object file: No such file or directory",
         "libnvinfer.so.10 is missing; it comes with TensorRT"),
        ("cuda", "wrong\nELF class", "wrong ELF class"),
    ],
)  # fmt: skip
def test_library_that_is_missing_is_named_with_its_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, provider: str, said_by_the_loader: str, reason: str
) -> None:
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / f"libonnxruntime_providers_{provider}.so").touch()
    monkeypatch.setattr(ort, "__file__", str(tmp_path / "__init__.py"))

    def load(name: str) -> None:
        raise OSError(said_by_the_loader)

    monkeypatch.setattr(ctypes, "CDLL", load)

    assert cuda.why_not_loaded(provider) == reason


def test_build_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ort, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])

    with pytest.raises(EngineError, match=r"this build of ONNX Runtime [\d.]+ for \w+ has no cuda"):
        OnnxEngine(written(tmp_path), "cuda")


@pytest.mark.parametrize(
    ("precision", "said"), [("fp32", "does not run it"), ("int8", "runs int8 files on the cpu")]
)
def test_auto_does_not_leave_a_visible_gpu_aside_in_silence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, precision: str, said: str
) -> None:
    monkeypatch.setattr(cuda, "is_device_visible", lambda: True)

    engine = OnnxEngine(written(tmp_path, precision=precision), "auto")

    assert (engine.provider, engine.state) == ("cpu", "ok")
    assert [said in note for note in engine.notes] == [True]


@pytest.mark.parametrize(
    ("provider", "is_visible", "loads"),
    [("auto", False, False), ("auto", True, True), ("cuda", False, True), ("cpu", True, False)],
)
def test_cuda_is_loaded_where_it_is_asked_for_or_a_device_is_visible(
    on_gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Any, is_visible: bool, loads: bool
) -> None:
    on_gpu(lambda captured: None)
    monkeypatch.setattr(cuda, "is_device_visible", lambda: is_visible)
    monkeypatch.setattr(sys, "platform", "linux")
    loaded: list[bool] = []
    monkeypatch.setattr(cuda, "set_up", lambda: loaded.append(True))

    OnnxEngine(written(tmp_path), provider)

    assert loaded == [True] * loads


def test_devices_are_seen_by_their_files(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/nvidia[0-9]*"
    assert not cuda.is_device_visible([pattern])

    (tmp_path / "nvidia1").touch()

    assert cuda.is_device_visible([pattern])


def proven(folder: Path) -> Path:
    """The file with its known answer."""
    known = known_answer_of(OnnxEngine(written(folder), "cpu"))
    file = folder / "proven.onnx"
    file.write_bytes(pack(graph(), contract(), {}, known)[0])
    return file


def test_provider_that_gives_the_known_answer_is_taken(on_gpu: Any, tmp_path: Path) -> None:
    file = proven(tmp_path)
    gpu = on_gpu(lambda captured: None)

    engine = OnnxEngine(file, "cuda")

    assert (engine.provider, engine.is_proven, engine.notes, gpu.captured) == ("cuda", True, (), [True])


def test_provider_that_computes_nothing_ends_in_one_line(on_gpu: Any, tmp_path: Path) -> None:
    file = proven(tmp_path)
    on_gpu(lambda captured: None).computes = False

    with pytest.raises(
        EngineError, match=r"^provider cuda did not load .*known answer on cuda.*--provider cpu"
    ):
        OnnxEngine(file, "cuda")


@pytest.mark.parametrize(("asked", "state"), [("cuda", "fallback"), ("auto", "ok")])
def test_provider_that_computes_nothing_is_left_where_that_is_allowed(
    asked: Any, state: str, on_gpu: Any, tmp_path: Path
) -> None:
    file = proven(tmp_path)
    on_gpu(lambda captured: None).computes = False

    engine = OnnxEngine(file, asked, allow_fallback=asked == "cuda")

    assert (engine.provider, engine.state, engine.is_proven) == ("cpu", state, True)
    assert "known answer on cuda" in engine.notes[0]
