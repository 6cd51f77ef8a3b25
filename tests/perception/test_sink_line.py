"""A sink of a live run that fails or hangs is started anew, within its budget, and hinders nobody."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

import numpy as np
import pytest

from perception.frame import Frame, OutputItem, Prediction
from perception.pipeline import sink_line
from perception.pipeline.channel import Channel, Closed
from perception.pipeline.gauges import Gauges
from perception.pipeline.sink_line import SinkLine
from perception.pipeline.watchdog import Budget, WatchdogSettings
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

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


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_line, "FIRST_PAUSE_S", 0.0)


def _line(
    sink: FakeSink, rebuild: Callable[[], FakeSink] | None, restarts: int = 5
) -> tuple[SinkLine, list[tuple[str, Exception]]]:
    gauges = Gauges()
    channel: Channel[OutputItem] = Channel(100)
    settings = WatchdogSettings(restarts=restarts)
    return SinkLine(sink, channel, gauges, rebuild, settings), gauges.errors


def _fail_at(*numbers: int) -> Callable[[int], None]:
    def fail(number: int) -> None:
        if number in numbers:
            raise SinkError(f"fake: full at {number}")

    return fail


def test_sink_that_failed_goes_on_as_a_new_one() -> None:
    first, second = FakeSink(_fail_at(1)), FakeSink()
    line, errors = _line(first, lambda: second)
    line.start()

    for number in range(4):
        line.channel.put(_prediction(number))
    _until(lambda: second.written == [2, 3])
    line.channel.close()
    line.join()

    assert (first.written, first.is_closed, second.is_closed) == ([0], True, True)
    assert (errors, line.issue, line.restarts) == ([], None, 1)


def test_what_the_old_sink_left_out_is_still_told_of_the_new_one() -> None:
    first, second = FakeSink(_fail_at(0)), FakeSink()
    first.issue = "fake: 3 frames not recorded"
    line, _ = _line(first, lambda: second)
    line.start()

    line.channel.put(_prediction(0))
    line.channel.put(_prediction(1))
    _until(lambda: second.written == [1])
    line.channel.close()
    line.join()

    assert line.issue == "fake: 3 frames not recorded"


def test_sink_that_fails_beyond_its_budget_is_given_up_with_its_error() -> None:
    line, errors = _line(FakeSink(_fail_at(*range(10))), lambda: FakeSink(_fail_at(*range(10))), restarts=2)
    line.start()

    for number in range(3):
        line.channel.put(_prediction(number))
    line.join()

    assert [(name, str(error)) for name, error in errors] == [("sink fake", "fake: full at 2")]
    assert line.issue == "fake: full at 2"
    with pytest.raises(Closed):
        line.channel.put(_prediction(3))


def test_sink_that_cannot_be_opened_anew_spends_the_budget_too() -> None:
    def fail() -> FakeSink:
        raise SinkError("fake: no such disk")

    line, errors = _line(FakeSink(_fail_at(0)), fail, restarts=3)
    line.start()
    line.channel.put(_prediction(0))
    line.join()

    assert line.restarts == 3
    assert str(errors[0][1]) == "fake: no such disk"


def test_sink_without_a_successor_ends_with_its_first_error() -> None:
    sink = FakeSink(_fail_at(0))
    line, errors = _line(sink, None)
    line.start()
    line.channel.put(_prediction(0))
    line.join()

    assert not line.replace_hung()
    assert str(errors[0][1]) == "fake: full at 0"
    assert sink.is_closed


def test_hung_sink_is_left_alone_and_another_goes_on() -> None:
    is_in, goes_on = Event(), Event()

    def hang(number: int) -> None:
        is_in.set()
        goes_on.wait(LIMIT_S)

    first, second = FakeSink(hang), FakeSink()
    line, errors = _line(first, lambda: second)
    line.start()
    line.channel.put(_prediction(0))
    assert is_in.wait(LIMIT_S)

    assert line.replace_hung()
    line.channel.put(_prediction(1))
    _until(lambda: second.written == [1])
    goes_on.set()
    _until(lambda: first.is_closed)
    line.channel.put(_prediction(2))
    _until(lambda: second.written == [1, 2])
    line.channel.close()
    line.join()

    assert first.written == [0]
    assert errors == []
    assert line.restarts == 1


def test_stop_starts_nothing_anew() -> None:
    line, errors = _line(FakeSink(_fail_at(0)), FakeSink)
    line.start()
    line.stop()
    line.channel.put(_prediction(0))
    line.join()

    assert len(errors) == 1


def test_budget_comes_back_with_time() -> None:
    now_ns = 0
    budget = Budget(WatchdogSettings(restarts=2, window_s=60), lambda: now_ns)

    assert [budget.spend() for _ in range(3)] == [True, True, False]
    now_ns = 61_000_000_000
    assert budget.spend()
    assert budget.total == 3


@pytest.mark.parametrize("values", [{"stage_s": 0}, {"window_s": 0}, {"restarts": -1}])
def test_limits_that_are_none_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="watchdog"):
        WatchdogSettings(**values)  # type: ignore[arg-type]
