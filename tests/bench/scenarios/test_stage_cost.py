"""What each stage costs alone: every thread's work is in it, and no other stage's."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import perception.inference.predictor as predictor_module
from bench.scenarios import stage_cost
from bench.scenarios.node import node_predictors
from bench.task import Task
from perception.frame import Frame
from perception.imaging.yuv import Yuv420
from perception.inference.predictor import Predictor
from perception.sources.source import Source, SourceInfo

MakeClip = Callable[..., Path]
FRAMES = 6
INFO = SourceInfo("test", False, (64, 36), 10.0)


@dataclass
class Processor:
    """The process's CPU time, and what other threads of it are still to do."""

    cpu_s: float = 0.0
    left_ms: list[float] = field(default_factory=list)

    def work(self, cpu_ms: float) -> None:
        self.cpu_s += cpu_ms / 1000

    def sleep(self, seconds: float) -> None:
        """While the caller sleeps, the other threads go on."""
        if self.left_ms:
            self.work(self.left_ms.pop(0))


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Processor:
    made = Processor()
    monkeypatch.setattr(stage_cost, "process_cpu_s", lambda: made.cpu_s)
    monkeypatch.setattr("time.sleep", made.sleep)
    return made


@dataclass
class Camera(Source):
    """A source whose every frame takes 3 ms, and 8 ms to open."""

    processor: Processor
    decodes_ahead: bool = False
    opened: int = 0
    closed: int = 0

    def open(self) -> SourceInfo:
        self.opened += 1
        self.processor.work(8)
        return INFO

    def read(self) -> Frame:
        self.processor.work(3)
        if self.decodes_ahead:  # by a thread of its own, after the call
            self.processor.left_ms = [2.0]
        return frame_of(0)

    def close(self) -> None:
        self.closed += 1
        self.processor.work(5)


def frame_of(number: int) -> Frame:
    planes = (np.full(shape, 128, np.uint8) for shape in ((36, 64), (18, 32), (18, 32)))
    return Frame("test", number, 0, 0, Yuv420(*planes), str(number))


def test_decoding_is_its_reads_alone(processor: Processor) -> None:
    source = Camera(processor)

    cost, _ = stage_cost.decode_cost(source, FRAMES)

    assert cost.cpu_ms == pytest.approx(3)
    assert (source.opened, source.closed) == (1, 1)


def test_work_that_a_library_goes_on_with_is_waited_for_and_counts(processor: Processor) -> None:
    cost, _ = stage_cost.decode_cost(Camera(processor, decodes_ahead=True), FRAMES)

    assert processor.left_ms == []
    assert cost.cpu_ms == pytest.approx(3 + 2 / FRAMES)


def test_source_is_closed_if_its_reading_fails(processor: Processor) -> None:
    source = Camera(processor)
    source.read = lambda: 1 / 0  # type: ignore[assignment, method-assign, return-value]

    with pytest.raises(ZeroDivisionError):
        stage_cost.decode_cost(source, FRAMES)

    assert source.closed == 1


class Network:
    """An engine of 5 ms."""

    def __init__(self, processor: Processor, red_is_drivable: Path) -> None:
        engine, _ = node_predictors(Task("stage_cost", str(red_is_drivable)), is_live=False)
        self.contract, self.provider = engine.contract, engine.provider
        self.model_sha256, self.nodes, self.notes = engine.model_sha256, engine.nodes, engine.notes
        self.state, self.runs_one_at_a_time = engine.state, engine.runs_one_at_a_time
        self.is_proven = engine.is_proven
        self._processor = processor

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._processor.work(5)
        return np.zeros((2, 36, 64), np.float32)

    def segment(self, frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        raise AssertionError("it gives logits")


def test_steps_of_predicting_are_kept_apart(
    processor: Processor, red_is_drivable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def costs(name: str, cpu_ms: float) -> None:
        step = getattr(predictor_module, name)

        def slow(*arguments: object) -> object:
            processor.work(cpu_ms)
            return step(*arguments)

        monkeypatch.setattr(f"perception.inference.predictor.{name}", slow)

    costs("preprocess", 2)
    costs("postprocess", 1)
    costs("class_shares", 0.5)
    engine = stage_cost.ClockedEngine(Network(processor, red_is_drivable))

    cost, steps_cpu_ms = stage_cost.predict_cost(
        Predictor(engine), engine, [frame_of(0), frame_of(1)], FRAMES
    )

    assert steps_cpu_ms == pytest.approx({"preprocess": 2, "infer": 5, "postprocess": 1.5})
    assert cost.cpu_ms == pytest.approx(8.5)


def test_turns_are_the_work_of_all_stages_of_a_frame(processor: Processor, red_is_drivable: Path) -> None:
    source, predict = Camera(processor), Predictor(Network(processor, red_is_drivable))

    cost = stage_cost.turns_cost(source, predict, None, FRAMES)

    assert cost.cpu_ms == pytest.approx(3 + 5)
    assert (source.opened, source.closed) == (1, 1)


def test_turns_end_with_a_whole_video(processor: Processor, red_is_drivable: Path, tmp_path: Path) -> None:
    predict = Predictor(Network(processor, red_is_drivable))

    stage_cost.turns_cost(Camera(processor), predict, tmp_path / "overlay.mp4", FRAMES)

    with av.open(str(tmp_path / "overlay.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == FRAMES


def test_frame_that_comes_again_is_converted_again(processor: Processor, red_is_drivable: Path) -> None:
    converted: list[bool] = []

    class Looks(Predictor):
        def __call__(self, frame: Frame):  # type: ignore[no-untyped-def]
            converted.append("image_bgr" in frame.__dict__)
            assert frame.image_bgr.size
            return super().__call__(frame)

    engine = stage_cost.ClockedEngine(Network(processor, red_is_drivable))

    stage_cost.predict_cost(Looks(engine), engine, [frame_of(0)], FRAMES)

    assert converted == [False] * FRAMES


def test_overlay_is_drawn_and_encoded_to_the_last_frame_as_one_recording(
    red_is_drivable: Path, tmp_path: Path
) -> None:
    predict = node_predictors(Task("stage_cost", str(red_is_drivable)), is_live=False)[1][0]
    predictions = [predict(replace(frame_of(number), time_ns=number)) for number in range(2)]

    cost, _ = stage_cost.overlay_cost(tmp_path, INFO, predictions, FRAMES)

    with av.open(str(tmp_path / "overlay.mp4")) as container:
        times_s = [picture.time for picture in container.decode(video=0)]
    assert times_s == pytest.approx([number / INFO.rate_hz for number in range(FRAMES)])
    assert cost.cpu_ms > 0


@pytest.mark.slow
def test_all_stages_make_the_bound(make_clip: MakeClip, red_is_drivable: Path) -> None:
    task = Task("stage_cost", str(red_is_drivable), source=str(make_clip()), options={"frames": 12})

    values = stage_cost.measure(task)

    cpu_ms = values["cpu_ms"]
    steps = sum(values["steps_cpu_ms"].values())
    assert list(cpu_ms) == list(values["wall_ms"]) == ["decode", "predict", "overlay"]
    assert list(values["quiet_cpu_ms"]) == list(cpu_ms)
    assert all(cost_ms > 0 for cost_ms in cpu_ms.values())
    assert steps == pytest.approx(cpu_ms["predict"], rel=0.3)
    assert values["cores"] == len(os.sched_getaffinity(0))
    assert values["frames"] == 12
    assert values["cpu_s"] > 0
    assert 0 < values["turns_cpu_ms"]["class_map"] < values["turns_cpu_ms"]["overlay"]


def test_bound_is_the_sum_of_what_the_cores_can_do(
    make_clip: MakeClip, red_is_drivable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def on_cores(task: Task, cores: list[int], turns_frames: int) -> list[dict[str, Any]]:
        asked.append(cores)
        speeds = [1, 2, 2][: len(cores)]  # two of them are half as fast
        return [
            {
                "cpu_ms": {"decode": 2.0 * it, "predict": 3.0 * it, "overlay": 5.0 * it},
                "wall_ms": {"decode": 2.0, "predict": 3.0, "overlay": 5.0},
                "steps_cpu_ms": {"infer": 2.5 * it},
                "turns_cpu_ms": {"class_map": 6.0 * it, "overlay": 12.0 * it},
                "own_threads": {"decode": 0, "overlay": 0},
            }
            for it in speeds
        ]

    monkeypatch.setattr("bench.scenarios.stage_cost.on_cores", on_cores)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {4, 6, 7})

    task = Task("stage_cost", str(red_is_drivable), source=str(make_clip()), options={"frames": 9})
    values = stage_cost.measure(task)

    assert asked == [[4], [4, 6, 7]]
    assert values["bound_fps"] == {"class_map": 200 + 100 + 100, "overlay": 100 + 50 + 50}
    assert values["quiet_cpu_ms"] == {"decode": 2.0, "predict": 3.0, "overlay": 5.0}
    assert values["cpu_ms"]["overlay"] == pytest.approx(25 / 3)
    assert values["turns_cpu_ms"] == pytest.approx({"class_map": 10, "overlay": 20})
    assert values["steps_cpu_ms"]["infer"] == pytest.approx(12.5 / 3)


@pytest.mark.slow
def test_core_that_fails_is_named_with_its_own_error(make_clip: MakeClip) -> None:
    task = Task("stage_cost", "no_such_model", source=str(make_clip()), options={"frames": 2})

    with pytest.raises(ValueError, match=r"^core 1: no_such_model: no such model file"):
        stage_cost.measure(task)


def test_process_that_is_never_quiet_does_not_hang(
    processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments_s = iter(np.arange(0, 100, 0.5))
    monkeypatch.setattr("time.monotonic", lambda: float(next(moments_s)))
    processor.left_ms = [10.0] * 1000

    cost, _ = stage_cost.decode_cost(Camera(processor), FRAMES)

    assert cost.cpu_ms > 3
