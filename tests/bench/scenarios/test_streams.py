"""Several recordings at once: their shares, their sum, and what one that fails does to the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.scenarios import streams
from bench.task import Task
from perception.pipeline import PipelineError

MakeClip = Callable[..., Path]
METER = ["wall_s", "cpu_s", "busy_cores", "steal_s", "other_cpu_s", "peak_memory_mb", "watts"]


@pytest.mark.slow
def test_streams_are_metered_together_and_told_apart(
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
    assert set(METER) <= values.keys()


@pytest.mark.slow
def test_stream_that_fails_is_named_and_the_other_is_not_left_waiting(
    make_clip: MakeClip, red_is_drivable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[streams.Stream] = []

    class SecondFails(streams.Stream):
        def __init__(self, number: int, task: Task, *others: Any) -> None:
            super().__init__(number, replace(task, model="nothing") if number == 2 else task, *others)
            started.append(self)

    monkeypatch.setattr(streams, "Stream", SecondFails)

    with pytest.raises(PipelineError, match=r"^stream 2: nothing: no such model file") as raised:
        streams.measure(Task("streams", str(red_is_drivable), source=str(make_clip())))

    assert "\n" not in str(raised.value)
    assert len(started) == 2
    assert not any(stream.is_alive for stream in started)


@pytest.mark.slow
def test_stream_whose_process_dies_is_told_by_its_status(make_clip: MakeClip, red_is_drivable: Path) -> None:
    stream = streams.Stream(3, Task("streams", str(red_is_drivable)), str(make_clip()), 5, 1)
    stream.break_off()

    with pytest.raises(PipelineError, match=r"^stream 3: ended with status -15$"):
        stream.answer()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streams": 0}, "streams is 0; it must be a whole number from 1 up"),
        ({"streams": 1.5}, "streams is 1.5; it must be"),
        ({"frames": True}, "frames is True; it must be"),
    ],
)
def test_bad_count_is_refused_before_anything_is_started(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        streams.measure(Task("streams", "rt_s", source="nowhere.mp4", options=options))
