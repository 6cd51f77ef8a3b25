"""The network alone: what it is given, and what is reported of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.scenarios.engine_only import (
    WARM_UP_FRAMES,
    measure,
    pictures_for,
    run_side_by_side,
    transfer_bytes,
)
from bench.task import Task
from perception.inference.contract import ModelContract
from perception.labels import LABELS

Image = NDArray[np.uint8]
CONTRACT = ModelContract("it", LABELS, (64, 48), (1, 2, 3), 8, "none", "Apache-2.0")
FRAME_BGR = np.full((72, 128, 3), 200, np.uint8)


@pytest.mark.parametrize("engine", ["onnx", "openvino-f32"])
def test_values_are_of_both_parts(red_is_drivable: Path, make_clip: Callable[..., Path], engine: str) -> None:
    if engine != "onnx":
        pytest.importorskip("openvino")
    task = Task("engine_only", str(red_is_drivable), engine, source=str(make_clip()), options={"frames": 9})  # type: ignore[arg-type]

    values = measure(task)

    assert values["frames"] == len(values["latencies_ms"]) == 9
    assert min(values["latencies_ms"]) > 0
    assert values["fps"] == pytest.approx(9 / values["wall_s"])
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_picture_is_the_letterboxed_input() -> None:
    (picture,) = pictures_for(CONTRACT, [FRAME_BGR])

    assert picture.shape == (48, 64, 3)
    assert picture[0, 0].tolist() == [1, 2, 3]
    assert picture[24, 32].tolist() == [200, 200, 200]


@pytest.mark.parametrize(
    ("frame_wh", "picture_wh"), [((0, 0), (128, 72)), ((320, 180), (320, 180)), ((128, 72), (128, 72))]
)
def test_picture_for_a_graph_that_resizes_is_a_whole_frame(
    frame_wh: tuple[int, int], picture_wh: tuple[int, int]
) -> None:
    contract = replace(CONTRACT, frame_wh=frame_wh, output="class_map")

    (picture,) = pictures_for(contract, [FRAME_BGR])

    assert picture.shape == (picture_wh[1], picture_wh[0], 3)
    assert (picture == 200).all()


class Classifier:
    """An engine on a GPU, whose graph takes whole frames."""

    contract = replace(CONTRACT, frame_wh=(32, 24), output="class_map")
    provider = "cuda"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def infer(self, input_bgr: Image) -> None:
        raise AssertionError("it gives no logits")

    def segment(self, frame_bgr: Image) -> None:
        self.shapes.append(frame_bgr.shape)


def test_graph_that_resizes_classifies_whole_frames(
    monkeypatch: pytest.MonkeyPatch, red_is_drivable: Path, make_clip: Callable[..., Path]
) -> None:
    alone, recording = Classifier(), Classifier()
    monkeypatch.setattr("bench.scenarios.engine_only.open_engine", lambda *arguments: alone)
    monkeypatch.setattr(
        "bench.scenarios.engine_only.node_predictors", lambda task, **how: (recording, [1, 2])
    )

    measure(Task("engine_only", str(red_is_drivable), source=str(make_clip()), options={"frames": 9}))

    assert alone.shapes == [(24, 32, 3)] * (WARM_UP_FRAMES + 9)
    and_one_to_count_its_bytes = 1
    assert recording.shapes == [(24, 32, 3)] * (2 * WARM_UP_FRAMES + 9 + and_one_to_count_its_bytes)


def test_workers_share_the_frames_and_run_at_the_same_time() -> None:
    met = threading.Barrier(3, timeout=5)  # broken, if fewer than three run at once
    seen: list[int] = []

    def infer(picture: Image) -> None:
        met.wait()
        seen.append(int(picture[0]))

    pictures = [np.array([number], np.uint8) for number in range(2)]
    with ThreadPoolExecutor(3) as pool:
        run_side_by_side(pool, 3, infer, pictures, 9)

    assert sorted(seen) == [0] * 5 + [1] * 4


def test_error_of_a_worker_is_the_runs() -> None:
    def infer(picture: object) -> None:
        raise OverflowError("too hot")

    with ThreadPoolExecutor(2) as pool, pytest.raises(OverflowError, match="too hot"):
        run_side_by_side(pool, 2, infer, [FRAME_BGR], 9)


def test_bytes_moved_are_the_input_and_every_output() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)

    assert transfer_bytes(lambda given: np.zeros((3, 2, 2), np.float32), picture) == 72 + 48
    assert transfer_bytes(lambda given: (np.zeros((4, 6), np.uint8),) * 2, picture) == 72 + 48
