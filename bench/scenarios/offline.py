"""A recording as fast as it goes: what drivable-node does with a file, from first read to last write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.meter import metered
from bench.scenarios.node import looped, node_predictors, run_pipeline
from bench.task import Task
from perception.inference.predictor import Predictor
from perception.sinks.overlay_sink import OverlaySettings
from perception.sinks.registry import Sinks
from perception.sinks.sink import Sink
from perception.sources.source import SourceInfo

WARM_UP_FRAMES: Final = 48
OUTPUTS: Final = ("class_map", "overlay")


def measure(task: Task) -> dict[str, Any]:
    """Frames a second of a whole run, every stage at work.

    Options: `to` (class_map, or overlay: the video too), `frames`.
    """
    to, frames = task.options["to"], task.options["frames"]
    with TemporaryDirectory() as folder:
        out = file_of(to, Path(folder))
        engine, predictors = node_predictors(task, is_live=False)
        play(task.source, min(frames, WARM_UP_FRAMES), predictors, out)
        with metered(engine.provider) as readings:
            played = play(task.source, frames, predictors, out)
    return {"to": to, **throughput(played, readings)}


def throughput(frames: int, readings: Mapping[str, Any]) -> dict[str, Any]:
    """Of so many frames in a metered block; and the readings of it."""
    return {
        "fps": frames / readings["wall_s"],
        "frames": frames,
        "cpu_ms_per_frame": 1000 * readings["cpu_s"] / frames,
        **readings,
    }


def file_of(to: str, folder: Path) -> Path | None:
    """What is written for this one of `OUTPUTS`; None for a class map, which no sink takes."""
    return folder / "overlay.mp4" if to == "overlay" else None


def open_sinks(out: Path | None, info: SourceInfo) -> list[Sink]:
    """The overlay video's sink, open, or none where no file is named; raises SinkError."""
    return Sinks(OverlaySettings(out=None if out is None else str(out)), info).open_all()


def play(video: str, frames: int, predictors: list[Predictor], out: Path | None) -> int:
    """Put so many frames through the node's pipeline, into an overlay video if one is named.

    Args:
        video: played again and again until so many frames have passed.

    Returns:
        The count of frames that were published.
    """
    source = looped(video, frames)
    info = source.open()
    return run_pipeline(source, info, predictors, open_sinks(out, info)).counters().published
