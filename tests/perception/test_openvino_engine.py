"""OpenVinoEngine beside ONNX Runtime: the same files, the same answers, and one line for what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.package import pack
from perception.frame import Frame
from perception.imaging.letterbox import Letterbox
from perception.inference.contract import ModelContract
from perception.inference.engines import EngineError, OnnxEngine, OpenVinoEngine
from perception.inference.engines import openvino as engine_module
from perception.inference.engines.openvino import has_bf16
from perception.inference.predictor import Predictor, blank_input, preprocess
from perception.inference.zoo import model_file
from perception.labels import LABELS
from perception.synthetic import DriveRenderer

SHIPPED = model_file("rt_m")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def road_bgr() -> np.ndarray:
    return DriveRenderer("day", (640, 360)).render(10)[0]


@pytest.fixture(scope="module")
def in_f32() -> OpenVinoEngine:
    return OpenVinoEngine(SHIPPED, threads=1, precision="f32")


@pytest.fixture(scope="module")
def reference() -> OnnxEngine:
    return OnnxEngine(SHIPPED, "cpu", threads=1)


def as_input(engine: OpenVinoEngine, image_bgr: np.ndarray) -> np.ndarray:
    box = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), engine.contract.input_wh)
    input_bgr = blank_input(engine.contract)
    preprocess(Frame("fake", 0, 0, 0, image_bgr, "0"), box, input_bgr)
    return input_bgr


def quantised_graph() -> bytes:
    """A convolution between QuantizeLinear and DequantizeLinear, as INT8 files hold them."""
    chance = np.random.default_rng(0)
    constants = {  # two products of 255 and 64 fit into 16 bits, in which a CPU without VNNI may add
        "weights": chance.integers(-64, 65, (3, 3, 8, 8)).astype(np.int8),
        "scale": np.array(1.0, np.float32),
        "weight_scale": np.array(0.01, np.float32),
        "zero": np.array(0, np.uint8),
        "weight_zero": np.array(0, np.int8),
    }
    nodes = [
        helper.make_node("Transpose", ["frame"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["floats", "scale", "zero"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "scale", "zero"], ["values"]),
        helper.make_node("DequantizeLinear", ["weights", "weight_scale", "weight_zero"], ["kernel"]),
        helper.make_node("Conv", ["values", "kernel"], ["logits"], strides=[8, 8]),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 32, 64, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, 4, 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    contract = ModelContract(
        "tiny-int8", LABELS, (64, 32), (116, 116, 116), 8, "none", "Apache-2.0", precision="int8"
    )
    return pack(model, contract, {})[0]


def test_logits_in_f32_are_those_of_onnx_runtime(
    in_f32: OpenVinoEngine, reference: OnnxEngine, road_bgr: np.ndarray
) -> None:
    input_bgr = as_input(in_f32, road_bgr)

    logits = in_f32.infer(input_bgr)

    assert (in_f32.provider, in_f32.state) == ("openvino f32", "ok")
    assert in_f32.contract == reference.contract
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, reference.infer(input_bgr), atol=1e-3)


@pytest.mark.skipif(not has_bf16(), reason="this CPU does not compute in bf16")
def test_class_map_in_bf16_is_nearly_that_of_onnx_runtime(
    reference: OnnxEngine, road_bgr: np.ndarray
) -> None:
    engine = OpenVinoEngine(SHIPPED, threads=1, precision="bf16")
    frame = Frame("fake", 0, 0, 0, road_bgr, "0")

    prediction = Predictor(engine)(frame)

    assert prediction.provider == "openvino bf16"
    exact = Predictor(reference)(frame).class_map
    assert len(np.unique(exact)) == 3
    assert (prediction.class_map == exact).mean() > 0.99
    assert not np.array_equal(
        engine.infer(as_input(engine, road_bgr)), reference.infer(as_input(engine, road_bgr))
    )


def test_int8_file_runs(tmp_path: Path) -> None:
    file = tmp_path / "tiny.onnx"
    file.write_bytes(quantised_graph())
    input_bgr = np.random.default_rng(1).integers(0, 256, (32, 64, 3), np.uint8)

    logits = OpenVinoEngine(file, threads=1, precision="f32").infer(input_bgr)

    np.testing.assert_allclose(logits, OnnxEngine(file, "cpu").infer(input_bgr), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("frame_wh", [(128, 72), (0, 0)])
def test_class_maps_are_those_of_onnx_runtime(
    make_classifier: Callable[..., Path], frame_wh: tuple[int, int]
) -> None:
    file = make_classifier(frame_wh)
    frame_bgr = np.random.default_rng(0).integers(0, 256, (72, 128, 3), np.uint8)

    found = OpenVinoEngine(file, threads=1, precision="f32").segment(frame_bgr)

    for ours, theirs in zip(found, OnnxEngine(file, "cpu").segment(frame_bgr), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_threads_do_not_mix_up_their_frames(road_bgr: np.ndarray) -> None:
    engine = OpenVinoEngine(SHIPPED, threads=1, precision="f32", streams=2)
    images = [as_input(engine, np.roll(road_bgr, 40 * shift, axis=1)) for shift in range(4)]
    alone = [engine.infer(image) for image in images]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine.infer, images * 2))

    np.testing.assert_array_equal(together, alone * 2)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The networks that are compiled, and the settings of each."""
    openvino = pytest.importorskip("openvino")
    made: list[Any] = []
    compile_model = openvino.Core.compile_model

    def compile_and_keep(core: Any, graph: Any, device: str, settings: dict[str, Any]) -> Any:
        made.append((compile_model(core, graph, device, settings), settings))
        return made[-1][0]

    monkeypatch.setattr(openvino.Core, "compile_model", compile_and_keep)
    return made


@pytest.mark.parametrize(("threads", "each"), [(1, 1), (0, 3)])
def test_concurrent_inferences_have_a_network_each_of_one_stream(
    threads: int, each: int, compiled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "usable_cores", lambda: 6)

    OpenVinoEngine(SHIPPED, threads, precision="f32", streams=2)

    assert [
        (settings["NUM_STREAMS"], settings["INFERENCE_NUM_THREADS"], settings["ENABLE_CPU_PINNING"])
        for _, settings in compiled
    ] == [(1, each, False)] * 2


def test_every_network_has_to_give_the_known_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    infer, asked = openvino.InferRequest.infer, []

    def infer_nothing_the_second_time(request: Any, inputs: dict[int, Any], **others: Any) -> Any:
        asked.append(request)
        return infer(request, {0: inputs[0] * (len(asked) != 2)}, **others)

    monkeypatch.setattr(openvino.InferRequest, "infer", infer_nothing_the_second_time)

    with pytest.raises(EngineError, match=r"does not give its known answer on openvino f32: mean IoU 0\.25"):
        OpenVinoEngine(SHIPPED, threads=1, precision="f32", streams=2)


def test_logits_stay_the_same_after_the_next_inference(in_f32: OpenVinoEngine, road_bgr: np.ndarray) -> None:
    logits = in_f32.infer(as_input(in_f32, road_bgr))
    before = logits.copy()

    in_f32.infer(blank_input(in_f32.contract))

    np.testing.assert_array_equal(logits, before)


def test_strided_frame_is_taken_as_it_looks(in_f32: OpenVinoEngine, road_bgr: np.ndarray) -> None:
    mirrored = as_input(in_f32, road_bgr)[:, ::-1]

    np.testing.assert_array_equal(in_f32.infer(mirrored), in_f32.infer(mirrored.copy()))


def test_wrong_kind_of_question_and_wrong_size_are_one_line(
    in_f32: OpenVinoEngine, make_classifier: Callable[..., Path]
) -> None:
    classifier = OpenVinoEngine(make_classifier((128, 72)), threads=1)

    with pytest.raises(EngineError, match="outputs logits, not class_map"):
        in_f32.segment(np.zeros((72, 128, 3), np.uint8))
    with pytest.raises(EngineError, match="outputs class_map, not logits"):
        classifier.infer(np.zeros((72, 128, 3), np.uint8))
    with pytest.raises(EngineError, match="takes only frames of 128x72, and this one is 64x48; export it"):
        classifier.segment(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(EngineError, match=r"does not run on openvino f32: [^\n]+$"):
        in_f32.infer(np.zeros((8, 8, 3), np.uint8))


def test_damaged_file_is_refused_as_by_onnx_runtime(tmp_path: Path) -> None:
    content = bytearray(SHIPPED.read_bytes())
    content[len(content) // 2] ^= 1
    file = tmp_path / "changed.onnx"
    file.write_bytes(content)

    with pytest.raises(EngineError, match=r"changed.onnx: the file was changed after it was exported"):
        OpenVinoEngine(file)


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("flags\t\t: fpu avx512f avx512_vnni\n", False),
        ("vmx flags\t: avx512_bf16\n", False),
        ("", False),
    ],
)
def test_bf16_is_what_the_cpu_itself_computes_in(tmp_path: Path, flags: str, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}")

    assert has_bf16(tmp_path / "cpuinfo") == has
    assert not has_bf16(tmp_path / "none")


def test_bf16_on_a_cpu_without_it_is_an_error_and_auto_takes_f32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "has_bf16", lambda: False)

    with pytest.raises(EngineError, match=r"this CPU does not compute in bf16 .* use --engine_precision f32"):
        OpenVinoEngine(SHIPPED, precision="bf16")
    assert OpenVinoEngine(SHIPPED, threads=1).provider == "openvino f32"


def test_auto_takes_bf16_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "has_bf16", lambda: True)

    assert OpenVinoEngine(SHIPPED, threads=1).provider == "openvino bf16"


def test_missing_package_is_reported_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(EngineError, match=r"pip install 'drivable\[openvino\]'$"):
        OpenVinoEngine(SHIPPED)


def test_package_is_imported_late_and_reports_to_nobody(tmp_path: Path) -> None:
    script = f"""
import sys
import perception.build
from pathlib import Path
assert "openvino" not in sys.modules
from perception.inference.engines import OpenVinoEngine
OpenVinoEngine(Path({str(SHIPPED)!r}), threads=1)
assert "openvino" in sys.modules
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
"""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []  # with telemetry both runtimes write a device id here


_SIGNAL_AFTER_THE_ENGINE_IS_GONE = """
import gc, signal, sys, threading
from pathlib import Path
from perception.inference.engines import OpenVinoEngine
signal.signal(signal.SIGTERM, lambda number, frame: print("taken"))
engines = [OpenVinoEngine(Path(sys.argv[1]), threads=1)]
last = threading.Thread(target=lambda: (engines.clear(), gc.collect()))
last.start()
last.join()
signal.raise_signal(signal.SIGTERM)
"""


def test_signal_finds_its_stack_after_another_thread_let_the_engine_go() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNAL_AFTER_THE_ENGINE_IS_GONE, str(SHIPPED)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "taken\n"), done.stderr
