"""The network and the pipeline as drivable-node has them, for every scenario."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

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
from perception.sources.source import Source, SourceInfo


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
        RunnerError: if a stage failed.
    """
    runner = Runner(source, info, predictors, sinks)
    runner.start()
    runner.wait()
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
