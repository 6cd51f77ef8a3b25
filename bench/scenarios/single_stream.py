"""One frame after the other through the node's predictor: how long a frame takes that waits for nothing."""

from __future__ import annotations

import statistics
import time
from itertools import islice
from typing import Any, Final

from bench.meter import Meter
from bench.scenarios.frames import again_and_again, decoded_frames
from bench.scenarios.node import node_predictors
from bench.task import Task
from perception.frame import Frame
from perception.inference.engines import Engine
from perception.inference.predictor import Predictor

WARM_UP_FRAMES: Final = 10


def measure(task: Task) -> dict[str, Any]:
    """Time from a decoded frame to its prediction, all threads on one frame, the next when the last is done.

    Options: `frames`.
    """
    count = task.options["frames"]
    frames = decoded_frames(task.source)
    engine, predict = live_predictor(task, frames)
    latencies_ms: list[float] = []
    stage_ms: dict[str, list[float]] = {}
    with Meter(engine.provider) as meter:
        for frame in islice(again_and_again(frames), count):
            started_ns = time.perf_counter_ns()
            prediction = predict(frame)
            latencies_ms.append((time.perf_counter_ns() - started_ns) / 1e6)
            for stage, duration_ns in prediction.stage_ns.items():
                stage_ms.setdefault(stage, []).append(duration_ns / 1e6)
    return {
        "latencies_ms": latencies_ms,
        "stage_ms": {stage: statistics.median(times_ms) for stage, times_ms in stage_ms.items()},
        "frames": count,
        **meter.values(),
    }


def live_predictor(task: Task, frames: list[Frame]) -> tuple[Engine, Predictor]:
    """The one predictor of a live run, warm: it has seen some of the frames."""
    engine, (predict,) = node_predictors(task, is_live=True)
    for frame in islice(again_and_again(frames), WARM_UP_FRAMES):
        predict(frame)
    return engine, predict
