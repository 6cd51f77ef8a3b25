"""Several recordings at once, each in a process of its own with its share of the cores."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from bench.meter import Meter, process_cpu_s
from bench.scenarios.node import node_predictors
from bench.scenarios.offline import WARM_UP_FRAMES, play
from bench.scenarios.side_by_side import SideBySide, take_part
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

    with SideBySide(__name__, "stream", [(task.key, str(threads))] * streams) as processes:
        processes.wait()  # each is loaded and warm
        with Meter(task.provider, cpu_s=cpu_s) as meter:
            played += processes.go()
    values = meter.values()
    fps = [each["frames"] / each["wall_s"] for each in played]
    total = sum(each["frames"] for each in played)
    held_mb = [each["peak_memory_mb"] for each in played]
    return {
        "streams": streams,
        "threads_each": threads,
        "fps": sum(fps),
        "fps_by_stream": fps,
        "fps_to_last_end": total / values["wall_s"],
        "frames": total,
        **values,
        "peak_memory_mb": None if None in held_mb else sum([values["peak_memory_mb"], *held_mb]),
    }


def main(key: str, threads: str) -> None:
    """One stream's process."""

    def body(meet: Callable[[], None]) -> dict[str, Any]:
        task = Task.of_key(key)
        frames = task.options["frames"]
        engine, predictors = node_predictors(task, is_live=False, threads=int(threads))
        play(task.source, min(frames, WARM_UP_FRAMES), predictors, None)
        meet()
        with Meter(engine.provider) as meter:
            count = play(task.source, frames, predictors, None)
        return {"frames": count, **meter.values()}

    take_part(body)


if __name__ == "__main__":
    main(*sys.argv[1:])
