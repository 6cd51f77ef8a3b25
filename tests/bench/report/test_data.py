"""The report as a file: what is written is read, and what is no report is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from bench.report.data import (
    SCHEMA,
    Load,
    Missing,
    Report,
    ReportError,
    Result,
    describe_model,
    load,
    save,
)
from bench.task import ScenarioName, Task
from perception.inference.engines.engine import EngineError
from perception.inference.zoo import model_file

METER = dict.fromkeys(
    ("wall_s", "cpu_s", "busy_cores", "steal_s", "other_cpu_s", "peak_memory_mb", "watts"), 1.5
)
COST_MS = {"decode": 2.0, "predict": 7.0, "overlay": 4.0}
VALUES: dict[ScenarioName, dict[str, Any]] = {
    "engine_only": METER | {"latencies_ms": [1.5], "fps": 400.0, "frames": 1},
    "single_stream": METER | {"latencies_ms": [1.5, None], "stage_ms": {"infer": 1.0}, "frames": 2},
    "constant_rate": METER
    | {"rate_hz": 30.0, "due": 2, "latencies_ms": [1.5], "ages_ms": [2.5], "dropped": 1}
    | {"jitter_ms": None, "held": False, "stall": None},
    "highest_rate": {"rate_hz": None, "tried": [], "trial_s": 5.0},
    "offline": METER | {"to": "overlay", "fps": 99.0, "frames": 600, "cpu_ms_per_frame": 9.0},
    "streams": METER | {"streams": 2, "fps": 120.0, "fps_by_stream": [60.0, 60.0], "frames": 1200},
    "stage_cost": METER
    | {"cpu_ms": COST_MS, "wall_ms": COST_MS, "quiet_cpu_ms": COST_MS, "cores": 2, "frames": 60}
    | {"steps_cpu_ms": {"preprocess": 0.5, "infer": 6.0, "postprocess": 0.5}}
    | {"bound_fps": {"class_map": 222.0, "overlay": 153.0}},
    "accuracy": METER
    | {"split": "test", "frames": 9, "recordings": 1, "mean_iou": 0.8, "interval": [None, None]}
    | {"iou": {"direct": 0.8}, "boundary_iou": 0.6, "two_classes": None, "conditions": {}}
    | {"calibration_error": None, "same_under_load": True},
    "plain": METER | {"to": "class_map", "fps": 25.0, "frames": 600, "cpu_ms_per_frame": 40.0},
    "model_api": {"fps": 80.0, "frames": 600, "versions": {}},
}


def values_of(scenario: ScenarioName) -> dict[str, Any]:
    return dict(VALUES[scenario])


@pytest.fixture
def report() -> Report:
    """One result of every scenario, each with every value."""
    return Report(
        command="drivable-bench --models rt_s",
        config={"rounds": 2, "data": None},
        machine={"cpu": "a CPU", "cores": 2, "gpu": None},
        versions={"drivable": "0.4.0"},
        commit="abc1234567+",
        started="2026-03-01T10:00:00+00:00",
        ended="2026-03-01T10:05:00+00:00",
        results=[
            Result(Task(scenario, "rt_s", options={"frames": 10}), 0, 5.0, values_of(scenario))
            for scenario in VALUES
        ],
        load=Load(0.1, [0.5, 2.0]),
        is_partial=True,
        missing=[Missing("cuda", "no GPU")],
        models={"rt_s": describe_model("rt_s")},
        source_sha256="1" * 64,
    )


def edited(file: Path, report: Report, **changes: Any) -> Path:
    """A saved report with other values at its top."""
    save(report, file)
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return file


def test_saved_report_is_read_back_the_same(report: Report, tmp_path: Path) -> None:
    save(report, tmp_path / "report.json")

    assert load(tmp_path / "report.json") == report


def test_saved_report_keeps_to_its_schema(report: Report, tmp_path: Path) -> None:
    save(report, tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(saved, SCHEMA)
    del saved["results"][0]["values"]["fps"]
    with pytest.raises(jsonschema.ValidationError, match="'fps' is a required property"):
        jsonschema.validate(saved, SCHEMA)


def test_schema_knows_every_scenario() -> None:
    assert list(VALUES) == list(get_args(ScenarioName))
    assert VALUES.keys() <= SCHEMA["$defs"].keys()


def test_report_that_cannot_be_written_leaves_the_old_one(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    save(report, file)
    before = file.read_bytes()
    without_word = Result(Task("offline", "rt_s"), 0, 5.0, values_of("offline") | {"fps": float("nan")})

    with pytest.raises(ReportError, match=r"report\.json: the report cannot be written as JSON"):
        save(replace(report, results=[without_word]), file)

    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", ["", "not JSON", "[]", "{}", '{"kind": "another"}', 99_999 * "["])
def test_file_that_is_no_report_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)

    with pytest.raises(ReportError, match=r"a\.json: not a report of drivable-bench") as refused:
        load(tmp_path / "a.json")

    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_are_no_report(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ReportError, match=r"a\.json: not a report of drivable-bench"):
        load(tmp_path / "a.json")


def test_report_of_another_schema_is_refused(report: Report, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="a report of schema 99; this version of drivable reads 1 to 2"):
        load(edited(tmp_path / "a.json", report, schema=99))


def test_report_of_schema_1_is_read_in_the_names_of_today(report: Report, tmp_path: Path) -> None:
    costs = values_of("stage_cost") | {"steps_cpu_ms": {"preprocess": 1.0, "infer": 2.0, "postprocess": 3.0}}
    single = values_of("single_stream") | {"stage_ms": {"preprocess": 4.0}}
    now = replace(
        report,
        results=[
            Result(Task("engine_only", "rt_s"), 0, 5.0, values_of("engine_only")),
            Result(Task("stage_cost", "rt_s"), 0, 5.0, costs),
            Result(Task("single_stream", "rt_s"), 0, 5.0, single),
        ],
        config={"baseline_python": "python"},
        machine={"memory_gb": 25.3},
    )
    save(now, tmp_path / "now.json")
    saved = json.loads((tmp_path / "now.json").read_text())
    engine_only, stage_cost, single_stream = saved["results"]
    engine_only["task"]["scenario"] = "bare"
    stage_cost["task"]["scenario"] = "stages"
    del stage_cost["values"]["steps_cpu_ms"]
    stage_cost["values"] |= {"prepare_cpu_ms": 1.0, "infer_cpu_ms": 2.0, "interpret_cpu_ms": 3.0}
    for name in ("cpu_ms", "wall_ms", "quiet_cpu_ms"):
        stage_cost["values"][name] = {"decode": 2.0, "perceive": 7.0, "overlay": 4.0}
    single_stream["values"]["stage_ms"] = {"prepare": 4.0}
    before = saved | {"schema": 1, "config": {"rival_python": "python"}, "machine": {"memory_gb": 24.7}}
    (tmp_path / "before.json").write_text(json.dumps(before))

    assert load(tmp_path / "before.json") == now


@pytest.mark.parametrize("changes", [{"results": [1]}, {"results": [{"task": {}}]}, {"config": None}])
def test_damaged_report_of_schema_1_is_refused_in_one_line(
    changes: dict[str, Any], report: Report, tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match=r"a\.json: a damaged report of drivable-bench"):
        load(edited(tmp_path / "a.json", replace(report, results=[]), schema=1, **changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"extra": 1}, "$: Additional properties are not allowed ('extra' was unexpected)"),
        ({"results": {}}, "$.results: {} is not of type 'array'"),
        ({"results": [1]}, "$.results[0]: 1 is not of type 'object'"),
        ({"machine": []}, "$.machine: [] is not of type 'object'"),
        ({"command": 5}, "$.command: 5 is not of type 'string'"),
        ({"is_partial": "no"}, "$.is_partial: 'no' is not of type 'boolean'"),
        ({"missing": [{"title": "x"}]}, "$.missing[0]: 'reason' is a required property"),
        ({"models": {"rt_s": 9 * "x" * 99}}, "x …"),
    ],
)
def test_damaged_report_is_refused_in_one_line(
    changes: dict[str, Any], reason: str, report: Report, tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match=r"a\.json: a damaged report of drivable-bench: ") as refused:
        load(edited(tmp_path / "a.json", report, **changes))

    line = str(refused.value)
    assert reason.removesuffix("x …") in line
    assert "\n" not in line
    assert len(line) < 400


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"values": {}}, "$.results[0].values: "),
        ({"values": VALUES["offline"] | {"fps": "fast"}}, "$.results[0].values.fps: 'fast' is not of type"),
        ({"round": "first"}, "$.results[0].round: 'first' is not of type 'integer'"),
        ({"task": asdict(Task("offline", "rt_s")) | {"scenario": "x"}}, "$.results[0].task.scenario: 'x' is"),
    ],
)
def test_value_of_a_result_that_is_none_is_named(
    changes: dict[str, Any], reason: str, report: Report, tmp_path: Path
) -> None:
    result = asdict(Result(Task("offline", "rt_s"), 0, 5.0, values_of("offline")))

    with pytest.raises(ReportError) as refused:
        load(edited(tmp_path / "a.json", report, results=[result | changes]))

    assert reason in str(refused.value)


def test_model_is_described_by_its_own_file() -> None:
    described = describe_model("rt_s")

    card = json.loads(model_file("rt_s").with_suffix(".json").read_text())
    assert described.size_bytes == model_file("rt_s").stat().st_size
    assert described.sha256 == card["sha256"]
    assert described.accuracy == card["accuracy"]
    assert (described.precision, described.input_wh) == ("fp32", [640, 384])


def test_model_without_a_measured_accuracy_has_none(red_is_drivable: Path) -> None:
    assert describe_model(str(red_is_drivable)).accuracy is None


def test_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")

    with pytest.raises(EngineError, match=r"x\.onnx: not a model that ONNX Runtime can load"):
        describe_model(str(tmp_path / "x.onnx"))
