"""The network alone: time from its input to its output, files and engines side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np

from bench.config import InferConfig
from bench.engines import open_engine
from bench.meter import busy_verdict, metered, times_ms
from bench.report.format import aligned, counted
from bench.scenarios.engine_only import PICTURES, Image, Infer, infer_of, pictures_for
from perception.inference.engines import Engine
from perception.inference.zoo import model_file
from perception.synthetic import DriveRenderer
from perception.system.process import tune_process

ROUND_FRAMES: Final = 10
WARM_UP_FRAMES: Final = 5


@dataclass(frozen=True)
class _Contender:
    """One network on one engine."""

    name: str
    engine: Engine
    infer: Infer
    pictures: Iterator[Image]
    times_ms: list[float] = field(default_factory=list)


def run(config: InferConfig) -> tuple[list[str], int]:
    """Rows of a table: median and 90th percentile, and how many times as fast as the first row.

    All take turns, a few frames each, so that they share what else the machine does.
    """
    tune_process()
    contenders = list(_contenders(config))
    for contender in contenders:
        times_ms(contender.infer, islice(contender.pictures, WARM_UP_FRAMES))
    with metered() as readings:
        for start in range(0, config.frames, ROUND_FRAMES):
            for contender in contenders:
                pictures = islice(contender.pictures, min(ROUND_FRAMES, config.frames - start))
                contender.times_ms.extend(times_ms(contender.infer, pictures))
    threads = counted(config.threads, "thread") if config.threads else "all cores"
    rows = [["", "runs on", "input", "p50, ms", "p90, ms", "times the first"]]
    first_ms = float(np.median(contenders[0].times_ms))
    for it in contenders:
        p50_ms, p90_ms = np.quantile(it.times_ms, [0.5, 0.9])
        width, height = it.engine.contract.takes_wh
        times = [f"{p50_ms:.2f}", f"{p90_ms:.2f}", f"{first_ms / p50_ms:.2f}x"]
        rows.append([it.name, it.engine.provider, f"{width}x{height}", *times])
    head = f"network alone, {threads}, {config.frames} frames each, in turns"
    busy = busy_verdict([readings])
    return [head, *aligned(rows), *([busy] if busy else [])], 0


def _contenders(config: InferConfig) -> Iterator[_Contender]:
    """Each sees frames of the built-in road, as its graph takes them."""
    drive = DriveRenderer("mixed")
    frames_bgr = [drive.render(60 * index)[0] for index in range(PICTURES)]
    for model in config.models:
        for name in config.engines:
            engine = open_engine(name, model_file(model), config.provider, config.threads)
            pictures = cycle(pictures_for(engine.contract, frames_bgr))
            yield _Contender(Path(model).stem, engine, infer_of(engine), pictures)
