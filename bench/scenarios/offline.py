"""A recording as fast as it goes: what drivable-node does with a file, from first read to last write."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import av

from bench.interpreter import run_python
from bench.meter import Meter
from bench.scenarios.node import node_predictors, run_pipeline
from bench.task import Task
from perception.inference.predictor import Predictor
from perception.sinks.overlay_sink import OverlaySettings
from perception.sinks.registry import Sinks
from perception.sinks.sink import Sink
from perception.sources import SourceSettings, build_source
from perception.sources.registry import kind_of
from perception.sources.source import SourceError, SourceInfo

FRAMES: Final = 600
WARM_UP_FRAMES: Final = 48
RECORDED_FRAMES: Final = 60
"""Of the built-in road: two seconds, played again and again."""
OUTPUTS: Final = {"class_map": None, "overlay": "overlay.mp4"}
"""What may be written, and the name of its file."""


def measure(task: Task) -> dict[str, Any]:
    """Frames a second of a whole run, every stage at work.

    Options: `to` (class_map, or overlay: the video too), `frames`.
    """
    frames = task.count("frames", FRAMES)
    with TemporaryDirectory() as folder:
        to, out = output_of(task, Path(folder))
        video = recording_of(task.source, Path(folder))
        engine, predictors = node_predictors(task, is_live=False)
        play(video, min(frames, WARM_UP_FRAMES), predictors, out)
        with Meter(engine.provider) as meter:
            played = play(video, frames, predictors, out)
    return {"to": to, **throughput(played, meter)}


def throughput(frames: int, meter: Meter) -> dict[str, Any]:
    """Of so many frames in the meter's window; and what it read."""
    values = meter.values()
    return {
        "fps": frames / values["wall_s"],
        "frames": frames,
        "cpu_ms_per_frame": 1000 * values["cpu_s"] / frames,
        **values,
    }


def output_of(task: Task, folder: Path) -> tuple[str, Path | None]:
    """The option `to`, and the file it asks for; raises ValueError if there is no such output."""
    to = task.options.get("to", "class_map")
    if to not in OUTPUTS:
        raise ValueError(f"to is {to!r}; known are {', '.join(OUTPUTS)}")
    return to, file_of(to, folder)


def file_of(to: str, folder: Path) -> Path | None:
    """What is written there for this one of `OUTPUTS`; None for a class map, which no sink takes."""
    name = OUTPUTS[to]
    return None if name is None else folder / name


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
    source = build_source(video, SourceSettings(loop=True, max_frames=frames))
    info = source.open()
    return run_pipeline(source, info, predictors, open_sinks(out, info)).counters().published


def recording_of(spec: str, folder: Path, frames: int = RECORDED_FRAMES) -> str:
    """`spec` itself, but of the built-in road a recording: to render a frame takes longer than all the rest.

    Made in a process of its own, whose memory is not measured. It is no pool: one that is interrupted
    while it starts waits for ever.

    Raises:
        SourceError: if `spec` is no source, or no recording was made of it.
    """
    if kind_of(spec) != "synthetic":
        return spec
    file = folder / "road.mp4"
    build_source(spec)
    try:
        return run_python(sys.executable, "-m", __name__, spec, str(file), str(frames))
    except ValueError as error:
        raise SourceError(f"{spec}: no recording could be made of it: {error}") from error


def _record(spec: str, file: Path, frames: int) -> None:
    source = build_source(spec)
    info = source.open()
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=round(info.rate_hz))
        assert info.frame_wh is not None  # a recording's
        stream.width, stream.height = info.frame_wh
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(source.read().image_bgr, format="bgr24")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    source.close()


if __name__ == "__main__":
    _record(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    print(sys.argv[2])
