"""A recording as fast as it goes: what is counted, what lies outside the window, what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import av
import pytest

from bench.engines import EngineName
from bench.scenarios import offline
from bench.scenarios.node import node_predictors
from bench.task import Task
from perception.inference.engines import EngineError
from perception.sources.source import SourceError

MakeClip = Callable[..., Path]


class FixedMeter:
    """Two seconds, one of them at work."""

    is_open = False

    def __init__(self, provider: str) -> None:
        self.provider = provider

    def __enter__(self) -> Self:
        FixedMeter.is_open = True
        return self

    def __exit__(self, *error: object) -> None:
        FixedMeter.is_open = False

    def values(self) -> dict[str, Any]:
        return {"wall_s": 2.0, "cpu_s": 1.0}


def test_every_frame_of_the_window_counts_and_no_other(
    make_clip: MakeClip, red_is_drivable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[tuple[bool, int]] = []
    play = offline.play

    def noted(video: str, frames: int, *others: Any) -> int:
        played.append((FixedMeter.is_open, frames))
        return play(video, frames, *others)

    monkeypatch.setattr(offline, "Meter", FixedMeter)
    monkeypatch.setattr(offline, "play", noted)
    monkeypatch.setattr(offline, "WARM_UP_FRAMES", 3)
    task = Task("offline", str(red_is_drivable), source=str(make_clip()), options={"frames": 25})

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


@pytest.mark.parametrize(("to", "writes"), [("class_map", False), ("overlay", True)])
def test_overlay_is_written_only_if_asked_for(to: str, writes: bool, tmp_path: Path) -> None:
    named, out = offline.output_of(Task("offline", "rt_s", options={"to": to}), tmp_path)

    assert named == to
    assert (out is not None) is writes


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


@pytest.mark.slow
def test_built_in_road_is_recorded_and_a_file_is_not(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = str(make_clip())

    road = offline.recording_of("synthetic:night", tmp_path, frames=2)

    assert offline.recording_of(clip, tmp_path) == clip
    with av.open(road) as container:
        pictures = list(container.decode(video=0))
    assert [(picture.width, picture.height) for picture in pictures] == [(1280, 720)] * 2
    assert pictures[0].to_ndarray(format="gray").mean() < 60  # it is the night that was asked for


def test_recording_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^synthetic: no recording could be made of it: .+") as raised:
        offline.recording_of("synthetic", tmp_path / "nowhere", frames=1)

    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_interrupt_while_the_road_is_recorded_ends_the_command(tmp_path: Path) -> None:
    body = (
        "import sys; from pathlib import Path; from bench.scenarios.offline import recording_of;"
        "recording_of('synthetic', Path(sys.argv[1]), frames=2)"
    )
    command = [sys.executable, "-c", body, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        while not children.read_text():
            assert run.poll() is None
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=20)

    assert said.endswith("KeyboardInterrupt\n")


@pytest.mark.parametrize(
    ("options", "source", "error", "message"),
    [
        ({"frames": 0}, "clip.mp4", ValueError, "frames is 0; it must be a whole number from 1 up"),
        ({"frames": "ten"}, "clip.mp4", ValueError, "frames is 'ten'; it must be"),
        ({"to": "masks"}, "clip.mp4", ValueError, "to is 'masks'; known are class_map, overlay"),
        ({}, "nowhere.mp4", SourceError, "'nowhere.mp4': no such file or folder"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    options: dict[str, Any], source: str, error: type[Exception], message: str, red_is_drivable: Path
) -> None:
    with pytest.raises(error, match=message) as raised:
        offline.measure(Task("offline", str(red_is_drivable), source=source, options=options))

    assert "\n" not in str(raised.value)
