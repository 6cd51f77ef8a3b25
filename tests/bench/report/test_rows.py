"""From results to rows and tables: what is pooled, what is paired by round, and what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from bench.quantiles import quantile
from bench.report.data import Missing, ModelFile, Report, Result
from bench.report.rows import Row, Spread, at, rows_of
from bench.report.table import Table, stage_costs, tables
from bench.report.text import WIDTH, as_markdown, as_text
from bench.task import ScenarioName, Task

METER: dict[str, Any] = {
    "wall_s": 3.0, "cpu_s": 5.4, "busy_cores": 1.8, "steal_s": 0.0, "other_cpu_s": 0.1,
    "peak_memory_mb": 210.0, "watts": None,
}  # fmt: skip
CARD: dict[str, Any] = {
    "split": "test",
    "frames": 147,
    "recordings": 87,
    "mean_iou": 0.7706,
    "interval": [0.74, 0.8],
    "iou": {"direct": 0.75, "alternative": 0.6, "background": 0.95},
    "two_classes": {"mean_iou": 0.87, "interval": [0.86, 0.88], "iou": {"drivable": 0.8, "background": 0.95}},
    "conditions": {"day": {"frames": 95, "mean_iou": 0.78}, "night": {"frames": 52, "mean_iou": 0.75}},
}


def result(scenario: ScenarioName, number: int = 0, model: str = "rt_s", **values: Any) -> Result:
    return Result(Task(scenario, model), number, 10.0 * number, METER | values)


def offline(number: int, fps: float, to: str = "class_map", cpu_ms: float = 10.0) -> Result:
    return result("offline", number, to=to, fps=fps, frames=600, cpu_ms_per_frame=cpu_ms)


def stage_cost(number: int, bound_fps: float, infer_ms: float = 6.0) -> Result:
    return result(
        "stage_cost",
        number,
        cpu_ms={"decode": 2.0, "predict": infer_ms + 1.0, "overlay": 4.0},
        wall_ms={},
        quiet_cpu_ms={"decode": 1.5, "predict": infer_ms, "overlay": 3.5},
        steps_cpu_ms={"preprocess": 0.6, "infer": infer_ms, "postprocess": 0.4},
        cores=2,
        bound_fps={"class_map": bound_fps, "overlay": bound_fps / 2},
        frames=300,
    )


def single_stream(number: int, latencies_ms: list[float]) -> Result:
    stage_ms = {"preprocess": 0.5, "infer": 3.0, "postprocess": 0.4}
    return result(
        "single_stream", number, latencies_ms=latencies_ms, stage_ms=stage_ms, frames=len(latencies_ms)
    )


def constant_rate(number: int, rate_hz: float, held: bool = True, dropped: int = 0) -> Result:
    return result(
        "constant_rate",
        number,
        rate_hz=rate_hz,
        due=300,
        latencies_ms=[5.0] * 299 + [20.0],
        ages_ms=[5.0] * 300,
        dropped=dropped,
        jitter_ms=None,
        held=held,
        stall=None,
    )


def report(*results: Result, **changes: Any) -> Report:
    values: dict[str, Any] = {
        "command": "drivable-bench --rounds 3",
        "config": {},
        "machine": {"cpu": "a CPU", "cores": 2, "memory_gb": 24.0},
        "versions": {},
        "commit": "abc1234567",
        "started": "2026-03-01T10:00:00+00:00",
        "ended": "2026-03-01T11:00:00+00:00",
        "results": list(results),
        "models": {"rt_s": ModelFile("1" * 64, 3_800_000, "fp32", (640, 384), CARD)},
    }
    return Report(**values | changes)


def row(*results: Result, **changes: Any) -> Row:
    (found,) = rows_of(report(*results, **changes))
    return found


def table(report: Report, scenario: str) -> Table:
    (found,) = (it for it in tables(rows_of(report)) if it.scenario == scenario)
    return found


def column(report: Report, scenario: str, name: str) -> list[str]:
    found = table(report, scenario)
    return [cells[found.columns.index(name)] for cells in found.rows]


def test_stage_costs_are_shown_with_all_cores_busy_and_on_a_quiet_machine() -> None:
    measured = report(stage_cost(0, 100.0), stage_cost(1, 100.0))

    (found,) = rows_of(measured)
    assert {name: it.median for name, it in stage_costs(found.rounds("stage_cost")).items()} == {
        **{"decode": 2.0, "preprocess": 0.6, "infer": 6.0, "postprocess": 0.4, "overlay": 4.0}
    }
    assert column(measured, "stage_cost", "sum, ms") == ["13.0"]
    assert column(measured, "stage_cost", "sum on one core, ms") == ["11.0"]
    assert column(measured, "stage_cost", "limit to overlay, fps") == ["50.0"]


def test_latencies_of_all_rounds_are_pooled() -> None:
    single = row(*(single_stream(n, [float(n)] * 100) for n in range(5))).rounds("single_stream")

    pooled_ms = single.latencies_ms
    assert (len(pooled_ms), len(single), max(pooled_ms)) == (500, 5, 4.0)
    assert quantile(pooled_ms, 0.5).value == 2.0
    assert quantile(pooled_ms, 0.99).value == 4.0
    assert quantile(pooled_ms, 0.999).value is None
    assert quantile(pooled_ms, 0.999).missing == 4603 - 500


def test_share_of_the_limit_is_formed_within_a_round() -> None:
    # The machine halves its speed in the second round: medians of each alone would give 100 over 100.
    results = [
        *(offline(n, fps) for n, fps in enumerate((180.0, 90.0, 100.0))),
        *(stage_cost(n, bound) for n, bound in enumerate((200.0, 100.0, 100.0))),
    ]

    found = row(*results)

    rounds = found.rounds("offline")
    assert rounds.spread("fps") == Spread(100.0, 90.0, 180.0, 3)
    of_limit = rounds.over(at("fps"), found.rounds("stage_cost"), at("bound_fps", "class_map"))
    assert of_limit == Spread(0.9, 0.9, 1.0, 3)
    assert column(report(*results), "offline", "share of CPU limit") == ["90 %"]


def test_cpu_time_is_compared_with_the_stages_that_took_part() -> None:
    measured = report(
        offline(0, 100.0, cpu_ms=9.9), offline(0, 80.0, "overlay", cpu_ms=14.3), stage_cost(0, 200.0)
    )

    assert column(measured, "offline", "output") == ["class map", "overlay"]
    assert column(measured, "offline", "CPU over stages alone") == ["1.10x", "1.10x"]  # of 9 ms, and of 13


def test_cpu_time_is_compared_with_a_thread_that_does_all_stages_in_turn() -> None:
    values = stage_cost(0, 200.0).values | {"turns_cpu_ms": {"class_map": 10.0, "overlay": 14.0}}
    took_turns = result("stage_cost", **values)

    measured = report(offline(0, 100.0, cpu_ms=9.9), offline(0, 80.0, "overlay", cpu_ms=14.3), took_turns)

    assert column(measured, "offline", "CPU over one thread") == ["0.99x", "1.02x"]


def test_report_from_before_stages_took_turns_can_be_read() -> None:
    assert column(report(offline(0, 100.0), stage_cost(0, 200.0)), "offline", "CPU over one thread") == ["–"]


def test_baselines_are_compared_with_every_engine_that_ran_their_model() -> None:
    by_openvino = Result(Task("offline", "rt_s", "openvino"), 0, 0.0, offline(0, 300.0).values)
    measured = report(
        offline(0, 200.0),
        offline(0, 120.0, "overlay"),
        by_openvino,
        result("plain", to="class_map", fps=100.0, frames=600, cpu_ms_per_frame=9.0),
        result("plain", to="overlay", fps=40.0, frames=600, cpu_ms_per_frame=9.0),
        result("model_api", fps=80.0, frames=600, versions={}),
        result("plain", model="rt_m", to="class_map", fps=1.0, frames=600, cpu_ms_per_frame=9.0),
    )

    assert table(measured, "baselines").rows == [
        ["rt_s onnx", "class map", "200", "2.00x", "2.50x"],
        ["rt_s onnx", "overlay", "120", "3.00x", "–"],
        ["rt_s openvino", "class map", "300", "3.00x", "3.75x"],
    ]


def test_round_without_a_baseline_has_no_ratio() -> None:
    baseline = result("plain", 1, to="class_map", fps=50.0, frames=600, cpu_ms_per_frame=9.0)

    found = row(offline(0, 100.0), offline(1, 100.0), baseline)

    assert found.rounds("offline").over(at("fps"), found.rounds("plain"), at("fps")) == Spread(
        2.0, 2.0, 2.0, 1
    )


def test_rates_are_kept_apart_and_their_rounds_counted() -> None:
    measured = report(
        constant_rate(0, 60.0, held=False, dropped=7),
        constant_rate(0, 30.0),
        constant_rate(1, 60.0),
        constant_rate(1, 30.0),
    )

    assert column(measured, "constant_rate", "camera, Hz") == ["30", "60"]
    assert column(measured, "constant_rate", "rounds held") == ["2/2", "1/2"]
    assert column(measured, "constant_rate", "dropped of due") == ["0/600", "7/600"]
    assert column(measured, "constant_rate", "age when published, ms") == ["5.00", "5.00"]


def test_round_that_held_no_rate_counts_as_none_held() -> None:
    found = row(*(result("highest_rate", n, rate_hz=rate) for n, rate in enumerate((None, 40.0, 50.0))))

    assert found.highest_rate_hz == Spread(40.0, 0.0, 50.0, 3)


def test_card_gives_the_accuracy_where_it_was_not_measured() -> None:
    found = row(offline(0, 100.0)).accuracy

    assert found is not None
    assert found.origin == "card (test)"
    assert (found.mean_iou, found.interval, found.values["frames"]) == (0.7706, (0.74, 0.8), 147)


def test_measured_accuracy_comes_before_the_card_s() -> None:
    values = CARD | {"split": "val", "mean_iou": 0.5, "boundary_iou": 0.4, "calibration_error": 0.02}

    measured = report(result("accuracy", **values, same_under_load=False))

    (cells,) = table(measured, "accuracy").rows
    assert cells[0:2] == ["rt_s onnx", "50.00 (74.0–80.0)"]
    assert cells[5:] == ["40.00", "87.00", "2.00", "78.00", "75.00", "val, differs under load"]


def test_network_of_two_classes_has_no_mean_of_three() -> None:
    two = {name: CARD[name] for name in ("split", "frames", "recordings", "two_classes")}
    model = ModelFile("1" * 64, 1000, "fp32", (64, 36), two)

    found = row(offline(0, 100.0), models={"rt_s": model}).accuracy

    assert found is not None
    assert (found.mean_iou, found.interval) == (None, None)
    assert found.iou == {"drivable": 0.8, "background": 0.95}


def test_model_without_card_and_rounds_without_results_leave_gaps() -> None:
    found = row(offline(0, 100.0), models={})

    assert (found.accuracy, found.size_mb, len(found.rounds("single_stream"))) == (None, None, 0)
    assert column(report(offline(0, 100.0)), "offline", "share of CPU limit") == ["–"]


def everything(model: str = "rt_s") -> Report:
    results = [
        *(single_stream(n, [4.0, 5.0] * 50) for n in range(3)),
        *(constant_rate(n, rate) for n in range(3) for rate in (30.0, 60.0)),
        result("highest_rate", rate_hz=None),
        *(offline(n, 100.0 + n) for n in range(3)),
        stage_cost(0, 110.0),
        result("plain", to="class_map", fps=50.0, frames=600, cpu_ms_per_frame=9.0),
        result("streams", streams=2, fps=150.0, fps_by_stream=[70.0, 80.0], frames=1200),
    ]
    renamed = [Result(Task(it.task.scenario, model), it.round, 0.0, it.values) for it in results]
    return report(*renamed, missing=[Missing("cuda", "no GPU")])


@pytest.mark.parametrize(
    "model", ["rt_s", "/somewhere/a-network-with-a-name-that-is-longer-than-a-line.onnx"]
)
def test_tables_fit_the_terminal(model: str) -> None:
    *lines, last = as_text(everything(model))

    assert max(len(line) for line in lines) <= WIDTH
    assert "not measured: cuda: no GPU" in lines
    assert last == "a CPU, 2 cores, 24 GB, commit abc1234567: drivable-bench --rounds 3"


def test_names_are_not_cut_until_they_are_alike() -> None:
    models = [f"{'a-network-with-a-long-name-' * 4}{end}" for end in ("one", "two")]
    results = [result("single_stream", model=it, latencies_ms=[1.0], stage_ms={}, frames=1) for it in models]

    lines = as_text(report(*results))

    assert len({line.split("  ")[0] for line in lines if " onnx" in line}) == len(models)


def test_table_says_how_many_frames_a_quantile_lacks() -> None:
    (cells,) = table(everything(), "single_stream").rows
    assert cells[0] == "rt_s onnx"
    assert cells[1].startswith("4.00 (")
    assert cells[3:5] == ["+159 frames", "+4,303 frames"]


def test_offline_table_shows_median_range_and_ratios() -> None:
    found = table(everything(), "offline")

    assert found.rows[0][1:4] == ["class map", "101 (100–102)", "91 %"]
    assert found.note.startswith("Medians over 3 rounds")


def test_what_was_not_measured_has_no_table() -> None:
    rows = rows_of(report(offline(0, 100.0), models={}))

    assert [it.scenario for it in tables(rows)] == ["offline"]


def test_markdown_names_machine_commit_and_command_below_each_table() -> None:
    markdown = as_markdown(everything("a|b"))

    origin = "a CPU, 2 cores, 24 GB, commit abc1234567: `drivable-bench --rounds 3`"
    assert markdown.count(origin) == len(tables(rows_of(everything("a|b"))))
    assert "| a\\|b onnx |" in markdown


def test_markdown_shows_a_hostile_model_name_as_text() -> None:
    markdown = as_markdown(everything("<img src=x onerror=alert(1)>![x](b)`c`\n| d |\x1b[2J&lt;"))

    assert "<img" not in markdown
    assert "\x1b" not in markdown
    assert "![" not in markdown
    assert r"&lt;img src=x onerror=alert(1)>!\[x\](b)\`c\`\\n\| d \|\\x1b\[2J&amp;lt;" in markdown
