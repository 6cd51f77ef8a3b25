"""The network as drivable-node loads it: the same engine, workers and threads, for every scenario."""

from __future__ import annotations

from typing import Final

from bench.engines import EngineName
from bench.task import Task
from perception.build import build_predictors
from perception.config import NodeConfig
from perception.inference.engines import Engine
from perception.inference.engines.openvino import EnginePrecision
from perception.inference.predictor import Predictor
from perception.inference.zoo import model_file

_OPENVINO_PRECISIONS: Final[dict[EngineName, EnginePrecision]] = {
    "openvino": "auto",
    "openvino-f32": "f32",
    "openvino-bf16": "bf16",
}


def node_predictors(task: Task, *, is_live: bool, threads: int = 0) -> tuple[Engine, list[Predictor]]:
    """The engine and the predictors that the node makes, the first of them warm.

    Args:
        threads: of the network in all, for a recording one a worker; 0 takes every core.

    Raises:
        FileNotFoundError, EngineError, ValueError: if there are none.
    """
    precision = _OPENVINO_PRECISIONS.get(task.engine)
    config = NodeConfig(
        model=task.model,
        engine="onnx" if precision is None else "openvino",
        engine_precision=precision or "auto",
        provider=task.provider,
        threads=threads,
    )
    return build_predictors(model_file(task.model), config, is_live)
