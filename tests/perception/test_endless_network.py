"""Networks that never come back: at their first frame, and in the middle of a run."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.cli import main as export_main
from export.package import pack
from perception.inference.contract import ModelContract
from perception.inference.engines import EngineError, OnnxEngine
from perception.labels import LABELS

CONTRACT = ModelContract("endless", LABELS, (64, 32), (0, 0, 0), 1, "none", "Apache-2.0")
BRIGHT, DARK = 250, 40


def network(ends_below: float) -> onnx.ModelProto:
    """The frame as logits, and a loop that never ends where the mean level is above `ends_below`."""
    flag, number = TensorProto.BOOL, TensorProto.FLOAT
    body = helper.make_graph(
        [
            helper.make_node("Greater", ["x", "limit"], ["again"]),
            helper.make_node("Identity", ["x"], ["x_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", flag, []),
            helper.make_tensor_value_info("x", number, []),
        ],
        [
            helper.make_tensor_value_info("again", flag, []),
            helper.make_tensor_value_info("x_out", number, []),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["frame"], ["floats"], to=number),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("ReduceMean", ["planes"], ["level"], keepdims=0),
        helper.make_node("Loop", ["", "yes", "level"], ["done"], body=body),
        helper.make_node("Mul", ["done", "zero"], ["nothing"]),
        helper.make_node("Add", ["planes", "nothing"], ["logits"]),
    ]
    constants: dict[str, Any] = {
        "limit": np.float32(ends_below),
        "yes": np.array(True),
        "zero": np.float32(0),
    }
    graph = helper.make_graph(
        nodes,
        "endless",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 32, 64, 3])],
        [helper.make_tensor_value_info("logits", number, [1, 3, 32, 64])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def written(folder: Path, ends_below: float) -> Path:
    file = folder / "endless.onnx"
    file.write_bytes(pack(network(ends_below), CONTRACT, {})[0])
    return file


def test_first_frame_without_an_end_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.inference.engines.onnx.FIRST_RUN_LIMIT_S", 0.5)
    engine = OnnxEngine(written(tmp_path, -1), "cpu")

    with pytest.raises(EngineError, match=r"^endless was still at its first frame after 0\.5 s on cpu"):
        engine.infer(np.zeros((32, 64, 3), np.uint8))

    until_s = time.monotonic() + 5
    while any(thread.name == "load" for thread in threading.enumerate()) and time.monotonic() < until_s:
        time.sleep(0.02)
    assert not any(thread.name == "load" for thread in threading.enumerate()), "it still runs"


def test_inspect_says_that_it_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("perception.inference.engines.onnx.FIRST_RUN_LIMIT_S", 0.5)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # OpenVINO cannot be broken off

    assert export_main(["inspect", str(written(tmp_path, -1))]) == 0

    assert "cpu: no, endless was still at its first frame after 0.5 s" in capsys.readouterr().out


def test_inspect_ends_where_an_engine_never_does(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    script = (
        "import sys, export.inspect_file as inspect, perception.inference.engines.onnx as engine;"
        "inspect.LOAD_LIMIT_S = 2.0; engine.FIRST_RUN_LIMIT_S = 1.0;"
        "from export.__main__ import main; sys.argv[1:] = ['inspect', sys.argv[1]]; main()"
    )
    inspected = subprocess.run(
        [sys.executable, "-c", script, str(written(tmp_path, -1))], capture_output=True, text=True, timeout=90
    )

    assert inspected.stderr == ""
    assert "openvino: no, loading and running it once took longer than 2 s" in inspected.stdout


def node(*arguments: str) -> tuple[int, list[str], float]:
    started_s = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "perception.node", *arguments], capture_output=True, text=True, timeout=90
    )
    return ended.returncode, ended.stderr.splitlines(), time.monotonic() - started_s


def test_node_ends_where_the_model_never_warms_up(tmp_path: Path) -> None:
    status, lines, took_s = node(
        *("--model", str(written(tmp_path, -1)), "--source", "synthetic", "--max_frames", "3"),
        *("--load_timeout_s", "2"),
    )

    assert status == 1
    assert took_s < 40
    assert lines[-1].startswith("drivable-node: ")
    assert "within 2 s" in lines[-1]


def test_frame_without_an_end_is_reported_as_stalled_and_ends_the_run(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    random = np.random.default_rng(0)
    for index in range(20):
        low = DARK if index < 10 else BRIGHT
        image = random.integers(low, low + 6, (32, 64, 3), np.uint8)
        image[:16, :, 0] += 10 if index < 10 else 0
        cv2.imwrite(str(images / f"{index:03d}.png"), image)
    records = tmp_path / "records.jsonl"

    status, lines, took_s = node(
        *("--model", str(written(tmp_path, 200)), "--source", str(images), "--realtime", "--loop"),
        *("--watchdog.stage_s", "3", "--health.enabled", "false", "--jsonl", str(records)),
    )

    published = [json.loads(line) for line in records.read_text().splitlines()]
    stalled = [record for record in published if record["engine"]["state"] == "stalled"]
    assert status == 1
    assert took_s < 60
    assert "drivable-node: predict-0: hung: working on one frame for more than 3 s" in lines
    assert not any("Traceback" in line for line in lines)
    assert any(record["mask"] for record in published)
    assert len(stalled) >= 10, "10 a second for 2.5 s, on a machine that is busy"
    assert all(record["mask"] is None and record["frame_id"] is None for record in stalled)
    assert all(record["camera"]["state"] == "ok" for record in stalled)
    assert "working on one frame for" in stalled[0]["engine"]["reason"]
    assert published[-1]["engine"]["state"] == "stalled"
