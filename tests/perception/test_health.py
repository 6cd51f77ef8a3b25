"""The node's health: what is alive, ready or a problem, and ages that no standstill keeps young."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from perception.frame import CameraState, EngineState, Frame, NoFrameRecord, Prediction
from perception.pipeline import Runner
from perception.sources.counts import SourceCounts
from perception.sources.isolated.freshness import FreshnessSettings
from perception.sources.source import Source, SourceInfo
from perception.system.clock import Clock
from perception.telemetry.counters import FrameCounters
from perception.telemetry.health import HealthReport, Phase, SinkHealth, own_memory, silence_limit_s
from perception.telemetry.reporter import HealthReporter

FRESH = HealthReport(
    source_id="rtsp://ann:***@camera/road",
    model_id="rt_m-1",
    provider="cpu",
    engine_state=EngineState.OK,
    phase=Phase.RUNNING,
    camera_state=CameraState.OK,
    camera_reason=None,
    fresh_age_s=0.03,
    fresh_limit_s=0.1,
    record_age_s=0.03,
    record_limit_s=5.0,
)


class Silent(Source):
    """A camera that is never read."""

    def open(self) -> SourceInfo:
        return SourceInfo("camera", True, (4, 4), 30.0)

    def read(self) -> Frame:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Node:
    """The reports of a run, by a clock that the test sets."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000
        clock, source = Clock(lambda: self.now_ns), Silent()
        info = source.open()
        engine: Any = SimpleNamespace(
            contract=SimpleNamespace(model_id="m"), provider="cpu", state=EngineState.OK
        )
        self._reporter = HealthReporter(source, info, engine, FreshnessSettings(), clock=clock)
        self.record = self._reporter.record
        self.runner = Runner(source, info, [Silent.open], clock=clock)  # type: ignore[list-item]

    def report(self) -> HealthReport:
        return self._reporter.report(self.runner)


def prediction(published_ns: int, state: CameraState = CameraState.OK) -> Prediction:
    frame = Frame("camera", 0, published_ns, 0, np.zeros((4, 4, 3), np.uint8), "000000")
    class_map = np.zeros((4, 4), np.uint8)
    return Prediction(frame, class_map, (1.0, 0.0, 0.0), "m", camera_state=state, published_ns=published_ns)


def outage(published_ns: int) -> NoFrameRecord:
    return NoFrameRecord("camera", (4, 4), 0, None, CameraState.LOST, "unplugged", published_ns=published_ns)


def test_young_mask_of_a_good_camera_is_ready_and_alive() -> None:
    assert FRESH.is_ready
    assert FRESH.is_alive


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"phase": Phase.STOPPING}, "stopping"),
        ({"camera_state": None}, "nothing has been published yet"),
        ({"camera_state": CameraState.LOST, "camera_reason": "unplugged"}, "camera lost: unplugged"),
        ({"camera_state": CameraState.STALE}, "camera stale"),
        ({"camera_state": CameraState.BLOCKED, "camera_reason": "dark"}, "camera blocked: dark"),
        ({"camera_state": CameraState.FROZEN}, "camera frozen"),
        ({"engine_state": EngineState.SUSPECT}, "engine suspect"),
        (
            {"engine_state": EngineState.STALLED, "engine_reason": "working on one frame for 0.6 s"},
            "engine stalled: working on one frame for 0.6 s",
        ),
        ({"fresh_age_s": None}, "no mask has been published yet"),
        ({"fresh_age_s": 0.2}, "no mask was published for 0.2 s"),
        ({"dead_end": "predict-0: out of memory"}, "predict-0: out of memory"),
    ],
)
def test_output_is_not_fresh_and_says_why(change: dict[str, Any], reason: str) -> None:
    status = replace(FRESH, **change)

    assert not status.is_ready
    assert status.why_not_ready == reason


def test_engine_that_fell_back_still_gives_fresh_masks() -> None:
    assert replace(FRESH, engine_state=EngineState.FALLBACK).is_ready


def test_poor_camera_still_gives_fresh_masks() -> None:
    assert replace(FRESH, camera_state=CameraState.DEGRADED, camera_reason="glare").is_ready


@pytest.mark.parametrize(
    "change",
    [
        {"camera_state": CameraState.LOST, "fresh_age_s": 3600.0},
        {"phase": Phase.STOPPING, "record_age_s": 6.0},
    ],
    ids=["camera lost for an hour, and reported so", "draining"],
)
def test_node_without_masks_is_alive_while_it_does_its_work(change: dict[str, Any]) -> None:
    assert replace(FRESH, **change).is_alive


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"record_age_s": 5.5}, "nothing was published for 5.5 s"),
        ({"dead_end": "infer does not move"}, "infer does not move"),
        ({"dead_end": "infer does not move", "phase": Phase.STOPPING}, "infer does not move"),
    ],
)
def test_stuck_node_is_not_alive_and_says_why(change: dict[str, Any], reason: str) -> None:
    assert replace(FRESH, **change).why_not_alive == reason


def test_ages_grow_while_nobody_publishes() -> None:
    node = Node()
    node.now_ns = 2_000_000_000
    node.record(prediction(node.now_ns))

    node.now_ns = 9_000_000_000
    report = node.report()

    assert report.camera_state is CameraState.OK
    assert (report.record_age_s, report.fresh_age_s) == (7.0, 7.0)
    assert (report.why_not_alive, report.why_not_ready) == (
        "nothing was published for 7.0 s",
        "no mask was published for 7.0 s",
    )


def test_before_the_first_output_the_age_of_the_run_counts() -> None:
    node = Node()

    node.now_ns += 3_000_000_000
    report = node.report()

    assert (report.camera_state, report.fresh_age_s, report.record_age_s) == (None, None, 3.0)


@pytest.mark.parametrize("state", [CameraState.BLOCKED, CameraState.FROZEN, CameraState.LOST])
def test_record_without_a_mask_makes_no_mask_younger(state: CameraState) -> None:
    node = Node()
    node.record(prediction(node.now_ns))

    node.now_ns += 2_000_000_000
    node.record(outage(node.now_ns) if state is CameraState.LOST else prediction(node.now_ns, state))
    node.now_ns += 1_000_000_000
    report = node.report()

    assert report.camera_state is state
    assert (report.record_age_s, report.fresh_age_s) == (1.0, 3.0)


def test_error_of_a_stage_is_a_dead_end_and_a_problem_and_that_of_a_live_sink_a_problem_alone() -> None:
    node = Node()
    node.runner.note("sink jsonl", OSError("disk full"))
    without_sink = node.report()
    node.runner.note("predict-0", MemoryError())

    assert (without_sink.dead_end, without_sink.problems(5.0)) == (None, ["sink jsonl: disk full"])
    assert node.report().dead_end == "predict-0: MemoryError"
    assert node.report().errors == ("sink jsonl: disk full", "predict-0: MemoryError")


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({}, []),
        ({"errors": ("capture: unplugged", "sink jsonl: full")}, ["capture: unplugged"]),
        (
            {"unended": ("capture", "sink jsonl")},
            [f"{it} did not end within 5.0 s" for it in ("capture", "sink jsonl")],
        ),
        (
            {"frames": FrameCounters(withheld_by={"engine suspect": 2, "camera stale": 1})},
            ["2 frames have no mask: the network's output does not depend on them"],
        ),
        ({"source": SourceCounts(unreadable=1)}, ["1 image could not be read and has no mask"]),
        ({"source": SourceCounts(unreadable=3)}, ["3 images could not be read and have no mask"]),
        ({"sinks": {"jsonl": SinkHealth(issue="9 records lost")}}, ["sink jsonl: 9 records lost"]),
    ],
)
def test_run_that_is_over_has_problems_a_line_each(change: dict[str, Any], problems: list[str]) -> None:
    assert replace(FRESH, **change).problems(5.0) == problems


@pytest.mark.parametrize(("rate_hz", "limit_s"), [(30.0, 5.0), (1.0, 5.0), (0.05, 100.0)])
def test_silence_is_allowed_for_some_periods_and_some_seconds(rate_hz: float, limit_s: float) -> None:
    assert silence_limit_s(rate_hz) == limit_s


def test_peak_of_the_memory_is_no_less_than_its_present_size() -> None:
    memory = own_memory()

    assert memory.resident_bytes
    assert memory.peak_bytes
    assert 10e6 < memory.resident_bytes <= memory.peak_bytes
