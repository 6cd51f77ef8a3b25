"""A live run at a constant rate: the latency of every frame that was due, and what became of the frames."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench.meter import Meter
from bench.quantiles import quantile_or_max
from bench.scenarios.frames import decoded_frames
from bench.scenarios.live_run import Stall, run_live
from bench.scenarios.single_stream import live_predictor
from bench.task import Task


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
    with Meter(engine.provider) as meter:
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
        **meter.values(),
    }
