"""What each stage of the node costs when it runs alone: the work that a frame is, whatever waits for what."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.meter import metered, process_cpu_s
from bench.scenarios.node import looped, node_predictors
from bench.scenarios.offline import OUTPUTS, WARM_UP_FRAMES, file_of, open_sinks
from bench.scenarios.side_by_side import side_by_side
from bench.task import Task
from perception.frame import Frame, Prediction
from perception.inference.engines import Engine
from perception.inference.predictor import Predictor
from perception.sources.source import Source, SourceInfo

T = TypeVar("T")

TURNS_FRAMES: Final = 60
"""That go through all stages in turn."""
KEPT_FRAMES: Final = 60
"""Decoded frames that the later stages are given, over and over."""
STAGES_OF: Final = {"class_map": ("decode", "predict"), "overlay": ("decode", "predict", "overlay")}
"""What a frame goes through, by what is written."""
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
    """CPU time of decoding, of predicting, and of drawing with encoding: one after the other, nothing else.

    Each stage runs on every core at once, a process for each, since that is how it has to run where the
    machine is full: busy cores share caches, clock and often execution units, and may be of two kinds.
    What a frame costs then, over all cores, is the most that they can do: `bound_fps`. `quiet_cpu_ms` is
    the same on one core while the others idle. `turns_cpu_ms` is a frame that one thread takes through all
    stages, again on every core at once: each stage finds the caches full of the others' code and data, and
    what a pipeline needs beyond that is its own. On a GPU, `predict` is the processor's part alone.
    `own_threads` are those that decoder and encoder had beside their caller's; their time is counted. The
    meter's window holds both measurements, with loading.

    Options: `frames`, of each stage. An error names the core that failed.
    """
    cores = sorted(os.sched_getaffinity(0))
    with metered(task.provider, children=True) as readings:
        (quiet,) = on_cores(task, cores[:1], 0)
        busy = on_cores(task, cores, min(task.options["frames"], TURNS_FRAMES))
    names = ("cpu_ms", "wall_ms", "turns_cpu_ms", "steps_cpu_ms")
    return {
        **{name: _means([it[name] for it in busy]) for name in names},
        "quiet_cpu_ms": quiet["cpu_ms"],
        "own_threads": busy[0]["own_threads"],
        "cores": len(cores),
        "bound_fps": {
            to: sum(1000 / sum(it["cpu_ms"][stage] for stage in parts) for it in busy)
            for to, parts in STAGES_OF.items()
        },
        "frames": task.options["frames"],
        **readings,
    }


def on_cores(task: Task, cores: Sequence[int], turns_frames: int) -> list[dict[str, Any]]:
    """What the stages cost on each of these cores, all at the same time, one stage after the other.

    Args:
        cores: to be kept busy, a process on each.
        turns_frames: that go through all stages in turn; 0 leaves that out.

    Returns:
        Of each core `cpu_ms`, `wall_ms`, `steps_cpu_ms`, `turns_cpu_ms` and `own_threads`, by stage.
    """
    with (
        TemporaryDirectory() as folder,
        side_by_side(
            "core", costs, [(task, turns_frames, core, Path(folder)) for core in cores]
        ) as processes,
    ):
        processes.wait()
        return processes.go()


def costs(meet: Callable[[], None], task: Task, turns_frames: int, core: int, folder: Path) -> dict[str, Any]:
    """The process of one core."""
    os.sched_setaffinity(0, {core})
    folder = folder / str(os.getpid())
    folder.mkdir()
    frames, video = task.options["frames"], task.source
    engine = ClockedEngine(node_predictors(task, is_live=False, threads=1)[0])
    predict = Predictor(engine)
    source = looped(video, min(frames, KEPT_FRAMES))
    info = source.open()
    kept = [source.read() for _ in range(min(frames, KEPT_FRAMES))]
    source.close()
    predictions = [predict(frame) for frame in kept]
    meet()
    decoding, decoder_threads = decode_cost(looped(video), frames)
    meet()
    predicting, steps_cpu_ms = predict_cost(predict, engine, kept, frames)
    meet()
    drawing, encoder_threads = overlay_cost(folder, info, predictions, frames)
    turns_cpu_ms: dict[str, float] = {}
    for to in OUTPUTS if turns_frames else ():
        meet()
        turns_cpu_ms[to] = turns_cost(looped(video), predict, file_of(to, folder), turns_frames).cpu_ms
    costs = {"decode": decoding, "predict": predicting, "overlay": drawing}
    return {
        "cpu_ms": {name: cost.cpu_ms for name, cost in costs.items()},
        "wall_ms": {name: cost.wall_ms for name, cost in costs.items()},
        "steps_cpu_ms": steps_cpu_ms,
        "turns_cpu_ms": turns_cpu_ms,
        "own_threads": {"decode": decoder_threads, "overlay": encoder_threads},
    }


def _means(of_cores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(it[name] for it in of_cores) for name in of_cores[0]}


def decode_cost(source: Source, frames: int) -> tuple[Cost, int]:
    """Of `source.read` alone, in the middle of a recording; and the decoder's own threads.

    A decoder with threads of its own is always the same number of frames ahead, so what it had decoded
    before the first of these frames is what it has decoded beyond the last.

    Args:
        source: not yet open; without an end.
    """
    threads = psutil.Process().num_threads()
    source.open()
    try:
        _read(source, min(frames, WARM_UP_FRAMES))
        cost = _cost(lambda: _read(source, frames), frames)
        return cost, psutil.Process().num_threads() - threads
    finally:
        source.close()


class ClockedEngine:
    """An engine, and when it was at work: in CPU seconds of the process, as `process_cpu_s` counts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.contract, self.provider = engine.contract, engine.provider
        self.model_sha256 = engine.model_sha256
        self.nodes, self.notes, self.is_proven = engine.nodes, engine.notes, engine.is_proven
        self.state, self.runs_one_at_a_time = engine.state, engine.runs_one_at_a_time
        self.started_cpu_s = self.ended_cpu_s = 0.0

    def infer(self, input_bgr: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Engine`."""
        return self._clocked(self._engine.infer, input_bgr)

    def segment(self, frame_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """See `Engine`."""
        return self._clocked(self._engine.segment, frame_bgr)

    def _clocked(self, run: Callable[[NDArray[np.uint8]], T], image_bgr: NDArray[np.uint8]) -> T:
        self.started_cpu_s = process_cpu_s()
        output = run(image_bgr)
        self.ended_cpu_s = process_cpu_s()
        return output


def predict_cost(
    predict: Predictor, engine: ClockedEngine, kept: Sequence[Frame], frames: int
) -> tuple[Cost, dict[str, float]]:
    """Of predicting, and the CPU milliseconds a frame of its steps.

    Args:
        predict: one that has run before.
        engine: its engine.
        kept: decoded frames, taken in turns.
    """
    steps_cpu_s = {"preprocess": 0.0, "infer": 0.0, "postprocess": 0.0}

    def run() -> None:
        for kept_frame in islice(cycle(kept), frames):
            frame = replace(kept_frame)  # a new one: a frame keeps its picture in BGR once it was asked for
            before_s = process_cpu_s()
            predict(frame)
            after_s = process_cpu_s()
            steps_cpu_s["preprocess"] += engine.started_cpu_s - before_s
            steps_cpu_s["infer"] += engine.ended_cpu_s - engine.started_cpu_s
            steps_cpu_s["postprocess"] += after_s - engine.ended_cpu_s

    cost = _cost(run, frames)
    return cost, {step: 1000 * cpu_s / frames for step, cpu_s in steps_cpu_s.items()}


def overlay_cost(
    folder: Path, info: SourceInfo, predictions: Sequence[Prediction], frames: int
) -> tuple[Cost, int]:
    """Of drawing and encoding the overlay video up to the closed file; and the encoder's own threads.

    Args:
        predictions: taken in turns, as if of one recording.
    """

    def write(name: str, frames: int) -> int:
        threads = psutil.Process().num_threads()
        (sink,) = open_sinks(folder / name, info)
        try:
            for number, prediction in enumerate(islice(cycle(predictions), frames)):
                time_ns = round(1e9 * number / info.rate_hz)
                frame = replace(prediction.frame, frame_id=number, time_ns=time_ns)
                sink.write(replace(prediction, frame=frame, published_ns=frame.captured_ns))
            return psutil.Process().num_threads() - threads
        finally:
            sink.close()

    own_threads = write("warm-up.mp4", len(predictions))
    return _cost(lambda: write("overlay.mp4", frames), frames), own_threads


def turns_cost(source: Source, predict: Callable[[Frame], Prediction], out: Path | None, frames: int) -> Cost:
    """Of a frame that one thread takes through decoding, predicting and, if a file is named, the overlay.

    Args:
        source: not yet open; without an end.
        predict: one that has run before.
        out: the overlay video, from its opening to the closed file.
    """
    info = source.open()

    def run() -> None:
        sinks = open_sinks(out, info)
        try:
            for _ in range(frames):
                prediction = predict(source.read())
                for sink in sinks:
                    sink.write(replace(prediction, published_ns=prediction.captured_ns))
        finally:
            for sink in sinks:
                sink.close()

    try:
        _read(source, min(frames, WARM_UP_FRAMES))
        return _cost(run, frames)
    finally:
        source.close()


def _read(source: Source, frames: int) -> None:
    for _ in range(frames):
        source.read()


def _cost(run: Callable[[], object], frames: int) -> Cost:
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
