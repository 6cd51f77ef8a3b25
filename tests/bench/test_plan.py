"""From settings to tasks: everything that was asked for once, and a reason for all that is not measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.config import BenchConfig
from bench.plan import plan
from perception.inference.zoo import shipped_models


def counted(config: BenchConfig, has_gpu: bool = False) -> dict[str, int]:
    tasks = plan(config, has_gpu).every_round
    return {name: sum(task.scenario == name for task in tasks) for name in {task.scenario for task in tasks}}


def test_every_model_goes_through_every_scenario() -> None:
    config = BenchConfig(models=["rt_s", "rt_m"], rates_hz=[15, 30], streams=[2, 4])

    assert counted(config) == {
        **{"engine_only": 2, "single_stream": 2, "constant_rate": 4, "highest_rate": 2},
        **{"stage_cost": 2, "offline": 4, "streams": 4},
    }


def test_all_is_every_shipped_model_and_none_is_measured_twice() -> None:
    tasks = plan(BenchConfig(models=["rt_s", "all"], scenarios=["single_stream"]), False).every_round

    assert [task.model for task in tasks if task.scenario == "engine_only"] == [
        "rt_s",
        *(name for name in shipped_models() if name != "rt_s"),
    ]


def test_gpu_adds_its_providers_to_onnx_runtime_alone() -> None:
    config = BenchConfig(models=["rt_s"], engines=["onnx", "openvino-f32"], scenarios=["single_stream"])

    def places(has_gpu: bool) -> list[tuple[str, str]]:
        tasks = plan(config, has_gpu).every_round
        return [(task.engine, task.provider) for task in tasks if task.scenario == "engine_only"]

    assert places(False) == [("onnx", "cpu"), ("openvino-f32", "cpu")]
    assert places(True) == [("onnx", "cpu"), ("onnx", "cuda"), ("onnx", "tensorrt"), ("openvino-f32", "cpu")]


def test_what_cannot_be_measured_is_reported_with_its_reason() -> None:
    reasons = {it.title: it.reason for it in plan(BenchConfig(models=["rt_s"]), False).missing}

    assert reasons.keys() == {"cuda", "tensorrt", "plain loop", "model_api", "accuracy"}
    assert reasons["cuda"] == "no NVIDIA GPU on this machine"
    assert "--target plain" in reasons["plain loop"]
    assert "no --data" in reasons["accuracy"]


def test_accuracy_is_measured_once_and_not_in_every_round(tmp_path: Path) -> None:
    planned = plan(BenchConfig(models=["rt_s"], data=str(tmp_path), split="val"), False)

    (task,) = planned.once
    assert (task.scenario, task.options["data"], task.options["split"]) == ("accuracy", str(tmp_path), "val")
    assert all(task.scenario != "accuracy" for task in planned.every_round)


def test_stall_is_part_of_the_task_only_where_one_is_asked_for() -> None:
    def options(**settings: Any) -> dict[str, Any]:
        config = BenchConfig(models=["rt_s"], scenarios=["constant_rate"], rates_hz=[30], **settings)
        return dict(plan(config, False).every_round[0].options)

    assert options() == {"rate_hz": 30, "duration_s": 10.0}
    assert options(stall_ms=200.0)["stall_stage"] == "predict"


def test_plain_graph_belongs_to_the_model_that_it_is_named_after(
    tmp_path: Path,
) -> None:
    graph = tmp_path / "rt_s-int8_plain.onnx"
    graph.touch()
    config = BenchConfig(
        models=["rt_s", "rt_s-int8"],
        plain=[str(graph)],
        scenarios=["offline"],
        baseline_python="/venv/python",
    )

    tasks = [task for task in plan(config, False).every_round if task.scenario in ("plain", "model_api")]

    assert [(task.scenario, task.options.get("to")) for task in tasks] == [
        ("plain", "class_map"),
        ("plain", "overlay"),
        ("model_api", None),
    ]
    assert {task.model for task in tasks} == {"rt_s-int8"}
    assert {task.options["file"] for task in tasks} == {str(graph)}


def test_plain_graph_of_no_model_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").touch()

    with pytest.raises(ValueError, match=r"other\.onnx: .* and other is not one of rt_s"):
        plan(BenchConfig(models=["rt_s"], plain=[str(tmp_path / "other.onnx")]), False)
    with pytest.raises(FileNotFoundError, match="no such plain graph"):
        plan(BenchConfig(models=["rt_s"], plain=[str(tmp_path / "rt_s_plain.onnx")]), False)


def test_model_has_one_plain_graph_and_no_other_models(tmp_path: Path) -> None:
    graphs = [tmp_path / name for name in ("rt_s-plain.onnx", "rt_s_plain.onnx", "rt_s-int8-plain.onnx")]
    for graph in graphs:
        graph.touch()

    with pytest.raises(ValueError, match="one plain graph a model"):
        plan(BenchConfig(models=["rt_s"], plain=[str(graphs[0]), str(graphs[1])]), False)
    with pytest.raises(ValueError, match="rt_s-int8 is not one of rt_s"):
        plan(BenchConfig(models=["rt_s"], plain=[str(graphs[2])]), False)


def test_what_is_named_twice_is_measured_once() -> None:
    config = BenchConfig(models=["rt_s"], engines=["onnx", "onnx"], rates_hz=[30, 30], streams=[2, 2])

    tasks = plan(config, False).every_round

    assert len({task.key for task in tasks}) == len(tasks)


@pytest.mark.parametrize("source", ["missing.mp4", "rtsp://user:secret@camera/road"])
def test_source_that_is_no_file_is_refused_without_its_password(source: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        plan(BenchConfig(models=["rt_s"], source=source), False)

    assert "no such video" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_data_that_are_not_there_are_reported_before_anything_is_measured() -> None:
    with pytest.raises(FileNotFoundError, match=r"^nowhere: no such folder; --data names"):
        plan(BenchConfig(models=["rt_s"], data="nowhere"), False)


def test_provider_that_was_not_asked_for_is_not_missing() -> None:
    config = BenchConfig(models=["rt_s"], providers=["cuda"], scenarios=["single_stream"])

    assert [it.title for it in plan(config, False).missing] == ["cuda"]


def test_quick_changes_only_what_was_left_at_its_default() -> None:
    config = BenchConfig(quick=True, rounds=3).shortened()

    assert (config.rounds, config.frames, config.streams) == (3, 300, [])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"models": []}, "at least one of models"),
        ({"rounds": 0}, "rounds is 0"),
        ({"rates_hz": [30, 0]}, "rates_hz holds"),
        ({"rates_hz": [float("nan")]}, "rates_hz holds"),
        ({"duration_s": float("inf")}, "duration_s is inf"),
        ({"stall_ms": -5.0}, "stall_ms is -5"),
        ({"stall_ms": 200.0, "quick": True}, "the first stall comes after half of it"),
        ({"resume": True}, "--out DIR"),
        ({"baseline_python": "python"}, "--plain"),
    ],
)
def test_settings_that_measure_nothing_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        BenchConfig(**settings)
