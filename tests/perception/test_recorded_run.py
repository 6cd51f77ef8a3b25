"""A recorded run: everything in order, batches that hold nothing back, and an end in every case."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from threading import Event, Lock, Thread

import numpy as np
import pytest

from perception.concurrency.hang_watch import WatchdogSettings
from perception.frame import Frame, OutputItem, Prediction
from perception.pipeline import Runner, RunPolicy
from perception.sources.source import EndOfSource, Source, SourceInfo

LIMIT_S = 5.0
HUNG_S = 0.15
STILL_S = 0.05  # long enough to see that something does not happen
BLOCK = bytes(1 << 16)
SMALL, LARGE = (2, 2), (3840, 2160)


def frame_of(frame_id: int) -> Frame:
    return Frame(
        "fake", frame_id, time.monotonic_ns(), frame_id, np.zeros((2, 2, 3), np.uint8), str(frame_id)
    )


def predict(frame: Frame) -> Prediction:
    return Prediction(frame, np.zeros((2, 2), np.uint8), (1.0, 0.0, 0.0), "fake")


def nothing(frame_id: int) -> None:
    pass


class KeepingSink:
    issue: str | None = None

    def __init__(self, name: str = "keeping", on_write: Callable[[int], None] = nothing) -> None:
        self.name = name
        self.written: list[int] = []
        self.closed = Event()
        self._on_write = on_write

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        raise NotImplementedError

    def write(self, output: OutputItem) -> None:
        assert isinstance(output, Prediction)
        self._on_write(output.frame.frame_id)
        self.written.append(output.frame.frame_id)

    def close(self) -> None:
        self.closed.set()


class ScriptedSource(Source):
    """So many frames; calls `on_read` with the number of each before it gives it."""

    def __init__(self, count: int, frame_wh: tuple[int, int], on_read: Callable[[int], None]) -> None:
        self.read_frames = 0
        self._count, self._frame_wh, self._on_read = count, frame_wh, on_read

    def open(self) -> SourceInfo:
        return SourceInfo("fake", False, self._frame_wh, 30.0)

    def read(self) -> Frame:
        self._on_read(self.read_frames)
        if self.read_frames == self._count:
            raise EndOfSource
        self.read_frames += 1
        return frame_of(self.read_frames - 1)

    def close(self) -> None:
        pass


class Run:
    """A recorded run with stages made here; each is called with the frame it is at."""

    def __init__(
        self,
        count: int,
        *,
        size: int = 2,
        workers: int = 2,
        frame_wh: tuple[int, int] = SMALL,
        on_read: Callable[[int], None] = nothing,
        on_predict: Callable[[int], None] = nothing,
        on_publish: Callable[[int], None] = nothing,
        sinks: list[KeepingSink] | None = None,
    ) -> None:
        self.sink = KeepingSink()
        self.source = ScriptedSource(count, frame_wh, on_read)

        def predict_and_note(frame: Frame) -> Prediction:
            on_predict(frame.frame_id)
            return predict(frame)

        def publish(output: OutputItem) -> None:
            assert isinstance(output, Prediction)
            on_publish(output.frame.frame_id)

        self.runner = Runner(
            self.source,
            self.source.open(),
            [predict_and_note] * workers,
            [self.sink] if sinks is None else sinks,
            RunPolicy(watchdog=WatchdogSettings(stage_s=HUNG_S)),
            listeners=[publish],
            cores=size,
        )

    def start(self) -> Run:
        before = set(threading.enumerate())
        self.runner.start()
        self._threads = [thread for thread in threading.enumerate() if thread not in before]
        return self

    def to_the_end(self) -> Run:
        self.start().join()
        return self

    def join(self) -> None:
        assert self.runner.wait(LIMIT_S), f"hangs in {self.runner.stuck_stages()}"
        for thread in self._threads:
            thread.join(LIMIT_S)
        assert not [thread.name for thread in self._threads if thread.is_alive()]
        assert self.runner.stuck_stages() == []
        assert self.runner.unaccounted(is_over=True) == []
        assert self.runner.counters().in_flight == 0

    def watch_until(self, holds: Callable[[], bool]) -> None:
        def watched() -> bool:
            self.runner.watch()
            return holds()

        until(watched)

    @property
    def errors(self) -> list[str]:
        return [f"{stage}: {error}" for stage, error in self.runner.errors]


def wait_at(frame_id: int, event: Event) -> Callable[[int], None]:
    def wait(seen: int) -> None:
        if seen == frame_id:
            assert event.wait(LIMIT_S)

    return wait


def raise_at(frame_id: int) -> Callable[[int], None]:
    def check(seen: int) -> None:
        if seen == frame_id:
            raise RuntimeError(f"no {frame_id}")

    return check


def until(holds: Callable[[], bool]) -> None:
    limit_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < limit_s, "still not so"
        time.sleep(0.002)


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_outputs_come_in_order_however_long_each_takes(size: int, workers: int) -> None:
    chance = random.Random(workers)
    durations_s = [chance.choice((0.0, 0.0, 0.0005, 0.002)) for _ in range(100)]

    run = Run(100, size=size, workers=workers, on_predict=lambda it: time.sleep(durations_s[it])).to_the_end()

    assert run.sink.written == list(range(100))
    assert run.sink.closed.is_set()
    assert run.errors == []


def work_for(cpu_s: float) -> None:
    """Takes a core, and not Python's lock, for so long."""
    until_s = time.thread_time() + cpu_s
    while time.thread_time() < until_s:
        hashlib.sha256(BLOCK).digest()


class Counting:
    """How many threads were at work at the same time, at most, and how often."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.seen: Counter[int] = Counter()
        self._now = 0
        self._lock = Lock()
        self._work = work

    def __call__(self, frame_id: int) -> None:
        with self._lock:
            self._now += 1
            self.seen[self._now] += 1
        self._work()
        with self._lock:
            self._now -= 1


def test_one_core_is_worked_by_one_thread_at_a_time() -> None:
    counting = Counting(lambda: work_for(0.002))
    sinks = [KeepingSink(name, counting) for name in ("a", "b")]

    Run(60, size=1, workers=3, on_read=counting, on_predict=counting, sinks=sinks).to_the_end()

    assert counting.seen[1] > 0.5 * counting.seen.total()  # less than all where the machine is busy


def test_cores_are_not_left_idle_by_threads_that_wait() -> None:
    counting = Counting(lambda: time.sleep(0.01))
    sinks = [KeepingSink(name, counting) for name in ("a", "b")]

    Run(60, size=1, workers=2, on_read=counting, on_predict=counting, sinks=sinks).to_the_end()

    assert max(counting.seen) >= 3


def test_thread_stays_at_its_stage_for_several_frames() -> None:
    did: list[str] = []
    sink = KeepingSink(on_write=lambda frame_id: did.append("write"))

    Run(
        200,
        size=1,
        workers=1,
        on_read=lambda frame_id: did.append("read"),
        on_predict=lambda frame_id: did.append("predict"),
        sinks=[sink],
    ).to_the_end()

    stretches = [len(list(same)) for _, same in groupby(did)]
    assert len(did) == 601
    assert len(stretches) < 601 / 3
    assert max(stretches) <= 2 * 8  # two batches: at the beginning there is room for them


def test_read_that_waits_holds_back_no_frame() -> None:
    goes_on = Event()
    run = Run(3, size=1, workers=1, on_read=wait_at(2, goes_on))
    run.start()

    until(lambda: run.sink.written == [0, 1])
    goes_on.set()
    run.join()

    assert run.sink.written == [0, 1, 2]


@pytest.mark.parametrize(("frame_wh", "most"), [(SMALL, 8 + 8 + 1), (LARGE, 8 + 1 + 1)])
def test_frames_that_wait_are_bounded_and_large_ones_more_so(frame_wh: tuple[int, int], most: int) -> None:
    goes_on = Event()
    sink = KeepingSink(on_write=wait_at(0, goes_on))
    run = Run(1000, workers=1, frame_wh=frame_wh, sinks=[sink])

    run.start()
    time.sleep(STILL_S)
    read = run.source.read_frames
    time.sleep(STILL_S)
    assert run.source.read_frames == read
    assert most / 2 < read <= most
    run.runner.stop()
    goes_on.set()
    run.join()

    assert sink.written == list(range(read))


def test_workers_stay_within_a_bound_ahead_of_the_slowest() -> None:
    goes_on = Event()
    begun: list[int] = []

    def wait_at_0(frame_id: int) -> None:
        begun.append(frame_id)
        if frame_id == 0:
            assert goes_on.wait(LIMIT_S)

    run = Run(100, on_predict=wait_at_0).start()
    until(lambda: len(begun) == 8 + 2 * 8)
    time.sleep(STILL_S)
    assert len(begun) == 8 + 2 * 8
    goes_on.set()
    run.join()

    assert run.sink.written == list(range(100))


def test_frame_of_a_failed_worker_is_passed_over_and_the_run_ends() -> None:
    at_5 = Event()

    def fail_at_5(frame_id: int) -> None:
        if frame_id == 4:
            assert at_5.wait(LIMIT_S)
        if frame_id == 5:
            at_5.set()
            raise RuntimeError("no 5")

    run = Run(1000, on_predict=fail_at_5).to_the_end()

    assert run.errors in (["predict-0: no 5"], ["predict-1: no 5"])
    assert run.sink.written[:5] == [0, 1, 2, 3, 4]
    assert 5 not in run.sink.written
    assert run.source.read_frames < 100
    assert run.sink.closed.is_set()


def test_error_of_the_source_lets_what_was_read_pass() -> None:
    run = Run(1000, on_read=raise_at(20)).to_the_end()

    assert run.errors == ["capture: no 20"]
    assert run.sink.written == list(range(20))


def test_error_of_publishing_is_named_and_ends_the_run() -> None:
    run = Run(1000, on_publish=raise_at(7)).to_the_end()

    assert run.errors == ["publish: no 7"]
    assert run.sink.written[:7] == list(range(7))
    assert 7 not in run.sink.written
    assert run.sink.closed.is_set()


def test_outputs_that_waited_for_one_that_cannot_be_published_still_are() -> None:
    begun: list[int] = []

    def wait_for_others(frame_id: int) -> None:
        begun.append(frame_id)
        if frame_id == 5:
            until(lambda: len(begun) >= 9)

    run = Run(1000, on_predict=wait_for_others, on_publish=raise_at(5)).to_the_end()

    assert run.errors == ["publish: no 5"]
    assert run.sink.written == [it for it in range(len(run.sink.written) + 1) if it != 5]
    assert len(run.sink.written) > 6
    assert run.sink.closed.is_set()


def test_stop_does_not_wait_for_what_is_being_published() -> None:
    goes_on, is_in = Event(), Event()

    def hold(frame_id: int) -> None:
        is_in.set()
        assert goes_on.wait(LIMIT_S)

    run = Run(1000, on_publish=hold)
    run.start()
    assert is_in.wait(LIMIT_S)
    stopping = Thread(target=run.runner.stop)
    stopping.start()
    stopping.join(LIMIT_S)

    assert not stopping.is_alive()
    assert run.runner.stuck_stages() == ["publish", "sink keeping"]
    goes_on.set()
    run.join()
    assert run.sink.written == list(range(run.source.read_frames))


def test_even_what_is_no_exception_ends_the_run_as_an_error() -> None:
    def leave(frame_id: int) -> None:
        if frame_id == 3:
            raise SystemExit("enough")

    run = Run(1000, on_predict=leave).to_the_end()

    assert run.errors[0].endswith(": SystemExit: enough")
    assert run.sink.closed.is_set()


def test_sink_that_fails_is_closed_and_the_others_finish() -> None:
    broken, other = KeepingSink("broken", raise_at(9)), KeepingSink("other")

    run = Run(1000, sinks=[broken, other]).to_the_end()

    assert run.errors == ["sink broken: no 9"]
    assert broken.written == list(range(9))
    assert broken.closed.is_set()
    assert other.written == list(range(len(other.written)))
    assert other.closed.is_set()


def test_stop_closes_the_sinks_while_a_read_waits() -> None:
    goes_on = Event()
    run = Run(10, size=1, workers=1, on_read=wait_at(3, goes_on))
    run.start()
    until(lambda: run.sink.written == [0, 1, 2])

    run.runner.stop()

    assert run.sink.closed.wait(LIMIT_S)
    assert run.runner.stuck_stages() == ["capture"]
    goes_on.set()
    run.join()
    assert run.sink.written == [0, 1, 2]


@pytest.mark.parametrize("stage", ["capture", "predict-0", "publish", "sink a"])
def test_others_finish_without_a_stage_that_hangs(stage: str) -> None:
    goes_on = Event()

    def hang_in(this: str) -> Callable[[int], None]:
        return wait_at(3, goes_on) if stage == this else nothing

    a, b = KeepingSink("a", hang_in("sink a")), KeepingSink("b")
    run = Run(
        1000,
        size=1,
        workers=1,
        on_read=hang_in("capture"),
        on_predict=hang_in("predict-0"),
        on_publish=hang_in("publish"),
        sinks=[a, b],
    ).start()

    run.watch_until(b.closed.is_set)

    assert run.errors == [f"{stage}: hung: working on one frame for more than {HUNG_S} s"]
    until(lambda: run.runner.waits_for_hung_stages_alone)
    assert run.runner.stuck_stages() == [stage]
    assert b.written == list(range(len(b.written)))
    goes_on.set()
    run.join()
    assert a.closed.is_set()
    assert a.written == list(range(len(a.written)))


def test_sinks_finish_without_two_stages_that_hang() -> None:
    goes_on = Event()
    run = Run(1000, size=1, workers=1, on_read=wait_at(4, goes_on), on_predict=wait_at(3, goes_on)).start()

    run.watch_until(lambda: run.sink.closed.is_set() and len(run.errors) == 2)

    until(lambda: run.runner.stuck_stages() == ["capture", "predict-0"])
    goes_on.set()
    run.join()
    assert run.sink.written == [0, 1, 2]


def test_result_that_comes_after_its_stage_was_given_up_is_not_published() -> None:
    goes_on = Event()
    run = Run(1000, workers=1, on_predict=wait_at(3, goes_on)).start()
    run.watch_until(run.sink.closed.is_set)
    goes_on.set()
    run.join()

    assert run.sink.written == [0, 1, 2]
    assert run.runner.counters().published == 3


def test_times_are_of_frames_and_not_of_the_end() -> None:
    run = Run(20).to_the_end()

    counts = {stage: times.count for stage, times in run.runner.times.items()}
    assert counts == {"capture": 20, "sink keeping": 20}
