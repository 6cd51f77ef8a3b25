"""The plain loop on the same recording and the same network, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2

from bench.baselines.plain_loop import PlainLoop
from bench.meter import metered
from bench.scenarios.offline import WARM_UP_FRAMES, file_of, throughput
from bench.task import Task

DEFAULT_THREADS: Final = -1


def measure(task: Task) -> dict[str, Any]:
    """Frames a second of `PlainLoop`, with every default of its libraries.

    Options: `file` (of drivable-export --target plain), `to` (class_map, or overlay: the video too),
    `frames`.
    """
    to, frames, video = task.options["to"], task.options["frames"], Path(task.source)
    cv2.setNumThreads(DEFAULT_THREADS)  # another's choice until now, or ours: theirs is the library's
    loop = PlainLoop(Path(task.options["file"]))
    with TemporaryDirectory() as folder:
        overlay = file_of(to, Path(folder))
        loop.run(video, min(frames, WARM_UP_FRAMES), overlay)
        with metered() as readings:
            played = loop.run(video, frames, overlay)
    return {"to": to, **throughput(played, readings)}
