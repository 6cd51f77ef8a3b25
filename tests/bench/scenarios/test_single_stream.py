"""One frame after the other: its values, and the decoded frames that every live scenario is fed with."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.scenarios.node import again_and_again, decoded_frames
from bench.scenarios.single_stream import measure, node_predictors
from bench.task import Task
from perception.imaging.yuv import Yuv420
from perception.sources.video import VideoSource

MakeClip = Callable[..., Path]


def test_values_are_of_every_frame_and_every_stage(red_is_drivable: Path, make_clip: MakeClip) -> None:
    task = Task("single_stream", str(red_is_drivable), source=str(make_clip()), options={"frames": 7})

    values = measure(task)

    assert values["frames"] == len(values["latencies_ms"]) == 7
    assert values["stage_ms"].keys() == {"preprocess", "infer", "postprocess", "image_stats"}
    assert sum(values["stage_ms"].values()) > 0
    assert max(values["stage_ms"].values()) < max(values["latencies_ms"])
    assert sum(values["latencies_ms"]) <= 1000 * values["wall_s"]
    assert json.loads(json.dumps(values, allow_nan=False)) == values


@pytest.mark.parametrize(
    ("engine", "runs_on"), [("onnx", "cpu"), ("openvino", "openvino"), ("openvino-f32", "openvino f32")]
)
def test_predictors_are_the_nodes_own(red_is_drivable: Path, engine: Any, runs_on: str) -> None:
    if engine != "onnx":
        pytest.importorskip("openvino")
    task = Task("single_stream", str(red_is_drivable), engine=engine)

    loaded, live = node_predictors(task, is_live=True)
    _, recorded = node_predictors(task, is_live=False)

    assert loaded.provider.startswith(runs_on)
    assert len(live) == 1
    assert len(recorded) >= 1


def test_provider_that_is_not_there_is_an_error(red_is_drivable: Path) -> None:
    with pytest.raises(ValueError, match="provider cuda is ONNX Runtime's"):
        node_predictors(Task("single_stream", str(red_is_drivable), "openvino", "cuda"), is_live=True)


def test_frames_of_a_video_are_the_planes_that_the_node_gets(make_clip: MakeClip) -> None:
    clip = make_clip(frames=5)

    frames = decoded_frames(str(clip), 3)

    source = VideoSource(clip)
    source.open()
    assert len(frames) == 3
    for frame in frames:
        assert isinstance(frame.pixels, Yuv420)
        wanted = source.read().pixels
        assert isinstance(wanted, Yuv420)
        assert all(np.array_equal(getattr(frame.pixels, it), getattr(wanted, it)) for it in "yuv")
    source.close()
    assert len(decoded_frames(str(clip), 30)) == 5


def test_frames_go_on_in_a_circle_and_nothing_computed_is_kept(make_clip: MakeClip) -> None:
    kept = decoded_frames(str(make_clip(frames=2)))
    for frame in kept:
        assert frame.image_bgr.shape == (48, 64, 3)  # converted once, and kept with the frame

    given = list(islice(again_and_again(kept), 5))

    assert [frame.frame_id for frame in given] == [0, 1, 2, 3, 4]
    assert [frame.pixels is kept[number % 2].pixels for number, frame in enumerate(given)] == [True] * 5
    assert all("image_bgr" not in vars(frame) for frame in given)
    assert sorted(frame.captured_ns for frame in given) == [frame.captured_ns for frame in given]
