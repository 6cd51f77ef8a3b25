"""Several recordings at once, each in a process of its own with its share of the cores."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.meter import Meter, process_cpu_s
from bench.scenarios.node import node_predictors
from bench.scenarios.offline import FRAMES, WARM_UP_FRAMES, play, recording_of
from bench.task import EXPECTED, Task
from perception.inference.engines.engine import one_line
from perception.pipeline import PipelineError
from perception.system.cores import usable_cores
from perception.system.process import tune_process

STREAMS: Final = 2


@dataclass(frozen=True)
class _Played:
    """What one stream tells of its part."""

    frames: int
    values: dict[str, Any]
    """Of its own meter."""


def measure(task: Task) -> dict[str, Any]:
    """Frames a second of each stream and of all together; they begin at the same moment.

    `fps` adds up what each had until its own end. `fps_to_last_end` divides all frames by the time
    until the last one's end: less, where one was alone at the end. `peak_memory_mb` is the sum of all
    processes, which hold theirs at the same time.

    Options: `streams`, `frames` (of each).

    Raises:
        PipelineError: naming the stream that failed, in one line.
        ValueError, SourceError: in one line.
    """
    streams, frames = task.count("streams", STREAMS), task.count("frames", FRAMES)
    threads = max(1, usable_cores() // streams)
    with TemporaryDirectory() as folder:
        video = recording_of(task.source, Path(folder))
        started = [Stream(number + 1, task, video, frames, threads) for number in range(streams)]
        played: list[_Played] = []

        def cpu_s(children: bool) -> float:
            return process_cpu_s() + sum(float(each.values["cpu_s"]) for each in played)

        try:
            for stream in started:
                stream.answer()  # it is loaded and warm
            with Meter(task.provider, cpu_s=cpu_s) as meter:
                for stream in started:
                    stream.go()
                played += [stream.answer() for stream in started]
        except BaseException:
            for stream in started:
                stream.break_off()
            raise
        finally:
            for stream in started:
                stream.join()
    values = meter.values()
    fps = [each.frames / each.values["wall_s"] for each in played]
    total = sum(each.frames for each in played)
    held_mb = [each.values["peak_memory_mb"] for each in played]
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


class Stream:
    """One process, as the one that measures sees it."""

    def __init__(self, number: int, task: Task, video: str, frames: int, threads: int) -> None:
        context = get_context("spawn")
        self._name = f"stream {number}"
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_play, args=(theirs, task, video, frames, threads))
        self._process.start()
        theirs.close()  # else its end is never seen

    def go(self) -> None:
        """Let it begin."""
        self._line.send(None)

    def answer(self) -> Any:
        """What it says next: first that it is ready, then a `_Played`; raises PipelineError."""
        try:
            said = self._line.recv()
        except EOFError:
            self._process.join()
            said = ValueError(f"ended with status {self._process.exitcode}")
        if isinstance(said, ValueError):
            raise PipelineError(self._name, said)
        return said

    @property
    def is_alive(self) -> bool:
        """Whether its process has not ended."""
        return self._process.exitcode is None

    def break_off(self) -> None:
        """End it at once."""
        self._process.terminate()

    def join(self) -> None:
        """Wait for its end."""
        self._process.join()
        self._line.close()


def _play(line: Connection, task: Task, video: str, frames: int, threads: int) -> None:
    """Body of a stream's process."""
    tune_process()
    try:
        engine, predictors = node_predictors(task, is_live=False, threads=threads)
        play(video, min(frames, WARM_UP_FRAMES), predictors, None)
        line.send("ready")
        line.recv()
        with Meter(engine.provider) as meter:
            count = play(video, frames, predictors, None)
        line.send(_Played(count, meter.values()))
    except EXPECTED as error:
        line.send(ValueError(one_line(error)))  # theirs may not be made to be sent
