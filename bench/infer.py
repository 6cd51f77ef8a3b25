"""The network alone: time from its input to its output, files and engines side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.busy import verdict
from bench.config import InferConfig
from bench.engines import EngineName, open_engine
from bench.meter import Meter
from bench.scenarios.engine_only import PICTURES, pictures_for
from perception.inference.contract import ModelContract
from perception.inference.engines import Engine
from perception.inference.zoo import model_file
from perception.synthetic import DriveRenderer
from perception.system.process import tune_process

ROUND_FRAMES = 10
WARM_UP_FRAMES = 5


@dataclass(frozen=True)
class _Contender:
    """One network on one engine."""

    name: str
    engine: Engine
    run: Callable[[], object]
    times_ms: list[float] = field(default_factory=list)


def run(config: InferConfig) -> tuple[list[str], int]:
    """Rows of a table: median and 90th percentile, and how many times as fast as the first row.

    All take turns, a few frames each: what else the machine does meets them alike.
    """
    tune_process()
    contenders = [_contender(model, engine, config) for model in config.models for engine in config.engines]
    for contender in contenders:
        for _ in range(WARM_UP_FRAMES):
            contender.run()
    with Meter() as meter:
        for start in range(0, config.frames, ROUND_FRAMES):
            for contender in contenders:
                for _ in range(min(ROUND_FRAMES, config.frames - start)):
                    started_ns = time.perf_counter_ns()
                    contender.run()
                    contender.times_ms.append((time.perf_counter_ns() - started_ns) / 1e6)
    threads = f"{config.threads} thread{'s' * (config.threads != 1)}" if config.threads else "all cores"
    head = f"network alone, {threads}, {config.frames} frames each, in turns"
    busy = verdict([meter.values()])
    return [head, *_table(contenders), *([busy] if busy else [])], 0


def _contender(model: str, engine_name: EngineName, config: InferConfig) -> _Contender:
    engine = open_engine(engine_name, model_file(model), config.provider, config.threads)
    pictures = cycle(_pictures(engine.contract))
    infer = engine.infer if engine.contract.output == "logits" else engine.segment
    return _Contender(Path(model).stem, engine, lambda: infer(next(pictures)))


def _pictures(contract: ModelContract) -> list[NDArray[np.uint8]]:
    """Frames of the built-in road, as the graph takes them."""
    drive = DriveRenderer("mixed")
    return pictures_for(contract, [drive.render(60 * index)[0] for index in range(PICTURES)])


def _table(contenders: Sequence[_Contender]) -> list[str]:
    width = max(len(contender.name) for contender in contenders) + 2
    rows = [f"{'':{width}}{'runs on':16}{'input':>10}{'p50':>10}{'p90':>10}   times the first"]
    first_ms = float(np.median(contenders[0].times_ms))
    for contender in contenders:
        p50_ms, p90_ms = np.quantile(contender.times_ms, [0.5, 0.9])
        sides = contender.engine.contract.takes_wh
        rows.append(
            f"{contender.name:{width}}{contender.engine.provider:16}{f'{sides[0]}x{sides[1]}':>10}"
            f"{p50_ms:7.2f} ms{p90_ms:7.2f} ms   {first_ms / p50_ms:.2f}x"
        )
    return rows
