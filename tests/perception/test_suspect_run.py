"""A network whose output tells nothing of some frames: the node publishes no mask for those, and says why."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from onnx import TensorProto, helper

from export.package import pack
from perception.inference.contract import ModelContract
from perception.labels import LABELS
from perception.node import main
from perception.sinks.jsonl import record

SIZE_WH = (64, 32)
SCHEMA = json.loads((Path(record.__code__.co_filename).parent / "record.schema.json").read_text())
GOOD, CONSTANT = (0, 1, 2, 6, 7), (3, 4, 5)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The levels of a frame as its logits: a plain frame gives the same ones everywhere."""
    width, height = SIZE_WH
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["frame"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["floats"], ["logits"], perm=[0, 3, 1, 2]),
        ],
        "levels",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, height, width, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, height, width])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    contract = ModelContract("levels", LABELS, SIZE_WH, (0, 0, 0), 1, "none", "Apache-2.0")
    file = tmp_path / "levels.onnx"
    file.write_bytes(pack(made, contract, {})[0])
    return file


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Eight frames, three of them plain: blue is the class `direct`."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in (*GOOD, *CONSTANT):
        image = np.full((SIZE_WH[1], SIZE_WH[0], 3), (200, 0, 0), np.uint8)
        if number in GOOD:
            image[: SIZE_WH[1] // 2] = (0, 0, 200)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def test_frames_whose_output_is_constant_have_records_and_no_masks(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, masks, summary = tmp_path / "o.jsonl", tmp_path / "masks", tmp_path / "s.json"

    status = main(
        [
            *("--model", str(model), "--source", str(images), "--health.enabled", "false"),
            *("--jsonl", str(records), "--masks", str(masks), "--summary", str(summary)),
            *("--out", str(tmp_path / "o.mp4")),
        ]
    )

    lines = [json.loads(line) for line in records.read_text().splitlines()]
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    states = [line["engine"]["state"] for line in lines]
    assert [number for number, state in enumerate(states) if state == "suspect"] == list(CONSTANT)
    assert [number for number, line in enumerate(lines) if line["mask"] is None] == list(CONSTANT)
    reason = "the network gave the same logits for every part of the frame"
    assert all(line["engine"].get("reason") == reason for line in lines if line["mask"] is None)
    assert sorted(file.stem for file in masks.glob("*.png")) == [str(number) for number in GOOD]
    values: dict[str, Any] = json.loads(summary.read_text())
    assert (values["frames"]["published"], values["frames"]["withheld"]) == (len(GOOD), len(CONSTANT))
    assert values["withheld_by"] == {"engine suspect": len(CONSTANT)}
    error = capsys.readouterr().err
    assert "3 engine suspect" in error
    assert status == 1
    assert "drivable-node: 3 frames have no mask: the network's output does not depend on them" in error


def test_readyz_and_metrics_say_that_the_engine_is_suspect(
    model: Path, tmp_path: Path, free_port: int
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((SIZE_WH[1], SIZE_WH[0], 3), 90, np.uint8))
    run = Thread(
        target=main,
        args=(
            [
                *("--model", str(model), "--source", str(folder), "--health.enabled", "false"),
                *("--realtime", "--loop", "--duration", "3", "--http", str(free_port)),
            ],
        ),
    )
    run.start()

    answer, metrics = "", ""
    while run.is_alive() and "engine" not in answer:
        answer = asked(free_port, "/readyz")
        metrics = asked(free_port, "/metrics")
    run.join()

    assert answer == "503 engine suspect: the network gave the same logits for every part of the frame"
    assert 'drivable_engine_state{drivable_engine_state="suspect"} 1.0' in metrics


def asked(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return f"{answer.status} {answer.read().decode().strip()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode().strip()}"
    except OSError:
        return ""


@pytest.fixture
def free_port() -> int:

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
