"""The search for the highest rate that holds, with machines made here, and one short search on a network."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.scenarios.constant_rate import LiveRun
from bench.scenarios.highest_rate import HIGHEST_HZ, LOWEST_HZ, PRECISION, Trial, measure, search
from bench.task import Task

MS = 1_000_000


def machine(holds: Callable[[float], bool]) -> Callable[[float], Trial]:
    return lambda rate_hz: Trial(rate_hz, None, 1.0, "max", 1, 0, holds(rate_hz))


@pytest.mark.parametrize("limit_hz", [1.0, 1.7, 29.9, 30.0, 60.0, 61.0, 200.0, 999.0])
@pytest.mark.parametrize("start_hz", [0.1, 30.0, 2000.0])
def test_rate_found_is_within_the_precision_of_the_limit(limit_hz: float, start_hz: float) -> None:
    rate_hz, tried = search(machine(lambda rate_hz: rate_hz <= limit_hz), start_hz)

    assert rate_hz is not None
    assert limit_hz / (1 + PRECISION) <= rate_hz <= limit_hz
    assert len(tried) <= 16


def test_search_doubles_or_halves_and_then_bisects_the_ratio() -> None:
    _, up = search(machine(lambda rate_hz: rate_hz < 200), start_hz=50)
    _, down = search(machine(lambda rate_hz: rate_hz < 30), start_hz=100)

    assert [trial.rate_hz for trial in up][:4] == [50, 100, 200, pytest.approx(141.4, abs=0.1)]
    assert [trial.rate_hz for trial in down][:4] == [100, 50, 25, pytest.approx(35.4, abs=0.1)]


def test_machine_that_never_holds_has_no_rate() -> None:
    rate_hz, tried = search(machine(lambda rate_hz: False), start_hz=20)

    assert rate_hz is None
    assert [trial.rate_hz for trial in tried] == [20, 10, 5, 2.5, 1.25, LOWEST_HZ]


def test_machine_that_always_holds_ends_at_the_cap() -> None:
    rate_hz, tried = search(machine(lambda rate_hz: True), start_hz=300)

    assert rate_hz == HIGHEST_HZ
    assert [trial.rate_hz for trial in tried] == [300, 600, HIGHEST_HZ]


@pytest.mark.parametrize("seed", range(30))
def test_noise_ends_at_a_rate_that_held_next_to_one_that_did_not(seed: int) -> None:
    drawn = random.Random(seed)
    noisy = machine(lambda rate_hz: rate_hz <= 80 * drawn.uniform(0.8, 1.25))

    rate_hz, tried = search(noisy, start_hz=90)

    assert rate_hz is not None
    assert [trial.held for trial in tried if trial.rate_hz == rate_hz] == [True]
    assert any(rate_hz < it.rate_hz <= (1 + PRECISION) * rate_hz and not it.held for it in tried)
    assert 80 * 0.75 < rate_hz < 80 * 1.25
    assert len(tried) <= 12


def run_of(latencies_ms: list[float], rate_hz: float = 100.0, dropped: int = 0) -> LiveRun:
    due_ns = [round(number * 1e9 / rate_hz) for number in range(len(latencies_ms))]
    published = [
        (number, due + round(latency_ms * MS))
        for number, (due, latency_ms) in enumerate(zip(due_ns, latencies_ms, strict=True))
    ]
    return LiveRun(rate_hz, due_ns, due_ns, published, 10**12, dropped, 0)


@pytest.mark.parametrize(
    ("latencies_ms", "dropped", "judged_by", "p99_ms", "held"),
    [
        ([5.0] * 455 + [10.5] * 4, 0, "p99", 5.0, True),  # 459 hold a 99th percentile: 4 may be late
        ([5.0] * 454 + [10.5] * 5, 0, "p99", 10.5, False),
        ([5.0] * 454 + [10.5] * 4, 0, "max", None, False),  # 458 do not: none may
        ([5.0] * 457 + [10.0], 0, "max", None, True),
        ([5.0] * 459, 1, "p99", 5.0, False),
    ],
)
def test_trial_too_small_for_a_percentile_is_judged_by_its_maximum(
    latencies_ms: list[float], dropped: int, judged_by: str, p99_ms: float | None, held: bool
) -> None:
    trial = Trial.of(run_of(latencies_ms, dropped=dropped))

    assert (trial.judged_by, trial.p99_ms, trial.held) == (judged_by, p99_ms, held)
    assert trial.max_ms == max(latencies_ms)
    assert (trial.due, trial.dropped) == (len(latencies_ms), dropped)


def test_search_on_a_network_lists_every_trial(
    monkeypatch: pytest.MonkeyPatch, red_is_drivable: Path, make_clip: Callable[..., Path]
) -> None:
    tried = []

    def run_live(predict: object, frames: object, rate_hz: float, trial_s: float) -> LiveRun:
        tried.append((rate_hz, trial_s))
        return run_of([900.0 / rate_hz if rate_hz < 8 else 1100.0 / rate_hz] * 3, rate_hz)

    monkeypatch.setattr("bench.scenarios.highest_rate.run_live", run_live)

    task = Task("highest_rate", str(red_is_drivable), source=str(make_clip()), options={"trial_s": 0.5})
    values = measure(task)

    assert values["trial_s"] == 0.5
    assert 8 / (1 + PRECISION) <= values["rate_hz"] < 8
    assert [(trial["rate_hz"], 0.5) for trial in values["tried"]] == tried
    assert {"rate_hz", "p99_ms", "dropped", "held", "judged_by"} <= values["tried"][0].keys()
