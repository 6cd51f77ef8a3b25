"""`drivable-bench compare`: what is noise, what is a change, and what fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import mstats

from bench.config import CompareConfig
from bench.report.compare import FIGURES, WIDTH, Comparison, compare, paired_change, rows, run
from bench.report.data import ModelFile, Report, ReportError, Result, save
from bench.task import ScenarioName, Task

METER: dict[str, Any] = {
    "wall_s": 3.0, "cpu_s": 5.5, "busy_cores": 1.8, "steal_s": 0.0, "other_cpu_s": 0.1, "watts": None,
}  # fmt: skip
MODELS = ("rt_s", "rt_m", "rt_l")
PREPROCESS_MS, INFER_MS, DECODE_MS = 0.6, 12.0, 2.5


class Builds:
    """Two builds measured in turns on a machine as noisy as they are."""

    def __init__(self, seed: int, rounds: int = 10, infer: float = 1.0) -> None:
        self._noise = np.random.default_rng(seed)
        self._rounds, self._infer = rounds, infer

    def reports(self) -> tuple[Report, Report]:
        """A and B; the infer stage of B takes `infer` times as long."""
        results: tuple[list[Result], list[Result]] = ([], [])
        clock_s = 0.0
        for number in range(self._rounds):
            for task in tasks():
                shared = self._noise.normal(0, 0.04)  # what the machine does then, the same for both
                for which in (0, 1) if number % 2 == 0 else (1, 0):
                    clock_s += 10
                    own = self._noise.normal(0, self._noise.uniform(0.01, 0.02))
                    disturbed = self._noise.uniform(0.05, 0.4) if self._noise.random() < 0.02 else 0.0
                    factor = float(np.exp(shared + own + disturbed))
                    values = self._values(task, factor, self._infer if which else 1.0)
                    results[which].append(Result(task, number, clock_s, values))
        return report(results[0]), report(results[1])

    def _values(self, task: Task, factor: float, infer: float) -> dict[str, Any]:
        frame_ms = (PREPROCESS_MS + infer * INFER_MS) * factor
        memory_mb = 220 + self._noise.integers(-3, 4)
        meter = METER | {"peak_memory_mb": float(memory_mb)}
        if task.scenario == "single_stream":
            return meter | {
                "latencies_ms": list(frame_ms * self._noise.lognormal(0, 0.08, 120)),
                "stage_ms": {},
                "frames": 120,
            }
        if task.scenario == "highest_rate":
            return {"rate_hz": float(round(800 / frame_ms)), "tried": [], "trial_s": 3.0}
        if task.scenario == "stage_cost":
            return meter | {
                "cpu_ms": {"decode": DECODE_MS * factor, "predict": frame_ms, "overlay": 3 * factor},
                "wall_ms": {},
                "steps_cpu_ms": {
                    "preprocess": PREPROCESS_MS * factor,
                    "infer": infer * INFER_MS * factor,
                    "postprocess": 0.4 * factor,
                },
                "cores": 2,
                "quiet_cpu_ms": {},
                "bound_fps": {},
                "frames": 300,
            }
        cpu_ms = DECODE_MS * factor + frame_ms
        return meter | {"to": "class_map", "fps": 2000 / cpu_ms, "frames": 600, "cpu_ms_per_frame": cpu_ms}


def tasks() -> list[Task]:
    scenarios: tuple[ScenarioName, ...] = ("single_stream", "highest_rate", "stage_cost", "offline")
    return [Task(scenario, model) for model in MODELS for scenario in scenarios]


def report(results: list[Result], **changes: Any) -> Report:
    return replace(
        Report(
            command="drivable-bench --rounds 10",
            config={},
            machine={"cpu": "a CPU", "cores": 2, "clock_mhz": 2400.0},
            versions={"drivable": "0.4.0"},
            commit="abc1234567",
            started="2026-03-01T10:00:00+00:00",
            ended="2026-03-01T11:00:00+00:00",
            results=results,
            models={"rt_s": ModelFile("1" * 64, 1000, "fp32", (640, 384))},
        ),
        **changes,
    )


def changed(comparison: Comparison) -> list[str]:
    return [it.verdict for it in comparison.figures if it.verdict in ("worse", "better")]


def steady(rounds: int, factor: float = 1.0, **more: float) -> tuple[Report, Report]:
    """One offline task without noise; B's figures are `factor` times A's, `more` by their names."""
    task, results = Task("offline", "rt_s"), ([], [])  # type: ignore[var-annotated]
    values = METER | {
        "to": "class_map",
        "fps": 100.0,
        "frames": 600,
        "cpu_ms_per_frame": 20.0,
        "peak_memory_mb": 200.0,
    }
    for number in range(rounds):
        results[0].append(Result(task, number, 20.0 * number, values))
        after = values | {"fps": values["fps"] / factor} | more
        results[1].append(Result(task, number, 20.0 * number + (10 if number % 2 else -10), after))
    return report(results[0]), report(results[1])


def test_same_build_is_found_different_at_most_once_in_twenty() -> None:
    found = [changed(compare(*Builds(seed).reports())) for seed in range(20)]

    assert sum(bool(it) for it in found) <= 1


def test_build_with_a_slower_infer_stage_is_found() -> None:
    comparisons = [compare(*Builds(seed, infer=1.1).reports(), 0.05) for seed in range(100, 110)]

    assert all("worse" in changed(it) for it in comparisons)
    assert all(it.status == 1 for it in comparisons)
    assert not any("better" in changed(it) for it in comparisons)


def test_disturbed_round_does_not_hide_a_change() -> None:
    noise = np.random.default_rng(0)
    a = np.exp(noise.normal(0, 0.015, 10))
    b = 1.1 * np.exp(noise.normal(0, 0.015, 10))
    quiet = paired_change(a, b, 0.999)
    b[3] *= 1.5

    disturbed = paired_change(a, b, 0.999)

    assert disturbed.low > 0.01
    assert disturbed.relative == pytest.approx(quiet.relative, abs=0.01)


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    noise = np.random.default_rng(1)
    intervals = [
        paired_change(np.exp(noise.normal(0, 0.03, 8)), 1.05 * np.exp(noise.normal(0, 0.03, 8)), 0.9)
        for _ in range(2000)
    ]

    assert np.mean([it.low <= 0.05 <= it.high for it in intervals]) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("confidence", "rounds", "t"),  # of any table of Student's distribution, at one degree less than rounds
    [(0.95, 2, 12.706), (0.95, 3, 4.303), (0.99, 4, 5.841), (0.99, 5, 4.604), (0.95, 6, 2.571)],
)  # fmt: skip
def test_interval_of_few_rounds_is_students(confidence: float, rounds: int, t: float) -> None:
    logs = np.linspace(-0.1, 0.1, rounds)
    error = logs.std(ddof=1) / np.sqrt(rounds)

    change = paired_change([3.0] * rounds, list(3.0 * np.exp(logs)), confidence)

    assert change.relative == pytest.approx(0, abs=1e-9)
    assert np.log1p([change.low, change.high]) == pytest.approx([-t * error, t * error], rel=2e-4)


def test_interval_of_ten_rounds_is_that_of_the_trimmed_mean() -> None:
    """Student's sleep data (1908): the gains of ten patients, as logarithms."""
    gains = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])

    change = paired_change([1.0] * 10, list(np.exp(gains)), 0.95)

    trimmed = np.sort(gains)[2:-2]
    low, high = mstats.trimmed_mean_ci(gains, limits=(0.2, 0.2), alpha=0.05)
    assert np.log1p(change.relative) == pytest.approx(trimmed.mean()) == pytest.approx(4 / 3)
    assert np.log1p([change.low, change.high]) == pytest.approx([low, high])


@pytest.mark.parametrize(("rounds", "more"), [(1, 4), (4, 1)])
def test_few_rounds_decide_nothing_and_say_how_many_more_are_needed(rounds: int, more: int) -> None:
    comparison = compare(*steady(rounds, factor=2.0), fail_over=0.05)

    assert {it.verdict for it in comparison.figures} == {"unknown"}
    assert f"at least 5 are needed, {more} more" in rows(comparison)[-1]
    assert comparison.status == 1  # a gate that saw nothing does not pass


@pytest.mark.parametrize(("allowed", "status"), [(None, 0), (0.05, 1), (0.12, 0)])
def test_fails_over_the_share_that_is_allowed(allowed: float | None, status: int) -> None:
    comparison = compare(*steady(8, factor=1.1), allowed)

    (found,) = (it for it in comparison.figures if it.verdict == "worse")
    assert found.figure.name == "fps"
    assert found.worse_by == pytest.approx(1 - 1 / 1.1)
    assert comparison.status == status


def test_more_memory_is_worse_and_more_frames_a_second_are_better() -> None:
    comparison = compare(*steady(8, factor=0.8, peak_memory_mb=250.0))

    verdicts = {it.figure.name: it.verdict for it in comparison.figures}
    assert verdicts == {"fps": "better", "peak memory MB": "worse", "CPU ms a frame": "no difference"}
    assert rows(comparison)[-1] == "3 figures compared: 1 faster, 1 more beyond noise"


def test_change_below_the_least_effect_is_no_difference() -> None:
    assert changed(compare(*steady(8, factor=1.008))) == []


def test_accuracy_on_the_same_frames_needs_no_rounds() -> None:
    task = Task("accuracy", "rt_s", options={"split": "test"})
    values = METER | {"mean_iou": 0.78, "two_classes": {"mean_iou": 0.89}, "frames": 147, "recordings": 87}
    worse = values | {"mean_iou": 0.77, "two_classes": {"mean_iou": 0.8899}}

    comparison = compare(report([Result(task, 0, 0.0, values)]), report([Result(task, 0, 9.0, worse)]))

    assert {it.figure.name: it.verdict for it in comparison.figures} == {
        "mean IoU": "worse",
        "two classes": "no difference",
    }


def test_what_makes_a_comparison_doubtful_is_a_warning() -> None:
    a, b = steady(6)
    b = replace(
        b,
        machine=b.machine | {"cpu": "another", "clock_mhz": 3000.0},
        source_sha256="2" * 64,
        models={"rt_s": replace(a.models["rt_s"], sha256="3" * 64)},
        is_partial=True,
    )

    lines = [row for row in rows(compare(a, b)) if row.startswith("warning: ")]

    assert [row.split(":")[1].strip() for row in lines] == [
        "other machine",
        "other source",
        "other model file",
        "B is partial",
    ]


def test_rounds_that_were_not_interleaved_are_a_warning() -> None:
    a, b = steady(6)
    later = replace(b, results=[replace(it, started_unix_s=it.started_unix_s + 1e6) for it in b.results])

    assert compare(a, b).warnings == []
    (warning,) = compare(a, later).warnings
    assert warning.startswith("not measured in turns")


def test_task_of_one_report_alone_is_named() -> None:
    a, b = steady(6)
    extra = Result(Task("offline", "rt_m"), 0, 0.0, a.results[0].values)

    lines = rows(compare(a, replace(b, results=[*b.results, extra])))

    assert lines[0] == "note: only B has rt_m onnx offline"


def test_build_that_does_not_run_is_no_faster() -> None:
    a, b = steady(8)
    nothing = [replace(it, values={**it.values, "fps": None}) for it in b.results]

    for broken in (replace(b, results=nothing), replace(b, results=b.results[:0])):
        comparison = compare(a, broken, 0.05)

        assert comparison.lost
        assert comparison.status == 1
        assert any(line.startswith("lost: ") for line in rows(comparison))


def test_rounds_are_paired_by_their_number() -> None:
    a, b = steady(6)
    shuffled = replace(b, results=b.results[::-1][:5])

    assert {it.rounds for it in compare(a, shuffled).figures} == {5}


def test_baselines_are_not_compared() -> None:
    assert not {"plain", "model_api"} & FIGURES.keys()


def test_rows_fit_the_terminal_and_name_the_reports(tmp_path: Path) -> None:
    a, b = Builds(3, rounds=6, infer=1.3).reports()
    save(a, tmp_path / "a.json")
    save(replace(b, versions={"drivable": "0.5.0"}), tmp_path / "b.json")

    lines, status = run(CompareConfig(str(tmp_path / "a.json"), str(tmp_path / "b.json"), "5%"))

    assert status == 1
    assert max(len(row) for row in lines[2:]) <= WIDTH
    assert lines[0] == f"A: {tmp_path / 'a.json'}, commit abc1234567, 2026-03-01T10:00:00+00:00"
    assert lines[2] == "versions: drivable 0.4.0 → 0.5.0"
    assert lines[-1].endswith("worse by more than 5 %")


@pytest.mark.parametrize("text", ["0.05", "-5%", "five %", "nan%"])
def test_share_that_is_not_in_percent_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="write it in percent, such as 5%"):
        run(CompareConfig("a.json", "b.json", text))


def test_file_that_is_no_report_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")

    with pytest.raises(ReportError, match=r"a\.json: not a report of drivable-bench"):
        run(CompareConfig(str(tmp_path / "a.json"), "b.json"))
