"""A run: rounds in turns, nothing measured twice, nothing lost when it is interrupted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import suite
from bench.config import BenchConfig
from bench.report.data import ReportError, load
from bench.report.page import write_page
from bench.task import Task, TaskError

METER = dict.fromkeys(
    ("wall_s", "cpu_s", "busy_cores", "steal_s", "other_cpu_s", "peak_memory_mb", "watts"), 1.0
)
VALUES: dict[str, dict[str, Any]] = {
    "engine_only": {"latencies_ms": [2.0], "fps": 500.0, "frames": 1},
    "single_stream": {"latencies_ms": [3.0], "stage_ms": {}, "frames": 1},
}

Call = tuple[str, str]
"""Scenario and interpreter."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What was measured, in its order; nothing is."""
    made: list[Call] = []

    def fake(task: Task, python: str, road: Path | None) -> dict[str, Any]:
        made.append((task.scenario, python))
        return VALUES[task.scenario] | METER

    def installation(python: str, models: list[str]) -> dict[str, Any]:
        file = {"sha256": "1", "size_bytes": 1, "precision": "fp32", "input_wh": [2, 2], "accuracy": None}
        return {"versions": {}, "commit": "abc", "python": "3", "models": dict.fromkeys(models, file)}

    monkeypatch.setattr("bench.suite.run_task", fake)
    monkeypatch.setattr("bench.suite.record_road", lambda file: file)
    monkeypatch.setattr("bench.suite.of_installation", installation)
    monkeypatch.setattr("bench.suite.warning_now", lambda: None)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., BenchConfig]:
    def make(**changed: Any) -> BenchConfig:
        given = {
            "models": ["rt_s"],
            "scenarios": ["single_stream"],
            "out": str(tmp_path / "out"),
            "rounds": 2,
        }
        return BenchConfig(**{**given, **changed})

    return make


def measure(config: BenchConfig) -> list[str]:
    said: list[str] = []
    suite.run(config, suite.folder_of(config), "drivable-bench", said.append)
    return said


def test_every_other_round_runs_backwards(calls: list[Call], settings: Callable[..., BenchConfig]) -> None:
    measure(settings())

    assert [scenario for scenario, _ in calls] == [
        "engine_only",
        "single_stream",
        "single_stream",
        "engine_only",
    ]


def test_another_installation_takes_turns_with_this_one(
    calls: list[Call], settings: Callable[..., BenchConfig], tmp_path: Path
) -> None:
    measure(settings(against="/other/python", models=["rt_s"]))

    ours = [python != "/other/python" for scenario, python in calls if scenario == "engine_only"]
    assert ours == [True, False, False, True]
    a, b = load(tmp_path / "out/report.json"), load(tmp_path / "out/against.json")
    assert [result.task.key for result in a.results] == [result.task.key for result in b.results]
    assert not a.is_partial


def test_interrupted_run_keeps_what_it_measured_and_goes_on_there(
    calls: list[Call],
    settings: Callable[..., BenchConfig],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    fake = suite.run_task

    def interrupted(task: Task, python: str, road: Path | None) -> dict[str, Any]:
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fake(task, python, road)

    monkeypatch.setattr("bench.suite.run_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(settings())
    kept = load(tmp_path / "out/report.json")
    assert (len(kept.results), kept.is_partial) == (3, True)
    monkeypatch.setattr("bench.suite.run_task", fake)

    measure(settings(resume=True))

    whole = load(tmp_path / "out/report.json")
    assert (len(whole.results), whole.is_partial) == (4, False)
    assert whole.results[:3] == kept.results


def test_resume_of_nothing_measures_nothing_unasked(
    calls: list[Call], settings: Callable[..., BenchConfig], tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match="out: no such folder; there is nothing to continue"):
        measure(settings(resume=True))
    assert not calls

    (tmp_path / "out").mkdir()  # as of a run that was interrupted in its first task
    assert any(
        "holds no report to continue; starting a new one" in line for line in measure(settings(resume=True))
    )


def test_more_rounds_can_be_added_and_nothing_else_changed(
    calls: list[Call], settings: Callable[..., BenchConfig], tmp_path: Path
) -> None:
    measure(settings())
    measure(settings(resume=True, rounds=3))

    assert [result.round for result in load(tmp_path / "out/report.json").results] == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ReportError, match=r"other settings \(single_stream_frames\)"):
        measure(settings(resume=True, single_stream_frames=7))


def test_report_in_the_way_is_not_overwritten(
    calls: list[Call], settings: Callable[..., BenchConfig], tmp_path: Path
) -> None:
    measure(settings())
    before = (tmp_path / "out/report.json").read_bytes()

    with pytest.raises(
        ReportError, match="holds a report already; --resume continues it, --overwrite replaces it"
    ):
        measure(settings())

    assert (tmp_path / "out/report.json").read_bytes() == before


def test_plots_of_the_user_are_set_aside_before_the_first_task_and_not_replaced_by_resume(
    calls: list[Call], settings: Callable[..., BenchConfig], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    for name in ("pareto.png", "rates.png"):
        (tmp_path / "out" / name).write_text("of the user")

    measure(settings())
    write_page(load(tmp_path / "out/report.json"), tmp_path / "out", overwrite=True)  # as with --resume

    for name in ("pareto.1.png", "rates.1.png"):
        assert (tmp_path / "out" / name).read_text() == "of the user"


def test_task_that_comes_to_nothing_is_reported_once_and_the_others_go_on(
    calls: list[Call],
    settings: Callable[..., BenchConfig],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    fake = suite.run_task

    def failing(task: Task, python: str, road: Path | None) -> dict[str, Any]:
        if task.scenario == "engine_only":
            calls.append(("failed", python))
            raise TaskError(f"{task.title}: no memory left")
        return fake(task, python, road)

    monkeypatch.setattr("bench.suite.run_task", failing)

    measure(settings())

    report = load(tmp_path / "out/report.json")
    assert [result.task.scenario for result in report.results] == ["single_stream"] * 2
    assert [it.reason for it in report.missing if "engine only" in it.title] == ["no memory left"]
    assert [name for name, _ in calls].count("failed") == 1


def test_quick_run_says_first_how_long_it_takes_and_then_that_the_machine_is_busy(
    calls: list[Call], settings: Callable[..., BenchConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.suite.warning_now", lambda: "other programs take 50% of the cores now")

    said = measure(settings(quick=True))

    assert re.search(r"^report: .*; about \d+ (s|min) on two idle cores$", said[0])
    assert said[1] == "warning: other programs take 50% of the cores now"


def test_progress_says_how_long_the_rest_takes(
    calls: list[Call], settings: Callable[..., BenchConfig]
) -> None:
    said = measure(settings())

    assert said[1].startswith("[1/4] round 1: rt_s onnx engine only")
    assert "to go" not in said[1]
    assert said[2].endswith(" s to go")


def test_report_is_not_gone_on_with_once_a_model_has_changed(
    calls: list[Call], settings: Callable[..., BenchConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(settings())
    before = suite.of_installation

    def changed(python: str, models: list[str]) -> dict[str, Any]:
        facts = before(python, models)
        return {**facts, "models": {name: {**it, "sha256": "2"} for name, it in facts["models"].items()}}

    monkeypatch.setattr("bench.suite.of_installation", changed)

    with pytest.raises(ReportError, match="its models changed since"):
        measure(settings(resume=True, rounds=3))
