"""A live run at a constant rate: the latency of every frame that was due, and what became of the frames."""

from __future__ import annotations

from typing import Any, Final

from bench.meter import Meter
from bench.quantiles import quantile_or_max
from bench.scenarios.frames import decoded_frames
from bench.scenarios.live_run import Stall, run_live
from bench.scenarios.single_stream import live_predictor
from bench.task import Task

RATE_HZ: Final = 30.0
DURATION_S: Final = 20.0  # at 30 Hz enough for a 99th percentile
STALL_MS: Final = 200.0
STALL_EVERY_S: Final = 10.0


def measure(task: Task) -> dict[str, Any]:
    """Latency of every frame that was due at `rate_hz`, and what became of the frames.

    Options: `rate_hz`, `duration_s`; `stall_stage` (capture, predict, sink) with `stall_ms` and
    `stall_every_s`, to see that a stall is seen.

    Beside what every live run tells, `source_late_ms` is the 99th percentile of how late the source itself
    handed frames out; the latencies hold it. `sinks_dropped` counts results a stalled sink did not take.
    """
    rate_hz = task.number("rate_hz", RATE_HZ)
    duration_s = task.number("duration_s", DURATION_S)
    stall = _stall_of(task)
    frames = decoded_frames(task.source)
    engine, predict = live_predictor(task, frames)
    with Meter(engine.provider) as meter:
        run = run_live(predict, frames, rate_hz, duration_s, stall)
    late_ms = [(handed - due) / 1e6 for due, handed in zip(run.due_ns, run.handed_ns, strict=True)]
    return {
        "rate_hz": rate_hz,
        "due": len(run.due_ns),
        "latencies_ms": run.latencies_ms,
        "ages_ms": run.ages_ms,
        "dropped": run.dropped,
        "jitter_ms": run.jitter_ms,
        "held": run.held,
        "stall": stall and {"stage": stall.stage, "ms": stall.ms, "every_s": stall.every_s},
        "source_late_ms": quantile_or_max(late_ms, 0.99),
        "sinks_dropped": run.sinks_dropped,
        **meter.values(),
    }


def _stall_of(task: Task) -> Stall | None:
    stage = task.options.get("stall_stage")
    if stage is None:
        needless = [name for name in ("stall_ms", "stall_every_s") if name in task.options]
        if needless:
            raise ValueError(f"{needless[0]} is given without stall_stage, the stage that is to stall")
        return None
    ms, every_s = task.number("stall_ms", STALL_MS), task.number("stall_every_s", STALL_EVERY_S)
    return Stall(stage, ms, every_s)
