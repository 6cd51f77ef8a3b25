"""What each stage of the node costs when it runs alone: the work that a frame is, whatever waits for what."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.meter import Meter, process_cpu_s
from bench.scenarios.node import node_perceivers
from bench.scenarios.offline import WARM_UP_FRAMES, recording_of
from bench.task import Task
from perception.engines import Engine
from perception.frame import Frame, Prediction
from perception.perceive import Perceiver
from perception.sinks.registry import SinkSettings, build_sinks
from perception.sources.registry import SourceSettings, build_source
from perception.sources.source import Source, SourceInfo

T = TypeVar("T")

FRAMES: Final = 300
KEPT_FRAMES: Final = 60
"""Decoded frames that the later stages are given, over and over."""
THREADS: Final = Path("/proc/self/task")
"""Linux' list of this process's threads."""
QUIET_FOR_S: Final = 0.02
QUIET_CPU_S: Final = 0.001
QUIET_LIMIT_S: Final = 2.0


@dataclass(frozen=True)
class Cost:
    """Of a frame in one stage."""

    cpu_ms: float
    """User and system time of the process: of all threads, a library's own too."""
    wall_ms: float


def measure(task: Task) -> dict[str, Any]:
    """CPU time of decoding, of perceiving, and of drawing with encoding, one after the other.

    All cores together do at most `bound_fps`: the cores over the CPU time of a frame. On a GPU,
    `perceive` is the processor's part alone. `own_threads` are those that decoder and encoder had beside
    their caller's; their time is counted. The meter's window holds the three stages with their warm-up.

    Options: `frames`.

    Raises:
        ValueError, FileNotFoundError, SourceError, EngineError, SinkError: in one line.
    """
    frames, cores = task.count("frames", FRAMES), len(os.sched_getaffinity(0))
    with TemporaryDirectory() as folder:
        video = recording_of(task.source, Path(folder))
        engine = ClockedEngine(node_perceivers(task, is_live=False, threads=1)[0])
        perceive = Perceiver(engine)
        kept, info = _decoded(video, min(frames, KEPT_FRAMES))
        predictions = [perceive(frame) for frame in kept]
        with Meter(engine.provider) as meter:
            decoding, decoder_threads = decode_cost(build_source(video, SourceSettings(loop=True)), frames)
            perceiving, steps_cpu_ms = perceive_cost(perceive, engine, kept, frames)
            drawing, encoder_threads = overlay_cost(Path(folder), info, predictions, frames)
    costs = {"decode": decoding, "perceive": perceiving, "overlay": drawing}
    frame_ms = decoding.cpu_ms + perceiving.cpu_ms
    return {
        "cpu_ms": {name: cost.cpu_ms for name, cost in costs.items()},
        "wall_ms": {name: cost.wall_ms for name, cost in costs.items()},
        "own_threads": {"decode": decoder_threads, "overlay": encoder_threads},
        **{f"{step}_cpu_ms": step_ms for step, step_ms in steps_cpu_ms.items()},
        "cores": cores,
        "bound_fps": {
            "class_map": 1000 * cores / frame_ms,
            "overlay": 1000 * cores / (frame_ms + drawing.cpu_ms),
        },
        "frames": frames,
        **meter.values(),
    }


def decode_cost(source: Source, frames: int) -> tuple[Cost, int | None]:
    """Of `source.read` alone, in the middle of a recording; and the decoder's own threads.

    A decoder with threads of its own is always the same number of frames ahead, so what it had decoded
    before the first of these frames is what it has decoded beyond the last.

    Args:
        source: not yet open; without an end.
    """
    threads = _threads()
    source.open()
    try:
        _read(source, min(frames, WARM_UP_FRAMES))
        return _cost(lambda: _read(source, frames), frames), _more(threads)
    finally:
        source.close()


class ClockedEngine:
    """An engine, and when it was at work: in CPU seconds of the process, as `process_cpu_s` counts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.contract, self.provider = engine.contract, engine.provider
        self.state, self.runs_one_at_a_time = engine.state, engine.runs_one_at_a_time
        self.started_cpu_s = self.ended_cpu_s = 0.0

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        return self._clocked(self._engine.infer, input_bgr)

    def classify(self, frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """See `Engine`."""
        return self._clocked(self._engine.classify, frame_bgr)

    def _clocked(self, run: Callable[[NDArray[np.uint8]], T], image_bgr: NDArray[np.uint8]) -> T:
        self.started_cpu_s = process_cpu_s()
        output = run(image_bgr)
        self.ended_cpu_s = process_cpu_s()
        return output


def perceive_cost(
    perceive: Perceiver, engine: ClockedEngine, kept: Sequence[Frame], frames: int
) -> tuple[Cost, dict[str, float]]:
    """Of perceiving, and the CPU milliseconds a frame of its steps.

    Args:
        perceive: one that has run before.
        engine: its engine.
        kept: decoded frames, taken in turns.
    """
    steps_cpu_s = {"prepare": 0.0, "infer": 0.0, "interpret": 0.0}

    def run() -> None:
        for number in range(frames):
            # Anew, for a frame keeps its picture in BGR once it was asked for.
            frame = replace(kept[number % len(kept)])
            before_s = process_cpu_s()
            perceive(frame)
            after_s = process_cpu_s()
            steps_cpu_s["prepare"] += engine.started_cpu_s - before_s
            steps_cpu_s["infer"] += engine.ended_cpu_s - engine.started_cpu_s
            steps_cpu_s["interpret"] += after_s - engine.ended_cpu_s

    cost = _cost(run, frames)
    return cost, {step: 1000 * cpu_s / frames for step, cpu_s in steps_cpu_s.items()}


def overlay_cost(
    folder: Path, info: SourceInfo, predictions: Sequence[Prediction], frames: int
) -> tuple[Cost, int | None]:
    """Of drawing and encoding the overlay video up to the closed file; and the encoder's own threads.

    Args:
        predictions: taken in turns, as if of one recording.
    """
    own_threads = _write(folder / "warm-up.mp4", info, predictions, len(predictions))

    def run() -> None:
        _write(folder / "overlay.mp4", info, predictions, frames)

    return _cost(run, frames), own_threads


def _decoded(video: str, frames: int) -> tuple[list[Frame], SourceInfo]:
    source = build_source(video, SourceSettings(loop=True))
    info = source.open()
    try:
        return [source.read() for _ in range(frames)], info
    finally:
        source.close()


def _read(source: Source, frames: int) -> None:
    for _ in range(frames):
        source.read()


def _write(file: Path, info: SourceInfo, predictions: Sequence[Prediction], frames: int) -> int | None:
    """The threads that there were before the file was closed, and not when it was opened."""
    threads = _threads()
    (sink,) = build_sinks(SinkSettings(out=str(file)))
    sink.open(info)
    try:
        for number in range(frames):
            prediction = predictions[number % len(predictions)]
            frame = replace(prediction.frame, frame_id=number, time_ns=round(1e9 * number / info.rate_hz))
            sink.write(replace(prediction, frame=frame, published_ns=frame.captured_ns))
        return _more(threads)
    finally:
        sink.close()


def _cost(run: Callable[[], None], frames: int) -> Cost:
    """Of `run`, a frame; begins and ends when no thread is at work any more."""
    _wait_until_quiet()
    cpu_before_s, before_s = process_cpu_s(), time.monotonic()
    run()
    wall_s = time.monotonic() - before_s
    _wait_until_quiet()
    return Cost(1000 * (process_cpu_s() - cpu_before_s) / frames, 1000 * wall_s / frames)


def _wait_until_quiet() -> None:
    """A library's threads may go on for a moment after a call: wait until the process takes no time."""
    limit_s = time.monotonic() + QUIET_LIMIT_S
    while time.monotonic() < limit_s:
        before_s = process_cpu_s()
        time.sleep(QUIET_FOR_S)
        if process_cpu_s() - before_s < QUIET_CPU_S:
            return


def _threads() -> int | None:
    try:
        return len(os.listdir(THREADS))
    except OSError:
        return None


def _more(before: int | None) -> int | None:
    now = _threads()
    return None if now is None or before is None else now - before
