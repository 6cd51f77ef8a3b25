"""The report in one line: which models keep up with a camera, and which of them is best."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report.data import ModelFile, Report, Result
from bench.report.rows import rows_of
from bench.report.text import as_markdown, as_text, verdict
from bench.task import Task

METER = dict.fromkeys(
    ("wall_s", "cpu_s", "busy_cores", "steal_s", "other_cpu_s", "peak_memory_mb", "watts"), 1.0
)


def single(model: str, ms: float) -> Result:
    return Result(Task("single_stream", model), 0, 0.0, METER | {"latencies_ms": [ms] * 500, "stage_ms": {}})


def at_rate(model: str, rate_hz: float, held: bool, number: int = 0, **more: Any) -> Result:
    values = {"rate_hz": rate_hz, "held": held, "latencies_ms": [7.0] * 500, "stall": None}
    values |= {"ages_ms": [], "dropped": 0, "jitter_ms": None}
    return Result(Task("constant_rate", model), number, 0.0, METER | values | more)


def highest(model: str, rate_hz: float | None) -> Result:
    return Result(Task("highest_rate", model), 0, 0.0, {"rate_hz": rate_hz})


def report(*results: Result, **iou: float) -> Report:
    cards = {
        name: {"split": "test", "frames": 9, "recordings": 9, "mean_iou": value}
        for name, value in iou.items()
    }
    models = {name: ModelFile("1" * 64, 1, "fp32", (2, 2), cards.get(name)) for name in "abc"}
    return Report(
        **{"command": "drivable-bench", "config": {}, "machine": {"cpu": "a CPU"}, "versions": {}},
        **{"commit": None, "started": "", "ended": "", "results": list(results), "models": models},
    )  # type: ignore[arg-type]


def line(*results: Result, **iou: float) -> str:
    return verdict(rows_of(report(*results, **iou)))


def test_fastest_and_most_accurate_are_named_among_those_that_hold_30_hz() -> None:
    results = [
        *(single("a", 2.0), at_rate("a", 30.0, True)),
        *(single("b", 9.0), at_rate("b", 30.0, True)),
        *(single("c", 1.0), at_rate("c", 30.0, False)),
    ]

    assert line(*results, a=0.77, b=0.79, c=0.9) == (
        "2 of 3 hold 30 Hz here: fastest a onnx (2.00 ms a frame, p50); "
        "most accurate b onnx (mean IoU 79.00 %)."
    )


def test_rate_that_one_round_lost_is_not_held() -> None:
    rounds = [at_rate("a", 30.0, True, 0), at_rate("a", 30.0, False, 1)]

    assert line(*rounds) == "No model holds 30 Hz here."


@pytest.mark.parametrize(
    ("results", "holds"),
    [
        ([at_rate("a", 60.0, True)], True),
        ([at_rate("a", 60.0, False), highest("a", 41.0)], True),
        ([at_rate("a", 20.0, True), highest("a", 24.0)], False),
        ([highest("a", None)], False),
        ([at_rate("a", 15.0, True)], None),
        ([at_rate("a", 30.0, False, stall={"ms": 200.0})], None),
        ([single("a", 5.0)], None),
    ],
)
def test_without_30_hz_other_rates_decide(results: list[Result], holds: bool | None) -> None:
    (row,) = rows_of(report(*results))

    assert row.holds(30.0) is holds


def test_without_any_rate_it_says_what_to_measure() -> None:
    assert line(single("a", 5.0)) == (
        "Whether a model holds 30 Hz here was not measured: --scenarios '[constant_rate]'."
    )


def test_fastest_without_a_single_stream_is_by_the_slowest_camera() -> None:
    assert line(at_rate("a", 30.0, True)) == "1 of 1 hold 30 Hz here: fastest a onnx (7.00 ms a frame, p50)."


def test_terminal_and_markdown_have_it_too() -> None:
    measured = report(at_rate("a", 30.0, False))

    assert "No model holds 30 Hz here." in as_text(measured)
    assert as_markdown(measured).startswith("**No model holds 30 Hz here.**\n")
    assert "30 Hz" not in " ".join(as_text(report()))
