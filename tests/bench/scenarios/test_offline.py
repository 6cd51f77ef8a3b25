"""A recording as fast as it goes: what is counted, what lies outside the window, what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import pytest

from bench.engines import EngineName
from bench.scenarios import offline
from bench.scenarios.node import node_predictors
from bench.task import Task
from perception.inference.engines import EngineError

MakeClip = Callable[..., Path]


def test_every_frame_of_the_window_counts_and_no_other(
    make_clip: MakeClip, red_is_drivable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[tuple[bool, int]] = []
    open_blocks: list[str] = []
    play = offline.play

    @contextmanager
    def two_seconds(provider: str) -> Iterator[dict[str, Any]]:
        open_blocks.append(provider)
        yield {"wall_s": 2.0, "cpu_s": 1.0}
        open_blocks.clear()

    def noted(video: str, frames: int, *others: Any) -> int:
        played.append((bool(open_blocks), frames))
        return play(video, frames, *others)

    monkeypatch.setattr(offline, "metered", two_seconds)
    monkeypatch.setattr(offline, "play", noted)
    monkeypatch.setattr(offline, "WARM_UP_FRAMES", 3)
    task = Task(
        "offline", str(red_is_drivable), source=str(make_clip()), options={"to": "class_map", "frames": 25}
    )

    values = offline.measure(task)

    assert played == [(False, 3), (True, 25)]
    assert values == {
        "to": "class_map",
        "fps": 12.5,
        "frames": 25,
        "cpu_ms_per_frame": 40.0,
        "wall_s": 2.0,
        "cpu_s": 1.0,
    }


def test_overlay_video_has_every_frame_of_a_clip_played_again(
    make_clip: MakeClip, red_is_drivable: Path, tmp_path: Path
) -> None:
    out = tmp_path / "overlay.mp4"
    task = Task("offline", str(red_is_drivable))
    _, predictors = node_predictors(task, is_live=False)

    frames = offline.play(str(make_clip(frames=10)), 15, predictors, out)

    assert frames == 15
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 15


@pytest.mark.parametrize(("engine", "provider"), [("onnx", "cpu"), ("openvino-f32", "openvino f32")])
def test_each_core_has_a_worker_of_the_engine_that_was_asked_for(
    engine: EngineName, provider: str, red_is_drivable: Path
) -> None:
    if engine != "onnx":
        pytest.importorskip("openvino")

    loaded, predictors = node_predictors(Task("offline", str(red_is_drivable), engine=engine), is_live=False)

    assert loaded.provider == provider
    assert len(predictors) == len(os.sched_getaffinity(0))


def test_a_provider_that_is_not_there_is_an_error_and_not_the_cpu(
    red_is_drivable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])

    with pytest.raises(EngineError, match="provider tensorrt did not load"):
        node_predictors(Task("offline", str(red_is_drivable), provider="tensorrt"), is_live=False)
