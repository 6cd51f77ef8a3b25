"""A live run at a constant rate: frames that come by the clock, whether the node keeps up or not.

A frame's time runs from when it was due. A load that waits until the system is ready for it leaves out the
very frames that a stall would have delayed (Gil Tene: "coordinated omission").
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

from bench.meter import metered
from bench.quantiles import quantile_or_max
from bench.scenarios.node import FunctionSink, as_new, decoded_frames, run_pipeline
from bench.scenarios.single_stream import live_predictor
from bench.task import Task
from perception.frame import Frame, Prediction
from perception.sources.source import EndOfSource, Source, SourceInfo
from perception.system.clock import Clock

Stage = Literal["capture", "predict", "sink"]


def measure(task: Task) -> dict[str, Any]:
    """Latency of every frame that was due at `rate_hz`, and what became of the frames.

    Options: `rate_hz`, `duration_s`; to see that a stall is seen, `stall_stage` (capture, predict, sink),
    `stall_ms` and `stall_every_s`.

    `source_late_ms` is the 99th percentile of how late the source itself handed frames out; the latencies
    hold it. `sinks_dropped` counts results that a stalled sink did not take.
    """
    options = task.options
    rate_hz = options["rate_hz"]
    stall = None
    if "stall_stage" in options:
        stall = Stall(options["stall_stage"], options["stall_ms"], options["stall_every_s"])
    frames = decoded_frames(task.source)
    engine, predict = live_predictor(task, frames)
    with metered(engine.provider) as readings:
        run = run_live(predict, frames, rate_hz, options["duration_s"], stall)
    late_ms = [(handed - due) / 1e6 for due, handed in zip(run.due_ns, run.handed_ns, strict=True)]
    return {
        "rate_hz": rate_hz,
        "due": len(run.due_ns),
        "latencies_ms": run.latencies_ms,
        "ages_ms": run.ages_ms,
        "dropped": run.dropped,
        "jitter_ms": run.jitter_ms,
        "held": run.held,
        "stall": stall and asdict(stall),
        "source_late_ms": quantile_or_max(late_ms, 0.99),
        "sinks_dropped": run.sinks_dropped,
        **readings,
    }


@dataclass(frozen=True)
class Stall:
    """A stage that stops every so often."""

    stage: Stage
    ms: float
    every_s: float
    """From one to the next; the first comes after half of it."""


class Stalling:
    """Stops when it is time; called by the stage with every item."""

    def __init__(self, stall: Stall, clock: Clock) -> None:
        self._stall_s, self._every_ns, self._clock = stall.ms / 1e3, round(stall.every_s * 1e9), clock
        self._next_ns: int | None = None

    def __call__(self) -> None:
        """Return at once, or after the stall."""
        now_ns = self._clock.monotonic_ns()
        if self._next_ns is None:
            self._next_ns = now_ns + self._every_ns // 2
        if now_ns >= self._next_ns:
            while self._next_ns <= now_ns:
                self._next_ns += self._every_ns
            self._clock.wait(threading.Event(), self._stall_s)


class ScheduledSource(Source):
    """A live source whose frame `k` is due at the start plus `k` periods, and counts as captured then.

    A frame that is overdue is handed out at once, and so are all that became due meanwhile, one after
    the other.

    Args:
        frames: decoded; they are given again and again.
        count: how many to give.
        stall: called when a frame is due, before it is handed out.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        rate_hz: float,
        count: int,
        clock: Clock | None = None,
        stall: Callable[[], None] = lambda: None,
    ) -> None:
        self.due_ns: list[int] = []
        """When each frame was due, as far as the run has come."""
        self.handed_ns: list[int] = []
        """When each was handed out."""
        self._frames, self._rate_hz, self._count = frames, rate_hz, count
        self._clock, self._stall = clock or Clock(), stall
        self._stopped = threading.Event()

    def open(self) -> SourceInfo:
        """What it gives; the clock starts with the first `read`."""
        first = self._frames[0]
        return SourceInfo(
            *(first.source_id, True, first.frame_wh, self._rate_hz, "at a constant rate"),
            pixel_aspect=first.pixel_aspect,
        )

    def read(self) -> Frame:
        """The next frame, not before it is due; EndOfSource after the last."""
        number = len(self.due_ns)
        if number >= self._count:
            raise EndOfSource
        if number == 0:
            self._start_ns = self._clock.monotonic_ns()
        due_ns = self._start_ns + round(number * 1e9 / self._rate_hz)
        left_s = (due_ns - self._clock.monotonic_ns()) / 1e9
        if self._stopped.is_set() or (left_s > 0 and self._clock.wait(self._stopped, left_s)):
            raise EndOfSource
        self._stall()
        self.due_ns.append(due_ns)
        self.handed_ns.append(self._clock.monotonic_ns())
        frame = self._frames[number % len(self._frames)]
        return as_new(frame, number, due_ns, due_ns - self._start_ns)

    def close(self) -> None:
        """Nothing is held."""

    def stop(self) -> None:
        """End a wait in `read` at once."""
        self._stopped.set()


@dataclass(frozen=True)
class LiveRun:
    """What a live run came to."""

    rate_hz: float
    due_ns: list[int]
    handed_ns: list[int]
    published: list[tuple[int, int]]
    """Frame id and time in ns, in the order of publication."""
    end_ns: int
    """When the pipeline had drained."""
    dropped: int
    sinks_dropped: int
    """Results that were published and did not reach a sink in time."""

    @property
    def latencies_ms(self) -> list[float]:
        """Of every frame that was due."""
        return [it / 1e6 for it in latencies_ns(self.due_ns, self.published, self.end_ns)]

    @property
    def ages_ms(self) -> list[float]:
        """Of every result when it was published, from when its frame was due."""
        return [(at_ns - self.due_ns[frame_id]) / 1e6 for frame_id, at_ns in self.published]

    @property
    def jitter_ms(self) -> float | None:
        """99th percentile (or maximum) of how far publications are from one period apart."""
        times_ns = [at_ns for _, at_ns in self.published]
        away_ms = [abs((later - earlier) / 1e6 - 1e3 / self.rate_hz) for earlier, later in pairwise(times_ns)]
        return quantile_or_max(away_ms, 0.99) if away_ms else None

    @property
    def held(self) -> bool:
        """Whether the node kept up: nothing dropped, and 99 % (or all) answered within one period."""
        return not self.dropped and quantile_or_max(self.latencies_ms, 0.99) <= 1e3 / self.rate_hz


def latencies_ns(due_ns: Sequence[int], published: Sequence[tuple[int, int]], end_ns: int) -> list[int]:
    """How long each frame that was due waited for an answer.

    The answer to a frame is the first result of it or of a newer one: a frame that a newer one displaced
    waited for that one's result. One without an answer waited until the end.

    Args:
        due_ns: when frame 0, 1, 2, … was due.
        published: frame ids and when their results were published.
        end_ns: when the run had ended.
    """
    answered_ns = [end_ns] * len(due_ns)
    for frame_id, at_ns in published:
        answered_ns[frame_id] = min(answered_ns[frame_id], at_ns)
    for frame_id in range(len(due_ns) - 2, -1, -1):
        answered_ns[frame_id] = min(answered_ns[frame_id], answered_ns[frame_id + 1])
    return [at_ns - due for due, at_ns in zip(due_ns, answered_ns, strict=True)]


def run_live(
    predict: Callable[[Frame], Prediction],
    frames: Sequence[Frame],
    rate_hz: float,
    duration_s: float,
    stall: Stall | None = None,
) -> LiveRun:
    """Put frames through the node's live pipeline at a constant rate: one worker, the newest frame wins.

    Raises:
        RunError: if a stage failed.
    """
    clock = Clock()
    stalls = {stall.stage: Stalling(stall, clock)} if stall else {}
    published: list[tuple[int, int]] = []
    sinks = [FunctionSink("recorder", lambda it: published.append((it.frame.frame_id, it.published_ns)))]
    if on_sink := stalls.get("sink"):
        sinks.append(FunctionSink("stalling", lambda _: on_sink()))

    def stalling_predict(frame: Frame) -> Prediction:
        if on_predict := stalls.get("predict"):
            on_predict()
        return predict(frame)

    count = max(1, round(rate_hz * duration_s))
    source = ScheduledSource(frames, rate_hz, count, clock, stalls.get("capture", lambda: None))
    runner = run_pipeline(source, source.open(), [stalling_predict], sinks)
    return LiveRun(
        rate_hz=rate_hz,
        due_ns=source.due_ns,
        handed_ns=source.handed_ns,
        published=published,
        end_ns=clock.monotonic_ns(),
        dropped=runner.counters().dropped_in_all,
        sinks_dropped=sum(sink.became()["dropped"] for sink in runner.sinks.values()),
    )
