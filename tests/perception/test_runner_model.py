"""A random model of the runner: whatever is slow, fails or hangs, it ends, in order, and its books balance.

Nothing waits by the real clock: time passes where the model says so. A run that does not keep to it is named
by its seed, and drawn again from it: `Model(seed).run()`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from threading import Event, Lock

import numpy as np
import pytest

from perception.concurrency.hang_watch import WatchdogSettings
from perception.frame import CameraState, EngineState, Frame, NoFrameRecord, OutputItem, Prediction
from perception.pipeline import Runner, RunPolicy
from perception.sources.source import EndOfSource, NoFrame, Source, SourceInfo
from perception.system.clock import Clock

LIMIT_S = 20.0
"""Of the real clock; a run takes milliseconds."""
LOOK_S = 0.0005
SEEDS_A_TEST = 25
CALLS = 40
STAGE_S = 5.0
PIXELS = np.zeros((2, 2, 3), np.uint8)
CLASS_MAP = np.zeros((2, 2), np.uint8)


class Fault(Exception):
    """A failure that was drawn."""


class Time:
    """A monotonic clock that the model advances."""

    def __init__(self) -> None:
        self._lock, self._ns = Lock(), 1_000_000_000

    def monotonic_ns(self) -> int:
        return self._ns

    def wait(self, event: Event, timeout_s: float) -> bool:
        self.pass_s(timeout_s)
        return event.is_set()

    def pass_s(self, seconds: float) -> None:
        with self._lock:
            self._ns += round(seconds * 1e9)


class Step:
    """What a stage does beside its work: its calls are slow, one fails and one hangs, as was drawn."""

    def __init__(self, model: Model, name: str, calls: int = CALLS) -> None:
        chance = model.chance
        self.name, self._model = name, model
        self.fails_at = chance.randrange(calls) if chance.random() < 0.12 else None
        self.hangs_at = chance.randrange(calls) if chance.random() < 0.07 else None
        self._yields = [chance.choice((0, 0, 1, 5)) for _ in range(7)]
        self._slow_s = chance.choice((0.0, 0.001, 0.02))
        self._calls = 0

    def __call__(self) -> None:
        model = self._model
        with model.lock:
            number, self._calls = self._calls, self._calls + 1
            model.calls += 1
            model.working += 1
        for _ in range(self._yields[number % 7]):
            time.sleep(0)  # others go first
        model.time.pass_s(self._slow_s)
        if number == self.hangs_at:
            with model.lock:
                model.hung.add(self.name)
                model.working, model.hanging = model.working - 1, model.hanging + 1
            assert model.goes_on.wait(LIMIT_S)
            with model.lock:
                model.working, model.hanging = model.working + 1, model.hanging - 1
        with model.lock:
            model.working -= 1
            if number == self.fails_at:
                model.failures.append(self.name)
        if number == self.fails_at:
            raise Fault(self.name)


class ModelSource(Source):
    """Frames and records without one, each numbered by its `time_ns`."""

    def __init__(self, model: Model) -> None:
        chance = model.chance
        self._model, self._step, self._close = model, Step(model, "capture"), Step(model, "source close", 5)
        self._count = chance.randrange(CALLS)
        self._silent = {chance.randrange(CALLS) for _ in range(chance.randrange(6))}
        self._stopped, self._can_be_stopped = False, chance.random() < 0.7
        self.items = self.frames = self.missed = self.closed = 0
        self.newest = -1
        """Frame that is queued, or was."""

    def open(self) -> SourceInfo:
        raise NotImplementedError

    def read(self) -> Frame:
        self.newest = self.frames - 1
        self._step()
        if self.items == self._count or self._stopped:
            raise EndOfSource
        number, self.items = self.items, self.items + 1
        captured_ns = self._model.time.monotonic_ns()
        if number in self._silent:
            raise NoFrame(NoFrameRecord("model", (2, 2), number, captured_ns, CameraState.STALE, "silent"))
        frame_id, missed = self.frames, number % 5 // 4
        self.frames, self.missed = self.frames + 1, self.missed + missed
        return Frame("model", frame_id, captured_ns, number, PIXELS, str(frame_id), missed_before=missed)

    def stop(self) -> None:
        self._stopped = self._can_be_stopped

    def close(self) -> None:
        self.closed += 1
        self._close()


class ModelSink:
    """Keeps the numbers of what it is given; one that is restarted goes on with the steps of the old one."""

    issue: str | None = None

    def __init__(self, model: Model, name: str, old: ModelSink | None = None) -> None:
        self.name, self._model = name, model
        self.writing = old.writing if old else Step(model, f"sink {name}")
        self.closing = old.closing if old else Step(model, f"sink {name}", 3)
        self.begun: list[int] = old.begun if old else []
        self.written: list[int] = old.written if old else []
        self.is_closed = False

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        raise NotImplementedError

    def write(self, output: OutputItem) -> None:
        self.begun.append(number_of(output))
        self.writing()
        self.written.append(number_of(output))

    def close(self) -> None:
        self.is_closed = True
        self.closing()


STALLED = -1


def number_of(output: OutputItem) -> int:
    return STALLED if output.engine_state is EngineState.STALLED else output.time_ns


def rising(numbers: list[int]) -> bool:
    seen = [it for it in numbers if it != STALLED]
    return seen == sorted(set(seen))


class Model:
    """One run, drawn from a seed: its shape, what fails and hangs in it, and when it is stopped."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = Random(seed)
        self.lock, self.time, self.goes_on = Lock(), Time(), Event()
        self.calls = self.working = self.hanging = 0
        self.hung: set[str] = set()
        self.failures: list[str] = []
        self.wrong: list[str] = []
        self.published: list[OutputItem] = []
        self.is_live = chance.random() < 0.5
        self.workers = 1 if self.is_live else chance.randrange(1, 4)
        self.source = ModelSource(self)
        self.sinks = {name: [ModelSink(self, name)] for name in "abc"[: chance.randrange(4)]}
        self._rebuild = Step(self, "rebuild", 3)
        self._blocked = {chance.randrange(CALLS) for _ in range(chance.randrange(8))}
        self._stops_at = chance.randrange(3 * CALLS) if chance.random() < 0.25 else None
        self._goes_on_after_s = chance.choice((1, 3, 12, 30))
        refine = [self._refine(Step(self, "publish")) for _ in range(chance.randrange(3))]
        policy = RunPolicy(
            refine=[*refine, self._judge],
            max_age_s=chance.choice((0.05, 0.5, float("inf"))),
            rebuild_sink=self._rebuilt if chance.random() < 0.8 else None,
            watchdog=WatchdogSettings(stage_s=STAGE_S, restarts=chance.choice((0, 1, 5))),
        )
        self.runner = Runner(
            self.source,
            SourceInfo("model", self.is_live, (2, 2), 30.0),
            [self._predict(Step(self, f"predict-{number}")) for number in range(self.workers)],
            [made[0] for made in self.sinks.values()],
            policy,
            cores=chance.choice((1, 2, 64)),
            listeners=[self.published.append],
            clock=Clock(self.time.monotonic_ns, self.time.wait),
        )

    def _predict(self, step: Step) -> Callable[[Frame], Prediction]:
        newest = -1  # when this worker was last ready for a frame

        def predict(frame: Frame) -> Prediction:
            nonlocal newest
            if self.is_live and frame.frame_id < newest:
                self.wrong.append(f"frame {frame.frame_id} was given out though {newest} was there")
            try:
                step()
            finally:
                newest = self.source.newest
            return Prediction(frame, CLASS_MAP, (1.0, 0.0, 0.0), "model")

        return predict

    def _refine(self, step: Step) -> Callable[[Prediction], Prediction]:
        seen: list[int] = []

        def refine(prediction: Prediction) -> Prediction:
            seen.append(prediction.time_ns)
            if not rising(seen):
                self.wrong.append(f"a refine step saw {seen}")
            step()
            return prediction

        return refine

    def _judge(self, prediction: Prediction) -> Prediction:
        blocked = prediction.frame.frame_id in self._blocked
        return replace(prediction, camera_state=CameraState.BLOCKED) if blocked else prediction

    def _rebuilt(self, name: str) -> ModelSink:
        self._rebuild()
        made = self.sinks[name]
        made.append(ModelSink(self, name, made[0]))
        return made[-1]

    def run(self) -> None:
        """Run it to its end, as the node does, and see that everything is in order."""
        before = set(threading.enumerate())
        self.runner.start()
        self._drive()
        self.goes_on.set()  # for those that nobody waits for any more
        for thread in set(threading.enumerate()) - before:
            thread.join(LIMIT_S)
        assert set(threading.enumerate()) <= before, "threads are left"
        assert self.wrong == []
        self._check_errors()
        self._check_counters()
        self._check_sinks()
        assert self.source.closed == 1

    def _drive(self) -> None:
        """Watch until the end; while something hangs and nothing else is at work, let a second pass."""
        until_s, hung_s = time.monotonic() + LIMIT_S, 0.0
        while not self.runner.wait(LOOK_S):
            assert time.monotonic() < until_s, f"does not end: {self.runner.stuck_stages()} {self.hung}"
            assert self.runner.unaccounted() == []
            if self._stops_at is not None and self.calls >= self._stops_at:
                self.runner.stop()
            with self.lock:
                only_hangs = self.hanging and not self.working
            if only_hangs:
                self.time.pass_s(1.0)
                hung_s += 1
                if hung_s >= self._goes_on_after_s:
                    self.goes_on.set()
            self.runner.watch()

    def _check_errors(self) -> None:
        names = {name for name, _ in self.runner.errors}
        assert names <= {*self.failures, *self.hung, *self._sinks_without_successor()}
        must = {it for it in self.failures if it != "rebuild" and not (self.is_live and "sink" in it)}
        assert must <= names

    def _sinks_without_successor(self) -> set[str]:
        return {f"sink {name}" for name in self.sinks} if "rebuild" in self.failures else set()

    def _check_counters(self) -> None:
        counters, published = self.runner.counters(), self.published
        assert self.runner.unaccounted(is_over=True) == []
        out = counters.published + counters.withheld
        assert (counters.captured, counters.missed) == (self.source.frames, self.source.missed)
        assert counters.captured == out + counters.dropped_in_all
        assert counters.in_flight == 0
        failed = sum(name.startswith("predict") for name in self.failures)
        assert counters.dropped.get("stage failed", 0) == failed
        assert rising([number_of(it) for it in published])
        frames = [it for it in published if isinstance(it, Prediction)]
        if "publish" not in self.hung:
            assert out == len(frames)
            assert counters.published == sum(it.has_mask for it in frames)
        if not self.is_live:
            assert "newer frame" not in counters.dropped
        if not (self.is_live or self.hung or self.failures or self._stops_at is not None):
            assert [number_of(it) for it in published] == list(range(self.source.items))

    def _check_sinks(self) -> None:
        published = [number_of(it) for it in self.published]
        for name, made in self.sinks.items():
            begun, became = made[0].begun, self.runner.sinks[name].became()
            assert all(sink.is_closed for sink in made)
            assert rising(begun)
            assert len(made[0].written) == became["written"] or f"sink {name}" in self.hung
            if not self.is_live:
                assert begun == published[: len(begun)], "a sink of a recording misses a result"
                assert became["dropped"] == 0
            if not (self.hung or self.failures):
                assert became["lost"] == 0
                assert len(begun) + became["dropped"] == len(published)


@contextmanager
def named(seed: int) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


@pytest.mark.one_in(10)
@pytest.mark.parametrize("first", range(0, 80 * SEEDS_A_TEST, SEEDS_A_TEST))
def test_random_run_ends_in_order_with_its_books_balanced(first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        with named(seed):
            Model(seed).run()
