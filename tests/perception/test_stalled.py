"""A network that hangs at a frame of a live run: records say so until it goes on or the run ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from perception.concurrency.hang_watch import WatchdogSettings
from perception.frame import CameraState, EngineState, Frame, NoFrameRecord, OutputItem, Prediction
from perception.pipeline import Runner, RunPolicy
from perception.sources.isolated.freshness import FreshnessSettings
from perception.sources.source import EndOfSource, Source, SourceInfo
from perception.telemetry.reporter import HealthReporter

RATE_HZ = 50.0
LIMIT_S = 10.0
STALL_S = 1.2
MAX_AGE_S = 0.3


@dataclass
class Camera(Source):
    """Frames at its rate, until it is stopped or has given so many."""

    frames: int = 1_000_000
    count: int = 0
    is_stopped: Event = field(default_factory=Event)

    def open(self) -> SourceInfo:
        return SourceInfo("cam", True, (4, 2), RATE_HZ)

    def read(self) -> Frame:
        if self.is_stopped.wait(1 / RATE_HZ) or self.count >= self.frames:
            raise EndOfSource
        self.count += 1
        now_ns = time.monotonic_ns()
        pixels = np.zeros((2, 4, 3), np.uint8)
        return Frame("cam", self.count - 1, now_ns, round((self.count - 1) * 1e9 / RATE_HZ), pixels, "")

    def stop(self) -> None:
        self.is_stopped.set()

    def close(self) -> None:
        pass


@dataclass
class Keeping:
    name: str = "keeping"
    issue: str | None = None
    written: list[OutputItem] = field(default_factory=list)

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        pass

    def write(self, output: OutputItem) -> None:
        self.written.append(output)

    def close(self) -> None:
        pass


def predict_but(hangs: Callable[[Frame], None]) -> Callable[[Frame], Prediction]:
    def predict(frame: Frame) -> Prediction:
        hangs(frame)
        return Prediction(frame, np.zeros((2, 4), np.uint8), (1.0, 0.0, 0.0), "model")

    return predict


def stalled_records(outputs: list[OutputItem]) -> list[NoFrameRecord]:
    return [it for it in outputs if isinstance(it, NoFrameRecord) and it.engine_state is EngineState.STALLED]


def run_with_a_stall(**settings: float) -> tuple[Runner, list[OutputItem], float]:
    """A live run whose network stands at frame 5; with the time at which it went on."""
    went_on_ns = 0

    def hangs(frame: Frame) -> None:
        nonlocal went_on_ns
        if frame.frame_id >= 5 and not went_on_ns:
            time.sleep(STALL_S)
            went_on_ns = time.monotonic_ns()

    camera, sink = Camera(), Keeping()
    policy = RunPolicy(max_age_s=MAX_AGE_S, watchdog=WatchdogSettings(**{"stalled_after_s": 0.3} | settings))
    runner = Runner(camera, camera.open(), [predict_but(hangs)], [sink], policy)
    runner.start()
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s and not (went_on_ns and sink.written[-1].has_mask):
        time.sleep(0.01)
    runner.stop()
    assert runner.wait(LIMIT_S)
    runner.raise_first_error()
    return runner, sink.written, went_on_ns


def test_stalled_network_is_reported_at_the_nominal_rate_without_a_mask() -> None:
    _, outputs, went_on_ns = run_with_a_stall()

    stalled = stalled_records(outputs)
    began_ns = stalled[0].captured_ns
    assert began_ns is not None
    first_s, last_s = ((it.published_ns - began_ns) / 1e9 for it in (stalled[0], stalled[-1]))
    assert 0.3 <= first_s <= 0.6
    assert (went_on_ns - stalled[-1].published_ns) / 1e9 <= 0.2
    assert len(stalled) >= 0.5 * (last_s - first_s) * RATE_HZ, "on a machine that is busy"
    assert len(stalled) <= 1.1 * (last_s - first_s) * RATE_HZ + 2
    assert not any(it.has_mask for it in stalled)
    assert all(it.camera_state is CameraState.OK for it in stalled)
    assert all((it.engine_reason or "").startswith("predict-0: working on one frame for") for it in stalled)


def test_late_frame_is_withheld_as_stale_and_all_is_in_order_and_in_the_books() -> None:
    runner, outputs, _ = run_with_a_stall()

    at = outputs.index(stalled_records(outputs)[-1])
    late, *after = outputs[at + 1 :]
    assert isinstance(late, Prediction)
    assert (late.camera_state, late.has_mask) == (CameraState.STALE, False)
    assert any(it.has_mask for it in after)
    published_ns = [it.published_ns for it in outputs]
    assert published_ns == sorted(published_ns)
    ids = [it.frame.frame_id for it in outputs if isinstance(it, Prediction)]
    assert ids == sorted(set(ids))
    assert runner.counters().in_flight == 0
    assert runner.counters().published + runner.counters().withheld == len(ids)


def test_network_that_is_slower_than_the_camera_is_not_stalled() -> None:
    _, outputs, _ = run_with_a_stall(stalled_after_s=2 * STALL_S)

    assert not stalled_records(outputs)


def test_stall_does_not_look_alive_or_fresh_and_the_watchdog_ends_it() -> None:
    goes_on = Event()
    camera, sink = Camera(), Keeping()
    settings = WatchdogSettings(stage_s=1.5, stalled_after_s=0.2)

    def hangs(frame: Frame) -> None:
        if frame.frame_id >= 5:
            goes_on.wait(LIMIT_S)

    policy, info = RunPolicy(max_age_s=0.2, watchdog=settings), camera.open()
    engine: Any = SimpleNamespace(
        contract=SimpleNamespace(model_id="m"), provider="cpu", state=EngineState.OK
    )
    reporter = HealthReporter(camera, info, engine, FreshnessSettings(max_age_s=0.2))
    predictors, listeners = [predict_but(hangs)], [reporter.record]
    runner = Runner(camera, info, predictors, [sink], policy, listeners=listeners)
    runner.start()
    until_s = time.monotonic() + LIMIT_S
    while not runner.errors and time.monotonic() < until_s:
        runner.watch()
        time.sleep(0.02)
    last = reporter.report(runner)
    written = len(sink.written)
    time.sleep(0.3)

    assert last.dead_end == "predict-0: hung: working on one frame for more than 1.5 s"
    assert stalled_records(sink.written)
    assert (last.engine_state, last.camera_state) == (EngineState.STALLED, CameraState.OK)
    assert last.record_age_s > 1.0, "records of a stall kept the node alive"
    assert len(sink.written) <= written + 2, "records went on behind the end of the run"
    goes_on.set()
    assert runner.wait(LIMIT_S)
    assert runner.counters().in_flight == 0


@pytest.mark.parametrize("value", [0, -1])
def test_limit_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="stalled_after_s"):
        WatchdogSettings(stalled_after_s=value)
