"""Offline speed of the node's own path beside the plain loop, interleaved, on the same clip and network."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from bench import plain
from perception.engines import OnnxEngine
from perception.models import model_file
from perception.perceive import Perceiver
from perception.pipeline import Pipeline
from perception.process import tune_process
from perception.sinks.registry import SinkSettings, build_sinks
from perception.sources.registry import SourceSettings, build_source

Loop = Callable[[Path | None], int]
"""Plays the clip, with an overlay video if one is named; gives the count of frames."""


@dataclass(frozen=True)
class ThroughputConfig:
    """One comparison."""

    model: str
    """Name of a shipped model, or an ONNX file of drivable-export."""
    plain: str
    """The same checkpoint exported with --target plain, for the plain loop."""
    source: str
    """Video file."""
    frames: int = 600
    """The file is played again and again until so many frames have passed."""
    rounds: int = 5


def run(config: ThroughputConfig) -> list[str]:
    """Rows of a table: what, frames per second of both, and the median of their ratios."""
    rows = [
        f"{config.source}, {config.model} and {config.plain}, {config.frames} frames, "
        f"medians of {config.rounds} interleaved rounds",
        f"{'file to':16}{'node fps':>10}{'plain fps':>11}{'ratio':>8}",
    ]
    node = _node(config)
    # A process of its own, so that it runs with every default and ours cannot help or hurt it.
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, get_context("spawn"), plain.load, (config.plain,)) as rival,
    ):

        def plain_fps(overlay: Path | None) -> float:
            return rival.submit(plain.measure_fps, config.source, config.frames, overlay).result()

        for name, suffix in (("class map", ""), ("overlay video", ".mp4")):
            overlays = [Path(folder) / f"{who}{suffix}" if suffix else None for who in ("node", "plain")]
            pairs = [(_fps(node, overlays[0]), plain_fps(overlays[1])) for _ in range(config.rounds + 1)][
                1:
            ]  # the first round warms up
            ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(our / their for our, their in pairs)
            rows.append(f"{name:16}{ours:10.1f}{theirs:11.1f}{ratio:7.2f}x")
    return rows


def _node(config: ThroughputConfig) -> Loop:
    """The node's own path, as `drivable-node` builds it for a recording."""
    tune_process()
    cores = len(os.sched_getaffinity(0))
    engine = OnnxEngine(model_file(config.model), "cpu", threads=1)
    perceivers = [Perceiver(engine) for _ in range(cores)]

    def run(overlay: Path | None) -> int:
        source = build_source(config.source, SourceSettings(loop=True, max_frames=config.frames))
        info = source.open()
        sinks = build_sinks(SinkSettings(out=str(overlay) if overlay else None))
        for sink in sinks:
            sink.open(info)
        pipeline = Pipeline(source, info, perceivers, sinks)
        pipeline.start()
        pipeline.wait()
        pipeline.raise_first_error()
        return pipeline.ledger.published

    return run


def _fps(loop: Loop, overlay: Path | None) -> float:
    started_s = time.monotonic()
    frames = loop(overlay)
    return frames / (time.monotonic() - started_s)
