"""A device that never answers: the CPU stands in for it, with a network that counts for hours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.package import pack
from perception.inference.contract import ModelContract

ROOT = Path(__file__).parents[2]
INPUT_WH, STRIDE = (64, 32), 8
WATCHDOG_S = 2.0
TURNS_A_LEVEL = 1e12  # of the frame's brightest pixel


def counts_at_light() -> onnx.ModelProto:
    """(1, 32, 64, 3) uint8 to (1, 3, 4, 8) logits: at once for a black frame, in hours for any other."""
    width, height = INPUT_WH
    weights = np.random.default_rng(0).normal(size=(3, 3, STRIDE, STRIDE)).astype(np.float32)
    number, whole, flag = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_out"]),
            helper.make_node("Identity", ["count"], ["count_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info(name, kind, [])
            for name, kind in (("turn", whole), ("goes_on", flag), ("count", number))
        ],
        [
            helper.make_tensor_value_info(name, kind, [])
            for name, kind in (("goes_on_out", flag), ("count_out", number))
        ],
    )
    logits_shape = [1, 3, height // STRIDE, width // STRIDE]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["levels"], to=number),
            helper.make_node("ReduceMax", ["levels"], ["brightest"], keepdims=0),
            helper.make_node("Mul", ["brightest", "many"], ["turns_as_number"]),
            helper.make_node("Cast", ["turns_as_number"], ["turns"], to=whole),
            helper.make_node("Loop", ["turns", "", "zero"], ["counted"], body=body),
            helper.make_node("Transpose", ["levels"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "weights"], ["features"], strides=[STRIDE, STRIDE]),
            helper.make_node("Add", ["features", "counted"], ["logits"]),
        ],
        "counts_at_light",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, 3])],
        [helper.make_tensor_value_info("logits", number, logits_shape)],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.float32(TURNS_A_LEVEL), "many"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run_node(
    folder: Path, pad_bgr: tuple[int, int, int], is_bound: bool, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """The node with that network on a rendered road, its session bound as on a GPU or not."""
    file = folder / "counts.onnx"
    labels = ("direct", "alternative", "background")
    contract = ModelContract("counts-1", labels, INPUT_WH, pad_bgr, STRIDE, "none", "Apache-2.0")
    file.write_bytes(pack(counts_at_light(), contract, {})[0])
    program = "import sys; from perception.node import main; sys.exit(main())"
    if is_bound:
        program = f"from perception.inference.engines import onnx; onnx.DEVICES['cpu'] = 'cpu'; {program}"
    own = ["--source", "synthetic", "--synthetic.wh", "640x360", "--provider", "cpu", "--threads", "1"]
    return subprocess.run(
        [sys.executable, "-c", program, *own, "--model", str(file), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.one_in(3)
@pytest.mark.parametrize("is_bound", [True, False], ids=["in the device's thread", "in the stage's own"])
@pytest.mark.parametrize("kind", ["live", "recorded"])
def test_inference_that_never_returns_does_not_keep_the_process(
    tmp_path: Path, is_bound: bool, kind: str
) -> None:
    records, summary = tmp_path / "records.jsonl", tmp_path / "summary.json"
    arguments = ["--jsonl", str(records), "--summary", str(summary)]
    arguments += ["--watchdog.stage_s", str(WATCHDOG_S), *(["--realtime"] if kind == "live" else [])]

    ended = run_node(tmp_path, (0, 0, 0), is_bound, *arguments)

    assert ended.returncode == 1, ended.stderr
    worker = "[01]" if is_bound and kind == "recorded" else "0"  # a GPU's recordings have two
    assert re.search(rf"predict-{worker}: hung: working on one frame for more than 2 s", ended.stderr)
    assert "Traceback" not in ended.stderr
    assert json.loads(summary.read_text())["elapsed_s"] < WATCHDOG_S + 2  # and not the 5 s of a drain
    written = records.read_text() if records.exists() else ""  # the first frame hangs: there may be none
    assert all(json.loads(line)["mask"] is None for line in written.splitlines())


@pytest.mark.parametrize("is_bound", [True, False], ids=["in the device's thread", "in the loader's own"])
def test_model_that_never_runs_is_given_up_while_it_is_loaded(tmp_path: Path, is_bound: bool) -> None:
    white = (255, 255, 255)  # the padding that it is run on first

    ended = run_node(tmp_path, white, is_bound, "--load_timeout_s", "2")

    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("drivable-node:")]
    assert "counts.onnx: the model was not loaded and run once within 2 s" in line
    assert "Traceback" not in ended.stderr
