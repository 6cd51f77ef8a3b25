"""The plain loop on the same recording and the same network, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2

from bench.baselines.plain_loop import PlainLoop
from bench.meter import Meter
from bench.scenarios.offline import FRAMES, WARM_UP_FRAMES, output_of, recording_of, throughput
from bench.task import Task

DEFAULT_THREADS = -1


def measure(task: Task) -> dict[str, Any]:
    """Frames a second of `PlainLoop`, with every default of its libraries.

    Options: `file` (of drivable-export --target plain), `to` (class_map, or overlay: the video too),
    `frames`.
    """
    frames = task.count("frames", FRAMES)
    cv2.setNumThreads(DEFAULT_THREADS)  # another's choice until now, or ours: theirs is the library's
    loop = PlainLoop(plain_file(task))
    with TemporaryDirectory() as folder:
        to, overlay = output_of(task, Path(folder))
        video = Path(recording_of(task.source, Path(folder)))
        loop.run(video, min(frames, WARM_UP_FRAMES), overlay)
        with Meter() as meter:
            played = loop.run(video, frames, overlay)
    return {"to": to, **throughput(played, meter)}


def plain_file(task: Task) -> Path:
    """The plain graph that is to be run; raises ValueError if none is named or there is none."""
    name = task.options.get("file")
    if not name:
        raise ValueError("option file is missing: a graph of `drivable-export --target plain`")
    if not Path(name).is_file():
        raise ValueError(f"{name}: no such file; make it with `drivable-export --target plain`")
    return Path(name)
