"""Processes that measure at the same time: one that fails is named, and none is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from bench.scenarios import stage_cost, streams
from bench.scenarios.side_by_side import side_by_side
from bench.task import Task

MakeClip = Callable[..., Path]


METER = {"wall_s", "cpu_s", "busy_cores", "steal_s", "other_cpu_s", "peak_memory_mb", "watts"}


def children() -> list[psutil.Process]:
    """Without the one that Python itself starts once, and keeps, when it spawns another."""
    return [it for it in psutil.Process().children() if "resource_tracker" not in " ".join(it.cmdline())]


@pytest.mark.slow
def test_process_that_fails_is_named_and_the_other_is_not_left_waiting(
    make_clip: MakeClip, red_is_drivable: Path
) -> None:
    clip, options = str(make_clip()), {"frames": 5}
    models = (str(red_is_drivable), "nothing")
    before = children()

    with (
        pytest.raises(ValueError, match=r"^core 2: nothing: no such model file") as raised,
        TemporaryDirectory() as folder,
        side_by_side(
            "core",
            stage_cost.costs,
            [(Task("stage_cost", it, source=clip, options=options), 0, 0, Path(folder)) for it in models],
        ) as processes,
    ):
        processes.wait()

    assert "\n" not in str(raised.value)
    assert children() == before


def test_process_that_dies_is_named_with_its_status() -> None:
    before = children()

    with side_by_side("core", stage_cost.costs, [(), ()]) as processes:
        for each in set(children()) - set(before):
            each.kill()
        with pytest.raises(ValueError, match=r"^core 1: ended with status -9$"):
            processes.wait()

    assert children() == before


BODY = (
    "import sys; from pathlib import Path; from bench.scenarios import stage_cost;"
    "from bench.task import Task;"
    "from bench.scenarios.side_by_side import side_by_side;"
    "task = Task.of_key(sys.argv[1]);"
)


@pytest.mark.slow
@pytest.mark.parametrize("started", [1, 2])
def test_interrupt_while_processes_start_ends_them_all(
    started: int, make_clip: MakeClip, red_is_drivable: Path
) -> None:
    """Of the one that measures alone, as a supervisor sends it."""
    task = Task("stage_cost", str(red_is_drivable), source=str(make_clip()), options={"frames": 1000})
    command = [sys.executable, "-c", f"{BODY} stage_cost.on_cores(task, [0, 0], 0)", task.key]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        while len(left := psutil.Process(run.pid).children()) < 1 + started:  # and Python's resource tracker
            assert run.poll() is None
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=20)

    _, alive = psutil.wait_procs(left, timeout=20)
    assert "KeyboardInterrupt" in said
    assert alive == []


@pytest.mark.slow
def test_measurement_that_is_killed_leaves_no_process_waiting_or_at_work(
    make_clip: MakeClip, red_is_drivable: Path
) -> None:
    task = Task("stage_cost", str(red_is_drivable), source=str(make_clip()), options={"frames": 10**6})
    body = (
        f"{BODY} started = side_by_side('core', stage_cost.costs, [(task, 0, 0, Path(sys.argv[2]))] * 2);"
        "processes = started.__enter__(); processes.wait(); print('waiting', flush=True);"
        "sys.stdin.readline(); processes.go()"
    )
    for is_at_work in (False, True):
        command = [sys.executable, "-c", body, task.key, str(red_is_drivable.parent)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            assert run.stdin is not None
            assert run.stdout.readline() == "waiting\n"
            if is_at_work:
                run.stdin.write("\n")
                run.stdin.flush()
                time.sleep(0.5)
            left = psutil.Process(run.pid).children()
            run.kill()

        _, alive = psutil.wait_procs(left, timeout=20)
        assert len(left) == 3
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
