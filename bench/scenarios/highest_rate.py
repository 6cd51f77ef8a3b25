"""The highest rate that the node's live pipeline holds: every frame answered within one period."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final, Literal

from bench.meter import times_ms
from bench.quantiles import quantile
from bench.scenarios.constant_rate import LiveRun, run_live
from bench.scenarios.node import again_and_again, decoded_frames
from bench.scenarios.single_stream import live_predictor
from bench.task import Task

TRIAL_S: Final = 5.0
HIGHEST_HZ: Final = 1000.0  # no camera is faster, and the source's own lateness would show
LOWEST_HZ: Final = 1.0
PRECISION: Final = 0.03
PROBE_FRAMES: Final = 20


@dataclass(frozen=True)
class Trial:
    """A live run at one rate."""

    rate_hz: float
    p99_ms: float | None
    """Of the latencies of every frame that was due; None where they are too few to hold it."""
    max_ms: float
    judged_by: Literal["p99", "max"]
    """Which of the two was compared with the period."""
    due: int
    dropped: int
    held: bool

    @classmethod
    def of(cls, run: LiveRun) -> Trial:
        """What a run says of its rate."""
        latencies_ms = run.latencies_ms
        p99_ms = quantile(latencies_ms, 0.99).value
        judged_by: Literal["p99", "max"] = "max" if p99_ms is None else "p99"
        due = len(run.due_ns)
        return cls(run.rate_hz, p99_ms, max(latencies_ms), judged_by, due, run.dropped, run.held)


def measure(task: Task) -> dict[str, Any]:
    """The highest rate with no frame dropped and the 99th percentile of latency within one period.

    A trial of fewer than 459 frames cannot hold a 99th percentile: there the maximum counts instead, which
    is stricter; `tried` says which. With the default of 5 s that concerns rates below 92 Hz. The rate is
    known to 3 %, on a quiet machine: a single hiccup can fail a trial, and the rounds show how much.

    Options: `trial_s`.
    """
    trial_s = task.options.get("trial_s", TRIAL_S)
    frames = decoded_frames(task.source)
    _, predict = live_predictor(task, frames)  # once: the trials are of the same network
    alone_ms = times_ms(predict, islice(again_and_again(frames), PROBE_FRAMES))
    rate_hz, tried = search(
        lambda rate_hz: Trial.of(run_live(predict, frames, rate_hz, trial_s)),
        1000 / statistics.median(alone_ms),  # no live run can be much faster
    )
    return {"rate_hz": rate_hz, "tried": [asdict(trial) for trial in tried], "trial_s": trial_s}


def search(
    hold: Callable[[float], Trial],
    start_hz: float,
    lowest_hz: float = LOWEST_HZ,
    highest_hz: float = HIGHEST_HZ,
    precision: float = PRECISION,
) -> tuple[float | None, list[Trial]]:
    """The highest rate that held, and all trials in their order.

    Doubles or halves until one rate has held and a higher one has not, then bisects their ratio.

    Args:
        hold: a trial at a rate in Hz.
        start_hz: the first rate to try.
        precision: the search ends when the lowest rate that failed is at most so much higher.

    Returns:
        None for the rate if none held down to `lowest_hz`; `highest_hz` if that held.
    """
    tried: list[Trial] = []
    held_hz: float | None = None
    failed_hz: float | None = None
    rate_hz = min(max(start_hz, lowest_hz), highest_hz)
    while True:
        tried.append(hold(rate_hz))
        if tried[-1].held:
            held_hz = rate_hz
        else:
            failed_hz = rate_hz
        if failed_hz is None:
            if rate_hz == highest_hz:
                return held_hz, tried
            rate_hz = min(2 * rate_hz, highest_hz)
        elif held_hz is None:
            if rate_hz == lowest_hz:
                return None, tried
            rate_hz = max(rate_hz / 2, lowest_hz)
        elif failed_hz <= (1 + precision) * held_hz:
            return held_hz, tried
        else:
            rate_hz = math.sqrt(held_hz * failed_hz)
