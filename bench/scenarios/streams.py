"""Several recordings at once, each in a process of its own with its share of the cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.meter import metered, process_cpu_s
from bench.scenarios.node import node_predictors
from bench.scenarios.offline import WARM_UP_FRAMES, play
from bench.scenarios.side_by_side import side_by_side
from bench.task import Task
from perception.system.cores import usable_cores


def measure(task: Task) -> dict[str, Any]:
    """Frames a second of each stream and of all together; they begin at the same moment.

    `fps` adds up what each had until its own end. `fps_to_last_end` divides all frames by the time
    until the last one's end: less, where one was alone at the end. `peak_memory_mb` is the sum of all
    processes, which hold theirs at the same time.

    Options: `streams`, `frames` (of each). An error names the stream that failed.
    """
    streams = task.options["streams"]
    threads = max(1, usable_cores() // streams)
    played: list[dict[str, Any]] = []

    def cpu_s(children: bool) -> float:
        return process_cpu_s() + sum(float(each["cpu_s"]) for each in played)

    with side_by_side("stream", _stream, [(task, threads)] * streams) as processes:
        processes.wait()  # each is loaded and warm
        with metered(task.provider, cpu_s=cpu_s) as readings:
            played += processes.go()
    fps = [each["frames"] / each["wall_s"] for each in played]
    total = sum(each["frames"] for each in played)
    held_mb = [each["peak_memory_mb"] for each in played]
    return {
        "streams": streams,
        "threads_each": threads,
        "fps": sum(fps),
        "fps_by_stream": fps,
        "fps_to_last_end": total / readings["wall_s"],
        "frames": total,
        **readings,
        "peak_memory_mb": None if None in held_mb else sum([readings["peak_memory_mb"], *held_mb]),
    }


def _stream(meet: Callable[[], None], task: Task, threads: int) -> dict[str, Any]:
    """One stream's process."""
    frames = task.options["frames"]
    engine, predictors = node_predictors(task, is_live=False, threads=threads)
    play(task.source, min(frames, WARM_UP_FRAMES), predictors, None)
    meet()
    with metered(engine.provider) as readings:
        count = play(task.source, frames, predictors, None)
    return {"frames": count, **readings}
