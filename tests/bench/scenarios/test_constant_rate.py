"""A live run at a constant rate: what a frame's latency is, and that a stall shows at its true size."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.quantiles import quantile
from bench.scenarios.constant_rate import (
    LiveRun,
    ScheduledSource,
    Stage,
    Stall,
    Stalling,
    latencies_ns,
    measure,
    run_live,
)
from bench.task import Task
from perception.frame import Frame, Prediction
from perception.pipeline import RunError
from perception.sources.source import EndOfSource, SourceInfo
from perception.system.clock import Clock

MS = 1_000_000
S = 1000 * MS
RATE_HZ = 30.0
PERIOD_MS = 1000 / RATE_HZ
PREDICT_MS = 4.0
FRAME = Frame("fake", 0, 0, 0, np.zeros((2, 2, 3), np.uint8), "0")


class FakeTime:
    """Time that passes only while somebody waits."""

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns
        self.clock = Clock(lambda: self.now_ns, self._wait)

    def _wait(self, event: threading.Event, timeout_s: float) -> bool:
        if not event.is_set():
            self.now_ns += round(timeout_s * 1e9)
        return event.is_set()


def predict(frame: Frame) -> Prediction:
    return Prediction(frame, np.zeros((2, 2), np.uint8), (1.0, 0.0, 0.0), "fake")


def simulate(stall: Stall, duration_s: float) -> LiveRun:
    """The pipeline without threads: the source runs alone, for it waits for nobody; then the worker."""
    count = round(RATE_HZ * duration_s)
    at_source, at_worker = FakeTime(5 * S), FakeTime(5 * S)
    standing = Stalling(stall, (at_source if stall.stage == "capture" else at_worker).clock)
    on_capture = standing if stall.stage == "capture" else lambda: None
    source = ScheduledSource([FRAME], RATE_HZ, count, at_source.clock, on_capture)
    handed = [(source.read(), at_source.now_ns) for _ in range(count)]

    def work(frame: Frame) -> Prediction:
        at_worker.now_ns += round(PREDICT_MS * MS)
        return replace(predict(frame), published_ns=at_worker.now_ns)

    published: list[tuple[int, int]] = []
    dropped = 0
    while handed:
        at_worker.now_ns = max(at_worker.now_ns, handed[0][1])
        waiting = [frame for frame, at_ns in handed if at_ns <= at_worker.now_ns]
        handed = handed[len(waiting) :]
        dropped += len(waiting) - 1
        if stall.stage == "predict":
            standing()
        prediction = work(waiting[-1])
        published.append((prediction.frame.frame_id, prediction.published_ns))
    end_ns = at_worker.now_ns
    return LiveRun(RATE_HZ, source.due_ns, source.handed_ns, published, end_ns, dropped, 0)


@pytest.mark.parametrize(
    ("due_ms", "published", "end_ms", "latencies_ms"),
    [
        ([0, 10, 20], [(0, 4), (1, 14), (2, 24)], 30, [4, 4, 4]),
        # Frames 1 and 2 were displaced by frame 3, and waited for its result.
        ([0, 10, 20, 30], [(0, 33), (3, 37)], 40, [33, 27, 17, 7]),
        # The result of an older frame is no answer to a newer one.
        ([0, 10, 20], [(0, 25)], 90, [25, 80, 70]),
        ([0, 10], [], 50, [50, 40]),
        # A newer frame's result that came first is the answer to the older one too.
        ([0, 10, 20], [(1, 14), (0, 19), (2, 24)], 30, [14, 4, 4]),
        ([], [], 5, []),
    ],
)
def test_frame_waits_for_the_first_result_of_it_or_of_a_newer_one(
    due_ms: list[int], published: list[tuple[int, int]], end_ms: int, latencies_ms: list[int]
) -> None:
    times = [(frame_id, at_ms * MS) for frame_id, at_ms in published]

    found = latencies_ns([due * MS for due in due_ms], times, end_ms * MS)

    assert found == [latency * MS for latency in latencies_ms]


def delayed_ms(count: int, stall_ms: float = 200.0) -> list[float]:
    """What the frames that became due during a stall wait for its end: 200, 167, 133, … ms."""
    return [stall_ms - number * PERIOD_MS for number in range(count)]


def naive_ms(run: LiveRun) -> list[float]:
    """What a load generator would say that takes a frame's time from its hand-over, of answered ones."""
    return [(at_ns - run.handed_ns[frame_id]) / 1e6 for frame_id, at_ns in run.published]


@pytest.mark.parametrize(
    ("stage", "late_ms"),
    [
        # Frames 0 to 6 of the stall are handed out at its end, and the newest answers for all of them.
        ("capture", [it + PREDICT_MS for it in delayed_ms(7)]),
        # Frame 0 stands in the worker; the others are answered by the newest of them, one frame later.
        ("predict", [200 + PREDICT_MS, *(it + 2 * PREDICT_MS for it in delayed_ms(7)[1:])]),
    ],
)
def test_stall_shows_at_its_true_size_in_every_frame_that_was_due_meanwhile(
    stage: Stage, late_ms: list[float]
) -> None:
    run = simulate(Stall(stage, 200, 10), duration_s=20)

    latencies_ms, naive = run.latencies_ms, naive_ms(run)
    assert len(latencies_ms) == 600
    for first in (150, 450):  # 5 s and 15 s after the start
        assert latencies_ms[first : first + 7] == pytest.approx(late_ms, abs=1e-3)
        assert latencies_ms[first + 7 : first + 150] == pytest.approx([PREDICT_MS] * 143, abs=1e-3)
    assert max(latencies_ms) == pytest.approx(200 + PREDICT_MS, abs=1e-3)
    p99 = quantile(latencies_ms, 0.99).value
    assert p99 is not None
    assert p99 == pytest.approx(sorted([*late_ms, *late_ms])[-7], abs=1e-3)
    assert p99 > 3 * PERIOD_MS
    assert not run.held
    # And without the rule: the stall is nowhere in the 99th percentile.
    assert quantile(naive, 0.99).value == pytest.approx(PREDICT_MS, abs=1e-3)
    if stage == "capture":
        assert max(naive) == pytest.approx(PREDICT_MS, abs=1e-3)


def test_frames_are_due_at_their_rate_and_overdue_ones_come_at_once() -> None:
    time = FakeTime(7 * S)
    stops = iter([0, 0, 250, 0, 0, 0])

    def stand_still() -> None:
        time.now_ns += next(stops) * MS

    source = ScheduledSource([FRAME], 10.0, 6, time.clock, stand_still)
    frames = [source.read() for _ in range(6)]

    due_ns = [7 * S + number * 100 * MS for number in range(6)]
    assert [frame.captured_ns for frame in frames] == source.due_ns == due_ns
    late_ms = [(handed - due) // MS for handed, due in zip(source.handed_ns, due_ns, strict=True)]
    assert late_ms == [0, 0, 250, 150, 50, 0]
    assert [frame.frame_id for frame in frames] == list(range(6))
    with pytest.raises(EndOfSource):
        source.read()


def test_source_gives_its_frames_in_a_circle_as_new_ones() -> None:
    other = replace(FRAME, pixels=np.ones((2, 2, 3), np.uint8))
    source = ScheduledSource([FRAME, other], 10.0, 4, FakeTime().clock)

    frames = [source.read() for _ in range(4)]

    assert [frame.pixels[0, 0, 0] for frame in frames if isinstance(frame.pixels, np.ndarray)] == [0, 1, 0, 1]
    assert [frame.time_ns // MS for frame in frames] == [0, 100, 200, 300]
    assert source.open() == SourceInfo("fake", True, (2, 2), 10.0, "at a constant rate")


def test_source_that_was_stopped_gives_no_frame() -> None:
    source = ScheduledSource([FRAME], 10.0, 4, FakeTime().clock)
    source.read()

    source.stop()

    with pytest.raises(EndOfSource):
        source.read()
    assert len(source.due_ns) == 1


def test_stage_stands_still_once_every_so_often() -> None:
    time = FakeTime()
    stalling = Stalling(Stall("predict", 50, 2), time.clock)
    stalled_at_ms = []
    for now_ms in range(0, 12000, 100):
        time.now_ns = now_ms * MS
        stalling()
        if time.now_ns > now_ms * MS:
            assert time.now_ns == (now_ms + 50) * MS
            stalled_at_ms.append(now_ms)

    assert stalled_at_ms == [1000, 3000, 5000, 7000, 9000, 11000]


def test_stage_that_had_nothing_to_do_for_long_makes_up_for_no_stall() -> None:
    time = FakeTime()
    stalling = Stalling(Stall("sink", 50, 2), time.clock)
    stalling()

    time.now_ns = 60 * S
    stalling()
    stalling()

    assert time.now_ns == 60 * S + 50 * MS


def run_of(published: Sequence[tuple[int, int]], dropped: int = 0) -> LiveRun:
    due_ns = [number * 100 * MS for number in range(4)]
    times = [(frame_id, at_ms * MS) for frame_id, at_ms in published]
    return LiveRun(10.0, due_ns, due_ns, times, 400 * MS, dropped, 0)


@pytest.mark.parametrize(
    ("published", "dropped", "ages_ms", "jitter_ms", "held"),
    [
        ([(0, 30), (1, 140), (2, 220), (3, 330)], 0, [30, 40, 20, 30], 20, True),
        ([(0, 30), (1, 140), (2, 220), (3, 330)], 1, [30, 40, 20, 30], 20, False),
        ([(0, 30), (2, 260), (3, 330)], 1, [30, 60, 30], 130, False),
        ([(0, 101), (1, 202), (2, 302), (3, 402)], 0, [101, 102, 102, 102], 1, False),
        ([(3, 330)], 3, [30], None, False),
    ],
)
def test_run_reports_ages_jitter_and_whether_it_kept_up(
    published: Sequence[tuple[int, int]],
    dropped: int,
    ages_ms: list[float],
    jitter_ms: float | None,
    held: bool,
) -> None:
    run = run_of(published, dropped)

    assert run.ages_ms == ages_ms
    assert run.jitter_ms == jitter_ms
    assert run.held is held


class SlowOnce:
    """A predictor that stands still with the first frame from `from_id` on, and keeps which one it was."""

    def __init__(self, from_id: int, wait_s: float) -> None:
        self.slow_id: int | None = None
        self._from_id, self._wait_s = from_id, wait_s

    def __call__(self, frame: Frame) -> Prediction:
        if self.slow_id is None and frame.frame_id >= self._from_id:
            self.slow_id = frame.frame_id
            threading.Event().wait(self._wait_s)
        return predict(frame)


def test_real_pipeline_answers_for_every_frame_that_was_due() -> None:
    slow = SlowOnce(10, 0.1)
    run = run_live(slow, [FRAME], rate_hz=100, duration_s=0.4)

    assert slow.slow_id is not None
    assert len(run.due_ns) == len(run.latencies_ms) == 40
    assert run.due_ns[39] - run.due_ns[0] == 390 * MS
    for number, latency_ms in enumerate(run.latencies_ms[slow.slow_id :][:10]):
        assert latency_ms >= 100 - 10 * number
    assert run.dropped >= 1
    assert len(run.published) + run.dropped + run.sinks_dropped == 40
    assert run.published[-1][0] == 39
    assert run.ages_ms[-1] == run.latencies_ms[39]
    assert not run.held


def test_stalled_sink_delays_no_result() -> None:
    run = run_live(predict, [FRAME], rate_hz=200, duration_s=0.5, stall=Stall("sink", 300, 0.31))

    assert run.sinks_dropped >= 1
    assert run.published[-1][0] == 99
    times_ns = [at_ns for _, at_ns in run.published]
    assert max(later - earlier for earlier, later in pairwise(times_ns)) < 300 * MS


def test_error_of_a_stage_ends_the_run_with_it() -> None:
    def fail(frame: Frame) -> Prediction:
        raise ValueError("no such layer")

    with pytest.raises(RunError, match="predict-0: no such layer"):
        run_live(fail, [FRAME], rate_hz=100, duration_s=60)


def test_values_of_a_network_are_complete(red_is_drivable: Path, make_clip: Callable[..., Path]) -> None:
    task = Task(
        "constant_rate",
        str(red_is_drivable),
        source=str(make_clip(frames=3)),
        options={"rate_hz": 50, "duration_s": 0.4}
        | {"stall_stage": "predict", "stall_ms": 200.0, "stall_every_s": 0.3},
    )

    values = measure(task)

    assert (values["rate_hz"], values["due"]) == (50.0, 20)
    assert len(values["latencies_ms"]) == 20
    assert max(values["latencies_ms"]) >= 200
    assert len(values["ages_ms"]) + values["dropped"] + values["sinks_dropped"] == 20
    assert values["dropped"] >= 1
    assert values["held"] is False
    assert values["stall"] == {"stage": "predict", "ms": 200.0, "every_s": 0.3}
    assert {"jitter_ms", "wall_s", "cpu_s", "peak_memory_mb"} <= values.keys()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
