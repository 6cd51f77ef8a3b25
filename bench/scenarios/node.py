"""What scenarios have in common: the frames, and the network and the pipeline as drivable-node has them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar, Final

from bench.engines import OPENVINO
from bench.task import Task
from perception.build import build_predictors
from perception.config import NodeConfig
from perception.frame import Frame, OutputItem, Prediction
from perception.inference.engines import Engine
from perception.inference.predictor import Predictor
from perception.inference.zoo import model_file
from perception.pipeline import Runner
from perception.sinks.sink import Sink
from perception.sources import SourceSettings, build_source
from perception.sources.source import EndOfSource, Source, SourceInfo

KEPT_FRAMES: Final = 32
"""44 MB at 1280x720: more than the caches of a core hold, little beside the network."""


def node_predictors(task: Task, *, is_live: bool, threads: int = 0) -> tuple[Engine, list[Predictor]]:
    """The engine and the predictors that the node makes, the first of them warm.

    Args:
        threads: of the network in all, for a recording one a worker; 0 takes every core.
    """
    config = NodeConfig(
        model=task.model,
        engine="onnx" if task.engine == "onnx" else "openvino",
        engine_precision=OPENVINO.get(task.engine, "auto"),
        provider=task.provider,
        threads=threads,
    )
    return build_predictors(model_file(task.model), config, is_live)


def run_pipeline(
    source: Source,
    info: SourceInfo,
    predictors: Sequence[Callable[[Frame], Prediction]],
    sinks: Sequence[Sink],
) -> Runner:
    """The node's pipeline, run from a source to sinks that are open to its end.

    Raises:
        RunError: if a stage failed or hangs.
    """
    runner = Runner(source, info, predictors, sinks)
    runner.start()
    try:
        runner.wait_watching()
    except KeyboardInterrupt:
        runner.stop()
        runner.wait_watching()  # or its threads would go on, and write where there is no folder any more
        raise
    runner.raise_first_error()
    return runner


@dataclass
class FunctionSink:
    """A sink that gives every prediction to a function."""

    name: str
    take: Callable[[Prediction], object]
    issue: ClassVar[str | None] = None

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Nothing to make ready."""

    def write(self, output: OutputItem) -> None:
        """Call it."""
        if isinstance(output, Prediction):
            self.take(output)

    def close(self) -> None:
        """Nothing is held."""


def looped(video: str, frames: int | None = None) -> Source:
    """A recording, not yet open, that is played again and again, until so many frames have passed."""
    return build_source(video, SourceSettings(loop=True, max_frames=frames))


def decoded_frames(video: str, frames: int = KEPT_FRAMES) -> list[Frame]:
    """The first frames of a recording, as the node's source gives them; fewer where there are no more."""
    source = build_source(video, SourceSettings(max_frames=frames))
    kept = []
    try:
        source.open()
        while True:
            kept.append(source.read())
    except EndOfSource:
        return kept
    finally:
        source.close()


def again_and_again(frames: Sequence[Frame]) -> Iterator[Frame]:
    """The frames in a circle, as new ones: ids go on, and nothing that was computed of one is still there."""
    start_ns = time.monotonic_ns()
    for frame_id in count():
        now_ns = time.monotonic_ns()
        yield as_new(frames[frame_id % len(frames)], frame_id, now_ns, now_ns - start_ns)


def as_new(frame: Frame, frame_id: int, captured_ns: int, time_ns: int) -> Frame:
    """The same picture as a frame of its own."""
    name = f"{frame_id:06d}"
    return replace(frame, frame_id=frame_id, captured_ns=captured_ns, time_ns=time_ns, name=name)
