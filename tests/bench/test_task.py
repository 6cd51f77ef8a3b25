"""A task in a process of its own: its values, or one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.task import ScenarioName, Task, TaskError, main, run_task


def test_key_is_the_same_for_the_same_measurement_whatever_the_order_of_its_options() -> None:
    one = Task("offline", "rt_s", options={"to": "overlay", "frames": 3})
    other = Task("offline", "rt_s", options={"frames": 3, "to": "overlay"})

    assert one.key == other.key
    assert Task(**json.loads(one.key)) == one
    assert one.key != Task("offline", "rt_s", options={"to": "overlay", "frames": 4}).key


def test_values_are_the_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(task: Task) -> dict[str, Any]:
        print("a library that talks")
        return {"fps": 3.0, "model": task.model}

    monkeypatch.setattr("bench.scenarios.offline.measure", measure)

    assert main([Task("offline", "rt_s").key]) == 0

    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"fps": 3.0, "model": "rt_s"}


def test_error_in_the_other_process_is_one_line_that_names_the_task() -> None:
    with pytest.raises(TaskError) as caught:
        run_task(Task("engine_only", "no_such_model", options={"frames": 1}))

    assert str(caught.value).startswith("no_such_model onnx engine only: no_such_model: no such model file")
    assert "\n" not in str(caught.value)


def test_process_that_dies_is_reported_with_its_status(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    python.chmod(0o755)

    with pytest.raises(TaskError, match="ended with status -9"):
        run_task(Task("engine_only", "rt_s"), str(python))


def test_installation_without_a_bench_is_refused() -> None:
    assert sys.executable
    with pytest.raises(TaskError, match="engine only: "):
        run_task(Task("engine_only", "rt_s"), "/bin/false")


def test_checkout_in_the_working_directory_is_not_what_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/__init__.py").write_text("raise SystemExit('this is another bench')")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(TaskError, match="no such model file"):
        run_task(Task("engine_only", "no_such_model", options={"frames": 1}))


def test_title_names_the_provider_where_it_is_not_the_cpu() -> None:
    assert Task("engine_only", "rt_s").title == "rt_s onnx engine only"
    assert Task("engine_only", "rt_s", provider="cuda").title == "rt_s onnx cuda engine only"


@pytest.mark.parametrize(
    ("scenario", "options", "title"),
    [
        ("offline", {"to": "class_map", "frames": 600}, "a onnx offline, class map"),
        ("plain", {"to": "overlay", "file": "x"}, "a onnx plain, overlay"),
        ("streams", {"streams": 4, "frames": 600}, "a onnx 4 streams"),
        ("constant_rate", {"rate_hz": 30.0, "duration_s": 10.0}, "a onnx at 30 Hz"),
        ("constant_rate", {"rate_hz": 12.5, "stall_ms": 200.0}, "a onnx at 12.5 Hz, stalled"),
    ],
)
def test_title_has_the_option_that_sets_a_task_apart(
    scenario: ScenarioName, options: dict[str, Any], title: str
) -> None:
    assert Task(scenario, "/models/a.onnx", options=options).title == title


LONG = 10**6
MEASURE = (
    "import sys; from perception.cli.command import run_command; from bench.task import Task, run_task;"
    "sys.exit(run_command('drivable-bench', lambda: run_task(Task.of_key(sys.argv[1])) and 0))"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("engine_only", {"frames": LONG}),
        ("single_stream", {"frames": LONG}),
        ("constant_rate", {"rate_hz": 30.0, "duration_s": 1000.0}),
        ("highest_rate", {"trial_s": 1000.0}),
        ("offline", {"frames": LONG, "to": "overlay"}),
        ("streams", {"frames": LONG, "streams": 2}),
        ("stage_cost", {"frames": LONG}),
        ("model_api", {"frames": LONG, "file": "none.onnx"}),
    ],
)
def test_interrupt_of_the_command_alone_ends_in_one_line_and_leaves_no_process_and_no_file(
    scenario: ScenarioName,
    options: dict[str, Any],
    make_clip: Callable[..., Path],
    red_is_drivable: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    if scenario == "model_api":
        options = options | {"python": str(tmp_path / "python")}
        (tmp_path / "python").write_text(f"#!{sys.executable}\nimport time\ntime.sleep(1000)\n")
        (tmp_path / "python").chmod(0o755)
    task = Task(scenario, str(red_is_drivable), source=str(make_clip()), options=options)
    command = [sys.executable, "-c", MEASURE, task.key]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        try:
            at_work_s, started = 0.0, list[psutil.Process]()
            while len(started) < 2 and at_work_s < 2:
                assert run.poll() is None
                time.sleep(0.1)
                started = psutil.Process(run.pid).children(recursive=True)
                at_work_s = sum(it.cpu_times().user for it in started)
            time.sleep(1)
            started = psutil.Process(run.pid).children(recursive=True)
            run.send_signal(signal.SIGINT)
            _, said = run.communicate(timeout=60)
        finally:
            run.kill()

    _, left = psutil.wait_procs(started, timeout=1)
    alive = [it for it in left if it.status() != psutil.STATUS_ZOMBIE]  # which init has yet to collect
    assert run.returncode == 130
    assert said == "drivable-bench: interrupted\n"
    assert alive == []
    assert list((tmp_path / "temporary").iterdir()) == []
