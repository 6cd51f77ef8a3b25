"""Several recordings at once: their shares, their sum, and what one that fails does to the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.scenarios import streams
from bench.task import Task

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
