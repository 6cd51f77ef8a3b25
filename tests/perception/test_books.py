"""The books of a run: where a frame or a result goes missing without a count, the run says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.concurrency.queue import Queue
from perception.concurrency.stage import Stage
from perception.frame import CameraState, Frame, NoFrameRecord, OutputItem, Prediction
from perception.node import main
from perception.pipeline import Runner
from perception.pipeline.counters import Account
from perception.sources.source import EndOfSource, NoFrame, Source, SourceInfo

LIMIT_S = 10.0
FRAMES = 30
LIVE = pytest.mark.parametrize("is_live", [True, False], ids=["live", "recorded"])


class Road(Source):
    """So many frames, with a record that there is none now and then."""

    def __init__(self, is_live: bool) -> None:
        self.info = SourceInfo("fake", is_live, (2, 2), 30.0)
        self._reads = self._silences = 0

    def open(self) -> SourceInfo:
        return self.info

    def read(self) -> Frame:
        self._reads += 1
        if self._reads % 11 == 5:
            self._silences += 1
            raise NoFrame(NoFrameRecord("fake", (2, 2), 0, None, CameraState.STALE, "no frame"))
        frame_id = self._reads - self._silences - 1
        if frame_id == FRAMES:
            raise EndOfSource
        return Frame("fake", frame_id, 0, 0, np.zeros((2, 2, 3), np.uint8), "")

    def close(self) -> None:
        pass


class Kept:
    """A sink that keeps what it is given."""

    issue: str | None = None

    def __init__(self, name: str = "kept") -> None:
        self.name = name
        self.written: list[OutputItem] = []

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        pass

    def write(self, output: OutputItem) -> None:
        self.written.append(output)

    def close(self) -> None:
        pass


def predict(frame: Frame) -> Prediction:
    return Prediction(frame, np.zeros((2, 2), np.uint8), (1.0, 0.0, 0.0), "fake")


def ended(is_live: bool, *sinks: Kept) -> Runner:
    """A run that has come to its end."""
    road = Road(is_live)
    runner = Runner(road, road.info, [predict], sinks)
    runner.start()
    assert runner.wait(LIMIT_S)
    return runner


def problems(runner: Runner) -> list[str]:
    """What the run says of its books."""
    assert {stage for stage, _ in runner.errors} <= {"books"}
    return [str(error) for _, error in runner.errors]


def forget(monkeypatch: pytest.MonkeyPatch, number: int, kind: type) -> None:
    """A queue loses this item of its kind as it comes in: it is counted there, and never given out."""
    put, seen = Queue.put_locked, 0

    def forgetful(self: Queue[Any], item: Any) -> None:
        nonlocal seen
        seen += isinstance(item, kind)
        if seen == number and isinstance(item, kind):
            self.entered += 1
        else:
            put(self, item)

    monkeypatch.setattr(Queue, "put_locked", forgetful)


def swallow(monkeypatch: pytest.MonkeyPatch, number: int, taker: str) -> None:
    """A stage loses this item that it takes from its queue, and goes on with the next."""
    take, seen = Queue.take, 0

    def swallowing(self: Queue[Any], stage: Stage, *, waits: bool = True) -> bool:
        nonlocal seen
        has_item = take(self, stage, waits=waits)
        seen += has_item and stage.name == taker
        if has_item and seen == number and stage.name == taker:
            return swallowing(self, stage, waits=waits)
        return has_item

    monkeypatch.setattr(Queue, "take", swallowing)


@LIVE
def test_books_of_a_run_balance_at_every_place(is_live: bool) -> None:
    a, b = Kept("a"), Kept("b")

    runner = ended(is_live, a, b)

    counters = runner.counters()
    assert problems(runner) == []
    assert counters.captured == FRAMES
    frames = [it for it in a.written if isinstance(it, Prediction)]
    if not is_live:
        assert (counters.published, len(frames), len(a.written)) == (FRAMES, FRAMES, FRAMES + 3)
    for sink in (a, b):
        became = runner.sinks[sink.name].became()
        assert became["written"] == len(sink.written)
        assert (became["lost"], runner.sinks[sink.name].waiting) == (0, 0)


@LIVE
def test_frame_that_its_queue_forgets_is_named(is_live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, 5, Frame)

    runner = ended(is_live, Kept())

    (line,) = problems(runner)
    assert line.startswith(f"queue of frames: 1 of {FRAMES} unaccounted for (")


@LIVE
def test_result_that_a_sink_worker_swallows_is_named(is_live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    swallow(monkeypatch, 1, "sink kept")

    runner = ended(is_live, Kept(), Kept("other"))

    assert [line.split(" of ")[0] for line in problems(runner)] == ["sink kept: 1"]


def test_result_that_the_publisher_swallows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    swallow(monkeypatch, 6, "publish")

    runner = ended(False, Kept())

    assert [line.split(" (")[0] for line in problems(runner)] == [f"publisher: 1 of {FRAMES} unaccounted for"]


def test_frame_that_is_still_held_in_the_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    swallow(monkeypatch, FRAMES + 3, "publish")  # nothing takes its place at the stage

    runner = ended(False, Kept())

    assert [line.split(":")[0] for line in problems(runner)] == ["publisher"]
    assert runner.counters().in_flight == 1


@pytest.mark.parametrize(("taker", "place"), [("publish", "publisher"), ("sink jsonl", "sink jsonl")])
def test_run_with_a_loss_ends_with_a_status_and_the_place(
    taker: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    swallow(monkeypatch, 3, taker)
    records, summary = tmp_path / "r.jsonl", tmp_path / "s.json"

    status = main(
        [
            *("--source", "synthetic", "--synthetic.wh", "[160, 90]", "--model", "rt_s-int8"),
            *("--max-frames", "12", "--threads", "1"),
            *("--jsonl", str(records), "--summary", str(summary)),
        ]
    )

    assert status == 1
    line = only_error_line("drivable-node")
    assert line.startswith(f"drivable-node: books: {place}: 1 of 12 unaccounted for (")
    assert len(records.read_text().splitlines()) == 11
    assert json.loads(summary.read_text())["frames"]["captured"] == 12


def test_account_says_how_many_are_missing() -> None:
    held = Account("queue", 3, {"taken": 1, "lost": 1}, held=1)

    assert held.problem(is_over=False) is None
    assert held.problem(is_over=True) == "queue: 1 of 3 unaccounted for (1 taken, 1 lost)"
    assert (
        Account("queue", 3, {"taken": 4}).problem(is_over=True) == "queue: -1 of 3 unaccounted for (4 taken)"
    )
