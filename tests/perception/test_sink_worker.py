"""A sink of a live run that fails or hangs is restarted, within its budget, and hinders nobody."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Event

import numpy as np
import pytest

from perception.concurrency.busy_cores import BusyCores
from perception.concurrency.hang_watch import WatchdogSettings
from perception.concurrency.queue import Queue
from perception.concurrency.stage_group import StageGroup
from perception.frame import Frame, OutputItem, Prediction
from perception.pipeline.sink_worker import SinkWorker
from perception.sinks.restart import SinkRestarter
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo
from perception.system.clock import Clock

LIMIT_S = 5.0


def _prediction(number: int) -> Prediction:
    frame = Frame("cam", number, 0, 0, np.zeros((2, 2, 3), np.uint8), str(number))
    return Prediction(frame, np.zeros((2, 2), np.uint8), (1.0, 0.0, 0.0), "model")


class FakeSink:
    name = "fake"
    issue: str | None = None

    def __init__(self, on_write: Callable[[int], None] = lambda number: None) -> None:
        self.written: list[int] = []
        self.is_closed = False
        self._on_write = on_write

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        pass

    def write(self, output: OutputItem) -> None:
        assert isinstance(output, Prediction)
        self._on_write(output.frame.frame_id)
        self.written.append(output.frame.frame_id)

    def close(self) -> None:
        self.is_closed = True


def _until(holds: Callable[[], bool]) -> None:
    limit_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < limit_s, "still not so"
        time.sleep(0.002)


class Line:
    """A sink worker of a live run, what it is given to write, and what became of the run."""

    def __init__(self, sink: FakeSink, rebuild: Callable[[], FakeSink] | None, restarts: int = 5) -> None:
        self.pauses_s: list[float] = []
        self.run = StageGroup(BusyCores(math.inf), Clock(wait=self._wait))
        self.queue: Queue[OutputItem] = self.run.queue("latest", 100)
        self.deaths = 0
        limits = WatchdogSettings(restarts=restarts)
        restarter = SinkRestarter(rebuild, limits, self.run.clock, self.run.is_stopping)
        self.worker = SinkWorker(
            *(sink, self.run, self.queue, restarter),
            batch_items=1,
            on_death=self._died,
        )
        self.run.start()

    def put(self, *numbers: int) -> None:
        with self.run.lock:
            for number in numbers:
                self.queue.put_locked(_prediction(number))

    def end(self) -> None:
        with self.run.lock:
            self.queue.close_locked()
        assert self.run.has_ended.wait(LIMIT_S)
        assert sum(self.worker.became().values()) == self.queue.entered

    @property
    def errors(self) -> list[tuple[str, str]]:
        return [(name, str(error)) for name, error in self.run.errors]

    def _wait(self, event: Event, timeout_s: float) -> bool:
        self.pauses_s.append(timeout_s)
        return event.is_set()

    def _died(self) -> None:
        self.deaths += 1


def _fail_at(*numbers: int) -> Callable[[int], None]:
    def fail(number: int) -> None:
        if number in numbers:
            raise SinkError(f"fake: full at {number}")

    return fail


def test_sink_that_failed_goes_on_as_a_new_one() -> None:
    first, second = FakeSink(_fail_at(1)), FakeSink()
    line = Line(first, lambda: second)

    line.put(0, 1, 2, 3)
    line.end()

    assert (first.written, first.is_closed) == ([0], True)
    assert (second.written, second.is_closed) == ([2, 3], True)
    assert (line.errors, line.worker.issue, line.worker.restarts, line.deaths) == ([], None, 1, 0)
    assert line.worker.became() == {"written": 3, "dropped": 0, "lost": 1}


def test_what_the_old_sink_left_out_is_still_an_issue_of_the_new_one() -> None:
    first, second = FakeSink(_fail_at(0)), FakeSink()
    first.issue = "fake: 3 frames not recorded"
    line = Line(first, lambda: second)

    line.put(0, 1)
    line.end()

    assert second.written == [1]
    assert line.worker.issue == "fake: 3 frames not recorded"


def test_sink_that_fails_beyond_its_budget_is_given_up_with_its_error() -> None:
    line = Line(FakeSink(_fail_at(*range(10))), lambda: FakeSink(_fail_at(*range(10))), restarts=2)

    line.put(0, 1, 2, 3)
    assert line.run.has_ended.wait(LIMIT_S)
    line.put(4)

    assert line.errors == [("sink fake", "fake: full at 2")]
    assert (line.worker.issue, line.worker.is_dead, line.deaths) == ("fake: full at 2", True, 1)
    assert line.pauses_s == [0.25, 0.5]
    assert line.worker.became() == {"written": 0, "dropped": 0, "lost": 5}


def test_sink_that_cannot_be_opened_again_spends_the_budget_too() -> None:
    def fail() -> FakeSink:
        raise SinkError("fake: no such disk")

    line = Line(FakeSink(_fail_at(0)), fail, restarts=3)
    line.put(0)
    line.put(1)
    assert line.run.has_ended.wait(LIMIT_S)

    assert line.worker.restarts == 3
    assert line.errors == [("sink fake", "fake: no such disk")]


def test_sink_without_a_successor_ends_with_its_first_error() -> None:
    class Unclosable(FakeSink):
        def close(self) -> None:
            super().close()
            raise SinkError("fake: not closed")

    sink = Unclosable(_fail_at(0))
    line = Line(sink, None)
    line.put(0)
    assert line.run.has_ended.wait(LIMIT_S)

    assert not line.worker.replace_hung(1.0)
    assert line.errors == [("sink fake", "fake: full at 0")]
    assert sink.is_closed


def test_sink_that_cannot_be_closed_at_the_end_is_no_reason_for_another() -> None:
    class Unclosable(FakeSink):
        def close(self) -> None:
            raise SinkError("fake: disk full")

    line = Line(Unclosable(), FakeSink)
    line.put(0)
    line.end()

    assert line.errors == [("sink fake", "fake: disk full")]
    assert line.worker.restarts == 0


def test_hung_sink_is_left_alone_and_another_goes_on() -> None:
    is_in, goes_on = Event(), Event()

    def hang(number: int) -> None:
        is_in.set()
        goes_on.wait(LIMIT_S)

    first, second = FakeSink(hang), FakeSink()
    line = Line(first, lambda: second)
    line.put(0)
    assert is_in.wait(LIMIT_S)

    assert line.worker.replace_hung(1.0)
    line.put(1)
    _until(lambda: second.written == [1])
    goes_on.set()
    _until(lambda: first.is_closed)
    line.put(2)
    line.end()

    assert (first.written, second.written) == ([0], [1, 2])
    assert (line.errors, line.worker.restarts) == ([], 1)
    assert line.worker.became() == {"written": 2, "dropped": 0, "lost": 1}


def test_nothing_is_restarted_once_the_run_stops() -> None:
    line = Line(FakeSink(_fail_at(0)), FakeSink)
    line.run.is_stopping.set()
    line.put(0, 1)
    assert line.run.has_ended.wait(LIMIT_S)

    assert line.errors == [("sink fake", "fake: full at 0")]


def test_budget_comes_back_with_time() -> None:
    now_ns = 0
    clock = Clock(lambda: now_ns, lambda event, timeout_s: False)
    restarter = SinkRestarter(FakeSink, WatchdogSettings(restarts=2, window_s=60), clock, Event())
    full = SinkError("fake: full")

    for _ in range(2):
        restarter.restarted(full)
    with pytest.raises(SinkError, match="fake: full"):
        restarter.restarted(full)
    now_ns = 61_000_000_000
    restarter.restarted(full)

    assert restarter.restarts == 3


@pytest.mark.parametrize("values", [{"stage_s": 0}, {"window_s": 0}, {"restarts": -1}])
def test_limits_that_are_none_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="watchdog"):
        WatchdogSettings(**values)  # type: ignore[arg-type]
