"""The node's status: what counts as alive and as fresh, and ages that no standstill can keep young."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perception.frame import CameraState, EngineState, Frame, NoFrameRecord, Prediction
from perception.telemetry.health import (
    LastOutput,
    NodeStatus,
    Phase,
    own_memory,
    silence_limit_s,
)

FRESH = NodeStatus(
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The monotonic clock in ns, as a list of one value to be set."""
    now = [1_000_000_000]
    monkeypatch.setattr("perception.telemetry.health.time.monotonic_ns", lambda: now[0])
    return now


def prediction(published_ns: int, state: CameraState = CameraState.OK) -> Prediction:
    frame = Frame("camera", 0, published_ns, 0, np.zeros((4, 4, 3), np.uint8), "000000")
    class_map = np.zeros((4, 4), np.uint8)
    return Prediction(frame, class_map, (1.0, 0.0, 0.0), "m", camera_state=state, published_ns=published_ns)


def outage(published_ns: int) -> NoFrameRecord:
    return NoFrameRecord("camera", (4, 4), 0, None, CameraState.LOST, "unplugged", published_ns=published_ns)


def test_young_mask_of_a_good_camera_is_fresh_and_alive() -> None:
    assert FRESH.is_fresh
    assert FRESH.is_alive


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"phase": Phase.STOPPING}, "stopping"),
        ({"camera_state": None}, "nothing was published yet"),
        ({"camera_state": CameraState.LOST, "camera_reason": "unplugged"}, "camera lost: unplugged"),
        ({"camera_state": CameraState.STALE}, "camera stale"),
        ({"camera_state": CameraState.BLOCKED, "camera_reason": "dark"}, "camera blocked: dark"),
        ({"camera_state": CameraState.FROZEN}, "camera frozen"),
        ({"engine_state": EngineState.SUSPECT}, "engine suspect"),
        (
            {"engine_state": EngineState.STALLED, "engine_reason": "at one frame for 0.6 s"},
            "engine stalled: at one frame for 0.6 s",
        ),
        ({"fresh_age_s": None}, "no mask was published yet"),
        ({"fresh_age_s": 0.2}, "no mask was published for 0.2 s"),
        ({"dead_end": "predict-0: out of memory"}, "predict-0: out of memory"),
    ],
)
def test_output_is_not_fresh_and_says_why(change: dict[str, Any], reason: str) -> None:
    status = replace(FRESH, **change)

    assert not status.is_fresh
    assert status.why_not_fresh == reason


def test_engine_that_fell_back_still_gives_fresh_masks() -> None:
    assert replace(FRESH, engine_state=EngineState.FALLBACK).is_fresh


def test_poor_camera_still_gives_fresh_masks() -> None:
    assert replace(FRESH, camera_state=CameraState.DEGRADED, camera_reason="glare").is_fresh


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


def test_ages_grow_while_nobody_publishes(clock: list[int]) -> None:
    last = LastOutput()
    clock[0] = 2_000_000_000
    last.record(prediction(clock[0]))

    clock[0] = 9_000_000_000
    published = last.published()

    assert published.camera_state is CameraState.OK
    assert (published.record_age_s, published.fresh_age_s) == (7.0, 7.0)


def test_before_the_first_output_the_age_of_the_run_counts(clock: list[int]) -> None:
    last = LastOutput()

    clock[0] += 3_000_000_000
    published = last.published()

    assert (published.camera_state, published.fresh_age_s, published.record_age_s) == (None, None, 3.0)


@pytest.mark.parametrize("state", [CameraState.BLOCKED, CameraState.FROZEN, CameraState.LOST])
def test_record_without_a_mask_makes_no_mask_younger(state: CameraState, clock: list[int]) -> None:
    last = LastOutput()
    last.record(prediction(clock[0]))

    clock[0] += 2_000_000_000
    last.record(outage(clock[0]) if state is CameraState.LOST else prediction(clock[0], state))
    clock[0] += 1_000_000_000
    published = last.published()

    assert published.camera_state is state
    assert (published.record_age_s, published.fresh_age_s) == (1.0, 3.0)


@pytest.mark.parametrize(("rate_hz", "limit_s"), [(30.0, 5.0), (1.0, 5.0), (0.05, 100.0)])
def test_silence_is_allowed_for_some_periods_and_some_seconds(rate_hz: float, limit_s: float) -> None:
    assert silence_limit_s(rate_hz) == limit_s


def test_peak_of_the_memory_is_no_less_than_its_present_size() -> None:
    memory = own_memory()

    assert memory.resident_bytes
    assert memory.peak_bytes
    assert 10e6 < memory.resident_bytes <= memory.peak_bytes
