"""The runner with a source, predictors and sinks made here: order, books, errors, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Any

import numpy as np
import pytest

from perception.concurrency.busy_cores import BusyCores
from perception.frame import Frame, Prediction
from perception.pipeline import RunError, Runner, RunPolicy
from perception.sources.source import EndOfSource, Source, SourceInfo
from perception.telemetry.counters import FrameCounters

END_LIMIT_S = 1.0
WAIT_LIMIT_S = 5.0
RUNS = [
    pytest.param(True, 1, id="live"),
    *(pytest.param(False, workers, id=f"recorded-{workers}") for workers in (1, 2, 3)),
]
STILL_S = 0.05  # long enough to see that something does not happen


def make_frame(frame_id: int) -> Frame:
    pixels = np.zeros((2, 2, 3), np.uint8)
    return Frame("fake", frame_id, time.monotonic_ns(), frame_id, pixels, str(frame_id))


def predict(frame: Frame) -> Prediction:
    return Prediction(frame, np.zeros((2, 2), np.uint8), (1.0, 0.0, 0.0), "fake", stage_ns={"infer": 1000})


class CountedSource(Source):
    """Frames 0 to `count - 1`, as fast as they are asked for; None never ends."""

    def __init__(self, count: int | None, on_read: Callable[[int], None] = lambda frame_id: None) -> None:
        self.closed = 0
        self._count = count
        self._on_read = on_read
        self._frame_id = -1

    def open(self) -> SourceInfo:
        raise NotImplementedError

    def read(self) -> Frame:
        self._frame_id += 1
        self._on_read(self._frame_id)
        if self._frame_id == self._count:
            raise EndOfSource
        return make_frame(self._frame_id)

    def close(self) -> None:
        self.closed += 1


class FedSource(Source):
    """Gives a frame when the test says so; `read` blocks until then."""

    def __init__(self) -> None:
        self.reads = Semaphore(0)
        self.closed = 0
        self._fed: SimpleQueue[Frame | Exception] = SimpleQueue()

    def open(self) -> SourceInfo:
        raise NotImplementedError

    def feed(self, *frame_ids: int) -> None:
        """Give these frames; returns when the runner has taken them and asks for the next."""
        for frame_id in frame_ids:
            self._fed.put(make_frame(frame_id))
        for _ in frame_ids:
            assert self.reads.acquire(timeout=WAIT_LIMIT_S)

    def end(self, how: Exception | None = None) -> None:
        self._fed.put(how or EndOfSource())

    def read(self) -> Frame:
        self.reads.release()
        given = self._fed.get()
        if isinstance(given, Exception):
            raise given
        return given

    def close(self) -> None:
        self.closed += 1


class WakingSource(FedSource):
    """A fed source whose wait can be ended from outside."""

    def stop(self) -> None:
        self.end()


class FakeSink:
    issue: str | None = None

    def __init__(
        self, name: str = "fake", on_write: Callable[[Prediction], None] = lambda prediction: None
    ) -> None:
        self.name = name
        self.written: list[Prediction] = []
        self.writes = Semaphore(0)
        self.closed = Event()
        self._on_write = on_write

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        raise NotImplementedError

    def write(self, prediction: Prediction) -> None:
        self._on_write(prediction)
        self.written.append(prediction)
        self.writes.release()

    def close(self) -> None:
        self.closed.set()

    @property
    def frame_ids(self) -> list[int]:
        return [prediction.frame.frame_id for prediction in self.written]


def raise_at(frame_id: int, error: Exception) -> Callable[[Any], None]:
    def check(item: Any) -> None:
        seen = item.frame.frame_id if isinstance(item, Prediction) else getattr(item, "frame_id", item)
        if seen == frame_id:
            raise error

    return check


def build(
    source: Any,
    sinks: list[Any],
    *,
    is_live: bool = False,
    predictors: list[Callable[[Frame], Prediction]] | None = None,
) -> Runner:
    info = SourceInfo("fake", is_live, (2, 2), 30.0)
    return Runner(source, info, predictors or [predict], sinks)


def start(runner: Runner) -> list[Thread]:
    """The threads that the runner started."""
    before = set(threading.enumerate())
    runner.start()
    return [thread for thread in threading.enumerate() if thread not in before]


def assert_no_thread_is_left(threads: list[Thread]) -> None:
    for thread in threads:
        thread.join(END_LIMIT_S)
    assert not [thread.name for thread in threads if thread.is_alive()]


def assert_books_balance(runner: Runner) -> None:
    counters = runner.counters()
    assert runner.unaccounted(is_over=True) == []
    assert counters.in_flight == 0
    assert counters.withheld == 0
    assert counters.captured == counters.published + counters.dropped_in_all


class TestRecorded:
    @pytest.mark.parametrize("workers", [1, 2, 3])
    def test_every_frame_reaches_every_sink_in_order(self, workers: int) -> None:
        sinks = [FakeSink("a"), FakeSink("b")]
        runner = build(CountedSource(50), sinks, predictors=[predict] * workers)

        runner.start()
        assert runner.wait(WAIT_LIMIT_S)

        assert [sink.frame_ids for sink in sinks] == [list(range(50))] * 2

    @pytest.mark.parametrize("workers", [1, 2, 3])
    def test_nothing_is_dropped(self, workers: int) -> None:
        runner = build(CountedSource(50), [FakeSink()], predictors=[predict] * workers)

        runner.start()
        assert runner.wait(WAIT_LIMIT_S)

        assert runner.counters() == FrameCounters(captured=50, published=50)

    def test_slow_refine_step_holds_up_no_worker(self) -> None:
        predicted = Semaphore(0)

        def count(frame: Frame) -> Prediction:
            predicted.release()
            return predict(frame)

        def wait_for_four(prediction: Prediction) -> Prediction:
            if prediction.frame.frame_id == 0:
                for _ in range(4):
                    assert predicted.acquire(timeout=WAIT_LIMIT_S)
            return prediction

        sink = FakeSink()
        info = SourceInfo("fake", False, (2, 2), 30.0)
        runner = Runner(CountedSource(20), info, [count], [sink], RunPolicy([wait_for_four]), cores=2)

        runner.start()

        assert runner.wait(WAIT_LIMIT_S)
        runner.raise_first_error()
        assert sink.frame_ids == list(range(20))

    def test_slow_sink_makes_the_source_wait(self) -> None:
        is_free = Event()
        most_read = 0

        def count(frame_id: int) -> None:
            nonlocal most_read
            most_read = frame_id

        slow = FakeSink("slow", lambda prediction: assert_set(is_free))
        runner = build(CountedSource(200, count), [slow])
        runner.start()
        assert not runner.wait(STILL_S)
        assert most_read < 100

        is_free.set()

        assert runner.wait(WAIT_LIMIT_S)
        assert slow.frame_ids == list(range(200))

    def test_source_and_sinks_are_closed_at_the_end(self) -> None:
        source, sink = CountedSource(3), FakeSink()
        runner = build(source, [sink])

        threads = start(runner)
        assert runner.wait(WAIT_LIMIT_S)

        assert source.closed == 1
        assert sink.closed.is_set()
        assert_no_thread_is_left(threads)

    def test_run_without_an_error_raises_nothing(self) -> None:
        runner = build(CountedSource(3), [FakeSink()])
        runner.start()
        assert runner.wait(WAIT_LIMIT_S)

        runner.raise_first_error()

        assert runner.errors == []
        assert runner.stuck_stages() == []

    def test_source_without_frames_is_a_normal_run(self) -> None:
        sink = FakeSink()
        runner = build(CountedSource(0), [sink])

        runner.start()
        assert runner.wait(WAIT_LIMIT_S)

        assert sink.written == []
        assert runner.errors == []

    def test_run_without_sinks_publishes_every_frame(self) -> None:
        runner = build(CountedSource(20), [])

        runner.start()
        assert runner.wait(WAIT_LIMIT_S)

        assert runner.counters().published == 20

    def test_age_and_stage_times_are_counted_for_every_frame(self) -> None:
        runner = build(CountedSource(20), [FakeSink()])

        runner.start()
        assert runner.wait(WAIT_LIMIT_S)

        counts = {name: times.count for name, times in runner.times.items()}
        assert runner.age.count == 20
        assert counts == {"capture": 20, "sink fake": 20, "infer": 20}

    def test_predictions_carry_the_time_of_publication(self) -> None:
        sink = FakeSink()
        runner = build(CountedSource(3), [sink])

        runner.start()
        assert runner.wait(WAIT_LIMIT_S)

        assert all(prediction.published_ns > prediction.captured_ns for prediction in sink.written)

    def test_error_of_a_sink_ends_the_run(self) -> None:
        other = FakeSink("other")
        runner = build(CountedSource(None), [FakeSink("broken", raise_at(5, OSError("full"))), other])

        threads = start(runner)

        assert runner.wait(END_LIMIT_S)
        assert other.closed.is_set()
        assert other.frame_ids == list(range(len(other.frame_ids)))
        assert_no_thread_is_left(threads)


class TestLive:
    def test_newest_frame_wins_and_displaced_frames_are_counted(self) -> None:
        is_free, is_busy = Event(), Event()

        def predict_slowly(frame: Frame) -> Prediction:
            is_busy.set()
            assert is_free.wait(WAIT_LIMIT_S)
            return predict(frame)

        source, sink = FedSource(), FakeSink()
        runner = build(source, [sink], is_live=True, predictors=[predict_slowly])
        runner.start()
        source.feed(0)
        assert is_busy.wait(WAIT_LIMIT_S)
        source.feed(1, 2, 3, 4, 5)
        assert source.reads.acquire(timeout=WAIT_LIMIT_S)  # asking for the next, so 5 lies in the slot

        is_free.set()
        source.end()

        assert runner.wait(WAIT_LIMIT_S)
        assert sink.frame_ids == [0, 5]
        assert runner.counters().dropped == {"newer frame": 4}
        assert_books_balance(runner)

    def test_slow_sink_does_not_slow_publication_and_its_drops_are_counted(self) -> None:
        is_free = Event()
        slow = FakeSink("slow", lambda prediction: assert_set(is_free))
        fast = FakeSink("fast")
        source = FedSource()
        runner = build(source, [slow, fast], is_live=True)
        runner.start()
        for frame_id in range(30):
            source.feed(frame_id)
            assert fast.writes.acquire(timeout=WAIT_LIMIT_S)
        assert slow.written == []

        is_free.set()
        source.end()

        assert runner.wait(WAIT_LIMIT_S)
        assert fast.frame_ids == list(range(30))
        assert runner.sinks["fast"].became()["dropped"] == 0
        assert runner.sinks["slow"].became()["dropped"] > 0
        assert len(slow.written) + runner.sinks["slow"].became()["dropped"] == 30

    def test_run_goes_on_without_a_dead_sink_and_ends_with_its_error(self) -> None:
        error = OSError("full")
        source, dead, living = FedSource(), FakeSink("dead", raise_at(2, error)), FakeSink("living")
        runner = build(source, [dead, living], is_live=True)
        runner.start()
        for frame_id in range(8):  # as many as may wait for a sink that has no turn
            source.feed(frame_id)
            assert living.writes.acquire(timeout=WAIT_LIMIT_S)
        source.end()

        assert runner.wait(WAIT_LIMIT_S)

        assert living.frame_ids == list(range(8))
        assert dead.frame_ids == [0, 1]
        with pytest.raises(RunError, match=r"^sink dead: full$"):
            runner.raise_first_error()

    def test_first_of_several_errors_is_raised(self) -> None:
        source, dead, living = FedSource(), FakeSink("dead", raise_at(0, OSError("full"))), FakeSink("living")
        runner = build(source, [dead, living], is_live=True)
        runner.start()
        source.feed(0)
        assert dead.closed.wait(WAIT_LIMIT_S)
        source.end(OSError("unplugged"))
        assert runner.wait(WAIT_LIMIT_S)

        with pytest.raises(RunError, match=r"^sink dead: full$"):
            runner.raise_first_error()

        assert [stage for stage, _ in runner.errors] == ["sink dead", "capture"]

    @pytest.mark.parametrize("predictors", [[], [predict] * 2], ids=["none", "two"])
    def test_one_predictor_takes_its_frames(self, predictors: list[Callable[[Frame], Prediction]]) -> None:
        info = SourceInfo("fake", True, (2, 2), 30.0)

        with pytest.raises(ValueError, match=r"^[02] predictors for a live source; it needs one$"):
            Runner(CountedSource(3), info, predictors, [])

    def test_run_ends_when_no_sink_is_left(self) -> None:
        def fail(prediction: Prediction) -> None:
            raise OSError("full")

        sinks = [FakeSink("a", fail), FakeSink("b", fail)]
        runner = build(CountedSource(None), sinks, is_live=True)

        threads = start(runner)

        assert runner.wait(END_LIMIT_S)
        assert_no_thread_is_left(threads)
        assert_books_balance(runner)


def assert_set(event: Event) -> None:
    assert event.wait(WAIT_LIMIT_S)


def failing_pipeline(stage: str, error: Exception, is_live: bool, workers: int) -> tuple[Runner, FakeSink]:
    """A run without an end, in which `stage` raises `error` on its fourth frame, or soon after."""

    def check(item: Any) -> None:
        frame_id = item if isinstance(item, int) else item.frame_id
        if frame_id >= 3:
            raise error

    def predict_checked(frame: Frame) -> Prediction:
        check(frame)
        return predict(frame)

    def published(prediction: Prediction) -> None:
        check(prediction.frame)

    source = CountedSource(None, check if stage == "capture" else lambda frame_id: None)
    sink = FakeSink("broken", published if stage == "sink broken" else lambda prediction: None)
    step = predict_checked if stage == "predict" else predict
    return build(source, [sink], is_live=is_live, predictors=[step] * workers), sink


@pytest.mark.parametrize(("is_live", "workers"), RUNS)
@pytest.mark.parametrize("stage", ["capture", "predict", "sink broken"])
class TestFailureOf:
    def test_stage_ends_the_run_at_once(self, stage: str, is_live: bool, workers: int) -> None:
        runner, _ = failing_pipeline(stage, RuntimeError("broken"), is_live, workers)

        threads = start(runner)

        assert runner.wait(END_LIMIT_S)
        assert_no_thread_is_left(threads)
        assert runner.stuck_stages() == []

    def test_stage_is_named_and_its_error_is_the_cause(self, stage: str, is_live: bool, workers: int) -> None:
        error = RuntimeError("broken")
        runner, _ = failing_pipeline(stage, error, is_live, workers)
        runner.start()
        assert runner.wait(END_LIMIT_S)

        with pytest.raises(RunError, match=f"^{stage}.*: broken$") as raised:
            runner.raise_first_error()

        assert raised.value.stage.startswith(stage)
        assert raised.value.__cause__ is error

    def test_stage_leaves_the_sink_closed_and_the_books_balanced(
        self, stage: str, is_live: bool, workers: int
    ) -> None:
        runner, sink = failing_pipeline(stage, RuntimeError("broken"), is_live, workers)

        runner.start()
        assert runner.wait(END_LIMIT_S)

        assert sink.closed.is_set()
        assert_books_balance(runner)


class TestClose:
    def test_source_that_fails_to_close_ends_the_run_with_that_error(self) -> None:
        class Unclosable(CountedSource):
            def close(self) -> None:
                raise OSError("device busy")

        runner = build(Unclosable(3), [FakeSink()])
        threads = start(runner)

        assert runner.wait(END_LIMIT_S)
        assert_no_thread_is_left(threads)
        with pytest.raises(RunError, match=r"^source close: device busy$"):
            runner.raise_first_error()

    def test_source_that_never_closes_is_named_as_stuck(self) -> None:
        is_free, is_closing = Event(), Event()

        class Hanging(CountedSource):
            def close(self) -> None:
                is_closing.set()
                assert_set(is_free)

        runner = build(Hanging(3), [FakeSink()])
        threads = start(runner)
        assert is_closing.wait(WAIT_LIMIT_S)

        assert runner.stuck_stages() == ["source close"]

        is_free.set()
        assert_no_thread_is_left(threads)

    def test_sink_that_fails_to_close_is_named(self) -> None:
        class Unclosable(FakeSink):
            def close(self) -> None:
                raise OSError("disk full")

        other = FakeSink("other")
        runner = build(CountedSource(3), [Unclosable("overlay"), other])
        runner.start()

        assert runner.wait(END_LIMIT_S)
        assert other.frame_ids == [0, 1, 2]
        assert other.closed.is_set()
        with pytest.raises(RunError, match=r"^sink overlay: disk full$"):
            runner.raise_first_error()


def test_error_without_a_text_is_named_by_its_kind() -> None:
    assert str(RunError("capture", MemoryError())) == "capture: MemoryError"


class TestStop:
    @pytest.mark.parametrize("is_live", [True, False], ids=["live", "recorded"])
    def test_frames_captured_before_are_published(self, is_live: bool) -> None:
        is_free, is_busy = Event(), Event()

        def predict_slowly(frame: Frame) -> Prediction:
            is_busy.set()
            assert_set(is_free)
            return predict(frame)

        source, sink = WakingSource(), FakeSink()
        runner = build(source, [sink], is_live=is_live, predictors=[predict_slowly])
        runner.start()
        source.feed(0)
        assert is_busy.wait(WAIT_LIMIT_S)
        source.feed(1)
        assert source.reads.acquire(timeout=WAIT_LIMIT_S)  # asking for the next, so 1 has been put

        runner.stop()
        is_free.set()

        assert runner.wait(END_LIMIT_S)
        assert sink.frame_ids == [0, 1]
        assert runner.counters().dropped_in_all == 0

    @pytest.mark.parametrize(("is_live", "workers"), RUNS)
    def test_run_without_an_end_ends(self, is_live: bool, workers: int) -> None:
        sink = FakeSink()
        runner = build(CountedSource(None), [sink], is_live=is_live, predictors=[predict] * workers)
        threads = start(runner)
        assert sink.writes.acquire(timeout=WAIT_LIMIT_S)

        runner.stop()

        assert runner.wait(END_LIMIT_S)
        assert runner.errors == []
        assert_no_thread_is_left(threads)
        assert_books_balance(runner)

    def test_only_the_frame_in_hand_is_lost_of_a_recording(self) -> None:
        sink = FakeSink()
        runner = build(CountedSource(None), [sink], predictors=[predict] * 2)
        runner.start()
        assert sink.writes.acquire(timeout=WAIT_LIMIT_S)

        runner.stop()
        assert runner.wait(END_LIMIT_S)

        assert sink.frame_ids == list(range(runner.counters().published))
        assert runner.counters().captured - runner.counters().published <= 1

    def test_twice_is_one_stop(self) -> None:
        runner = build(CountedSource(None), [FakeSink()])
        runner.start()

        runner.stop()
        first_s = runner.stopping_for_s
        runner.stop()

        assert runner.wait(END_LIMIT_S)
        assert runner.stopping_for_s >= first_s

    def test_before_the_start_gives_a_run_without_frames(self) -> None:
        sink = FakeSink()
        runner = build(CountedSource(None), [sink])
        runner.stop()

        runner.start()

        assert runner.wait(END_LIMIT_S)
        assert sink.written == []

    def test_after_the_end_changes_nothing(self) -> None:
        runner = build(CountedSource(3), [FakeSink()])
        runner.start()
        assert runner.wait(END_LIMIT_S)

        runner.stop()

        assert runner.counters().published == 3
        assert runner.errors == []

    def test_time_since_the_stop_is_zero_before_it(self) -> None:
        assert build(CountedSource(3), [FakeSink()]).stopping_for_s == 0.0

    def test_sinks_are_closed_even_if_a_read_blocks(self) -> None:
        source, sink = FedSource(), FakeSink()
        runner = build(source, [sink], is_live=True)
        threads = start(runner)
        source.feed(0)
        assert sink.writes.acquire(timeout=WAIT_LIMIT_S)

        runner.stop()

        assert sink.closed.wait(END_LIMIT_S)
        assert not runner.wait(STILL_S)
        assert runner.stuck_stages() == ["capture"]
        source.end()
        assert_no_thread_is_left(threads)
        assert source.closed == 1

    def test_frame_that_comes_after_it_is_counted_and_not_published(self) -> None:
        source, sink = FedSource(), FakeSink()
        runner = build(source, [sink], is_live=True)
        runner.start()
        source.feed(0)
        assert sink.writes.acquire(timeout=WAIT_LIMIT_S)

        runner.stop()
        source.feed(1)

        assert runner.wait(END_LIMIT_S)
        assert sink.frame_ids == [0]
        assert runner.counters().dropped == {"run ended": 1}


class TestErrorBehindABlockedRead:
    def test_wakes_a_source_that_can_be_woken(self) -> None:
        source, sink = WakingSource(), FakeSink()
        runner, threads = self.started(source, sink)

        assert runner.wait(END_LIMIT_S)

        assert source.closed == 1
        assert_no_thread_is_left(threads)

    def test_starts_the_limit_for_a_source_that_cannot(self) -> None:
        source, sink = FedSource(), FakeSink()
        runner, threads = self.started(source, sink)

        assert sink.closed.wait(END_LIMIT_S)
        assert not runner.wait(STILL_S)

        assert runner.stopping_for_s > 0
        assert runner.stuck_stages() == ["capture"]
        source.end()
        assert_no_thread_is_left(threads)

    def started(self, source: FedSource, sink: FakeSink) -> tuple[Runner, list[Thread]]:
        """A run whose predictor fails while the source waits for its second frame."""
        is_asking = Event()

        def fail(frame: Frame) -> Prediction:
            assert_set(is_asking)
            raise RuntimeError("broken")

        runner = build(source, [sink], is_live=True, predictors=[fail])
        threads = start(runner)
        source.feed(0)
        assert source.reads.acquire(timeout=WAIT_LIMIT_S)
        is_asking.set()
        return runner, threads


def test_live_runs_on_one_core_are_served_in_turn_however_fast_one_source_is() -> None:
    cores, order, enough = BusyCores(1), list[str](), Event()

    def predict_for(name: str) -> Callable[[Frame], Prediction]:
        def work(frame: Frame) -> Prediction:
            until_s = time.monotonic() + 0.002
            while time.monotonic() < until_s:  # work, and no waiting
                pass
            order.append(name)
            if len(order) >= 120:
                enough.set()
            return predict(frame)

        return work

    info = SourceInfo("fake", True, (2, 2), 30.0)
    paces_s = {"flood": 0.0005, "second": 0.001, "third": 0.001}
    runners = [
        Runner(
            CountedSource(None, lambda _, pace_s=pace_s: time.sleep(pace_s)),  # type: ignore[misc]
            *(info, [predict_for(name)]),
            cores=cores,
        )
        for name, pace_s in paces_s.items()
    ]
    for runner in runners:
        runner.start()
    assert enough.wait(WAIT_LIMIT_S)
    for runner in runners:
        runner.stop()
    for runner in runners:
        assert runner.wait(WAIT_LIMIT_S)
        assert runner.errors == []
    served = [order[30:120].count(name) for name in paces_s]  # once all have begun
    assert min(served) >= 20


def test_run_whose_network_hangs_keeps_no_core_from_the_others() -> None:
    cores, goes_on = BusyCores(1), Event()

    def hang(frame: Frame) -> Prediction:
        goes_on.wait(WAIT_LIMIT_S)
        return predict(frame)

    info = SourceInfo("fake", True, (2, 2), 30.0)
    hung = Runner(CountedSource(None, lambda _: time.sleep(0.001)), info, [hang], cores=cores)
    sink = FakeSink()
    other = Runner(CountedSource(None, lambda _: time.sleep(0.001)), info, [predict], [sink], cores=cores)
    hung.start()
    time.sleep(STILL_S)
    other.start()
    try:
        for _ in range(20):
            assert sink.writes.acquire(timeout=WAIT_LIMIT_S / 2)
        assert hung.counters().published == 0
    finally:
        goes_on.set()
        for runner in (hung, other):
            runner.stop()
            assert runner.wait(WAIT_LIMIT_S)
