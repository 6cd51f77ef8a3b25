"""The network alone: every file on every engine, in turns, against the first."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bench.cli import main
from bench.config import InferConfig
from bench.infer import run
from perception.inference.zoo import FOLDER

SHIPPED = sorted(FOLDER.glob("*.onnx"))[0]


def test_each_network_on_each_engine_has_a_row_and_the_first_is_the_measure() -> None:
    pytest.importorskip("openvino")

    rows, _ = run(InferConfig(models=[str(SHIPPED)], engines=["onnx", "openvino-f32"], threads=1, frames=3))

    assert "1 thread, 3 frames each" in rows[0]
    first, second = rows[2:4]
    assert re.match(rf"{SHIPPED.stem} +cpu +\d+x\d+ .* 1\.00x$", first)
    assert re.match(rf"{SHIPPED.stem} +openvino f32 ", second)


def test_busy_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.infer.busy_verdict", lambda measured: "too busy")

    rows, _ = run(InferConfig(models=[str(SHIPPED)], threads=1, frames=1))

    assert rows[-1] == "too busy"


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["--models", "[nothing]"], 1, "nothing: no such model file"),
        (["--models", "[]"], 2, "name at least one of models"),
        (["--frames", "0"], 2, "frames 1 or more"),
        (["--engines", "[tflite]"], 2, "tflite"),
    ],
)
def test_bad_input_is_one_line(
    only_error_line: Callable[[str], str],
    arguments: list[str],
    status: int,
    reason: str,
) -> None:
    assert main(["infer", *arguments]) == status

    assert reason in only_error_line("drivable-bench")
