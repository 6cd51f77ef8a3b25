"""Processes that measure at the same time: one that fails is named, and none is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.scenarios import streams
from bench.scenarios.side_by_side import SideBySide
from bench.task import Task

MakeClip = Callable[..., Path]


METER = {"wall_s", "cpu_s", "busy_cores", "steal_s", "other_cpu_s", "peak_memory_mb", "watts"}


def children() -> list[psutil.Process]:
    return psutil.Process().children()


@pytest.mark.slow
def test_process_that_fails_is_named_and_the_other_is_not_left_waiting(
    make_clip: MakeClip, red_is_drivable: Path
) -> None:
    clip, options = str(make_clip()), {"streams": 2, "frames": 5}
    models = (str(red_is_drivable), "nothing")
    arguments = [(Task("streams", it, source=clip, options=options).key, "1") for it in models]
    before = children()

    with (
        pytest.raises(ValueError, match=r"^stream 2: nothing: no such model file") as raised,
        SideBySide("bench.scenarios.streams", "stream", arguments) as processes,
    ):
        processes.wait()

    assert "\n" not in str(raised.value)
    assert children() == before


def test_process_that_dies_is_named_with_its_status() -> None:
    before = children()

    with SideBySide("bench.scenarios.stage_cost", "core", [("{}", "0", "0")] * 2) as processes:
        for each in set(children()) - set(before):
            each.kill()
        with pytest.raises(ValueError, match=r"^core 1: ended with status -9$"):
            processes.wait()

    assert children() == before


@pytest.mark.slow
@pytest.mark.parametrize("started", [1, 2])
def test_interrupt_while_processes_start_ends_them_all(
    started: int, make_clip: MakeClip, red_is_drivable: Path
) -> None:
    """Of the one that measures alone, as a supervisor sends it."""
    task = Task("stage_cost", str(red_is_drivable), source=str(make_clip()), options={"frames": 1000})
    body = (
        "import sys; from bench.scenarios import stage_cost; from bench.task import Task;"
        "stage_cost.on_cores(Task.of_key(sys.argv[1]), [0, 0], 0)"
    )
    command = [sys.executable, "-c", body, task.key]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        while len(left := psutil.Process(run.pid).children()) < started:
            assert run.poll() is None
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=20)

    _, alive = psutil.wait_procs(left, timeout=20)
    assert "KeyboardInterrupt" in said
    assert alive == []


@pytest.mark.slow
def test_measurement_that_is_killed_leaves_no_process_waiting(
    make_clip: MakeClip, red_is_drivable: Path
) -> None:
    task = Task("stage_cost", str(red_is_drivable), source=str(make_clip()), options={"frames": 2})
    body = (
        "import sys; from bench.scenarios.side_by_side import SideBySide;"
        "processes = SideBySide('bench.scenarios.stage_cost', 'core', [sys.argv[1:]] * 2).__enter__();"
        "processes.wait(); print('waiting', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", body, task.key, "0", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "waiting\n"
        left = psutil.Process(run.pid).children()
        run.kill()

    _, alive = psutil.wait_procs(left, timeout=20)
    assert len(left) == 2
    assert alive == []


@pytest.mark.slow
def test_streams_are_metered_together_and_listed_apart(
    make_clip: MakeClip, red_is_drivable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(5)))
    options = {"streams": 2, "frames": 20}

    values = streams.measure(Task("streams", str(red_is_drivable), source=str(make_clip()), options=options))

    assert (values["streams"], values["threads_each"], values["frames"]) == (2, 2, 40)
    assert len(values["fps_by_stream"]) == 2
    assert values["fps"] == pytest.approx(sum(values["fps_by_stream"]))
    assert values["fps_to_last_end"] == pytest.approx(40 / values["wall_s"])
    assert values["cpu_s"] > 0
    assert values.keys() >= METER
