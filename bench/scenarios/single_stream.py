"""One frame after the other through the node's predictor: how long a frame takes that waits for nothing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from bench.meter import metered, times_ms
from bench.scenarios.node import again_and_again, decoded_frames, node_predictors
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
    stages_ns: list[Mapping[str, int]] = []
    with metered(engine.provider) as readings:
        latencies_ms = times_ms(
            lambda frame: stages_ns.append(predict(frame).stage_ns), islice(again_and_again(frames), count)
        )
    return {
        "latencies_ms": latencies_ms,
        "stage_ms": {name: statistics.median(it[name] for it in stages_ns) / 1e6 for name in stages_ns[0]},
        "frames": count,
        **readings,
    }


def live_predictor(task: Task, frames: list[Frame]) -> tuple[Engine, Predictor]:
    """The one predictor of a live run, warm: it has seen some of the frames."""
    engine, (predict,) = node_predictors(task, is_live=True)
    for frame in islice(again_and_again(frames), WARM_UP_FRAMES):
        predict(frame)
    return engine, predict
