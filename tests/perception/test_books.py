"""The books of a run: where a frame or a result goes missing without a count, the run says so."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.concurrency.account import Account
from perception.concurrency.queue import Queue
from perception.concurrency.stage import Stage
from perception.frame import CameraState, Frame, NoFrameRecord, OutputItem, Prediction
from perception.node import main
from perception.pipeline import RunError, Runner, RunPolicy
from perception.pipeline.publisher import Publisher
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
    until_s = time.monotonic() + LIMIT_S
    while not runner.wait(0.01):
        assert time.monotonic() < until_s
        runner.watch()
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
    method = "take_locked" if taker == "publish" else "take"
    take, seen = getattr(Queue, method), 0

    def swallowing(self: Queue[Any], stage: Stage, **how: bool) -> Any:
        nonlocal seen
        has_item = take(self, stage, **how)
        seen += has_item and stage.name == taker
        is_swallowed = has_item and seen == number and stage.name == taker
        return swallowing(self, stage, **how) if is_swallowed else has_item

    monkeypatch.setattr(Queue, method, swallowing)


def keep_back(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A worker never brings back what it took as this item."""
    put = Publisher.put

    def keeping(self: Publisher, worker: Stage, result: OutputItem | None) -> None:
        if worker.number != number:
            put(self, worker, result)
        else:
            worker.item = None

    monkeypatch.setattr(Publisher, "put", keeping)


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


@pytest.mark.parametrize(
    ("is_live", "number"),
    [(True, 0), (False, 2), (False, 4)],
    ids=["live", "recorded", "record without a frame"],
)
def test_worker_that_brings_nothing_back_ends_the_run(
    is_live: bool, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_back(monkeypatch, number)
    kept = Kept()

    runner = ended(is_live, kept)

    (line,) = problems(runner)
    assert line.startswith("workers: 1 of ")
    assert len(kept.written) == number


def test_worker_whose_thread_dies_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Publisher, worker: Stage, result: OutputItem | None) -> None:
        raise RuntimeError("no such place")

    monkeypatch.setattr(Publisher, "put", fail)
    before = set(threading.enumerate())

    runner = ended(False, Kept())

    with pytest.raises(RunError, match=r"^predict-0: no such place$"):
        runner.raise_first_error()
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT_S)
    assert set(threading.enumerate()) <= before


@LIVE
def test_result_that_the_queue_of_a_sink_forgets_is_named(
    is_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, seen = Queue.put_locked, 0

    def forgetful(self: Queue[Any], item: Any) -> None:
        nonlocal seen
        seen += isinstance(item, Prediction) and item.published_ns > 0
        if seen == 1 and isinstance(item, Prediction) and item.published_ns:
            self.entered += 1
        else:
            put(self, item)

    monkeypatch.setattr(Queue, "put_locked", forgetful)

    runner = ended(is_live, Kept())

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


@LIVE
def test_result_that_is_never_published_is_no_end_of_the_run(
    is_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, seen = RunPolicy.finish, 0

    def losing(self: RunPolicy, output: OutputItem, *more: Any) -> Any:
        nonlocal seen
        seen += isinstance(output, Prediction)
        return None if seen == 1 and isinstance(output, Prediction) else finish(self, output, *more)

    monkeypatch.setattr(RunPolicy, "finish", losing)

    runner = ended(is_live, Kept())

    assert problems(runner) == ["publisher: 1 frames not published, and the run was not stopped"]


@LIVE
def test_frame_without_a_result_is_a_stage_that_failed(
    is_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Publisher.put

    def losing(self: Publisher, worker: Stage, result: OutputItem | None) -> None:
        put(self, worker, None if worker.number == 0 else result)

    monkeypatch.setattr(Publisher, "put", losing)

    runner = ended(is_live, Kept())

    assert problems(runner) == ["workers: 1 frames without a result, and no stage failed"]


Injected = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("mode", [(), ("--realtime",)], ids=["recorded", "live"])
@pytest.mark.parametrize(
    ("lose", "place"),
    [
        (lambda patch: forget(patch, 2, Frame), "queue of frames"),
        (lambda patch: keep_back(patch, 1), "workers"),
        (lambda patch: swallow(patch, 2, "publish"), "publisher"),
        (lambda patch: swallow(patch, 2, "sink jsonl"), "sink jsonl"),
    ],
    ids=["queue", "worker", "publisher", "sink"],
)
def test_command_with_a_loss_ends_with_a_status_and_the_place(
    lose: Injected,
    place: str,
    mode: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    lose(monkeypatch)
    records, summary = tmp_path / "r.jsonl", tmp_path / "s.json"

    status = main(
        [
            *("--source", "synthetic", "--synthetic.wh", "[160, 90]", "--model", "rt_s-int8", *mode),
            *("--max-frames", "12", "--threads", "1", "--freshness.max_age", "60"),
            *("--jsonl", str(records), "--summary", str(summary)),
        ]
    )

    assert status == 1
    line = only_error_line("drivable-node")
    assert line.startswith(f"drivable-node: books: {place}: 1 of ")
    assert json.loads(summary.read_text())["errors"] == [line.removeprefix("drivable-node: ")]
    if not mode and place != "workers":  # which holds up all that comes after it
        assert len(records.read_text().splitlines()) == 11


def test_account_says_how_many_are_missing() -> None:
    held = Account("queue", 3, {"taken": 1, "lost": 1}, held=1)

    assert held.problem(is_over=False) is None
    assert held.problem(is_over=True) == "queue: 1 of 3 unaccounted for (1 taken, 1 lost)"
    twice = Account("queue", 3, {"taken": 4})
    assert twice.problem(is_over=True) == "queue: 1 more accounted for than the 3 that came (4 taken)"
