"""OpenVINO's Model API on the same recording and the same network, in an environment of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from bench.interpreter import run_python
from bench.scenarios.offline import WARM_UP_FRAMES
from bench.task import Task

SCRIPT: Final = Path(__file__).parents[1] / "baselines" / "model_api_run.py"
LIMIT_S: Final = 900.0
END_S: Final = 2.0  # less than a task itself has


def measure(task: Task) -> dict[str, Any]:
    """Frames a second of the library's own asynchronous pipeline, from a video to class maps.

    Options: `python` (an interpreter with openvino-model-api and onnx), `file` (of drivable-export
    --target plain), `frames`, `limit_s` (for all of it).
    """
    options = task.options
    python, frames = options["python"], options["frames"]
    words = (str(SCRIPT), options["file"], task.source, str(frames), str(min(frames, WARM_UP_FRAMES)))
    try:
        values: dict[str, Any] = json.loads(
            run_python(python, *words, limit_s=options.get("limit_s", LIMIT_S), end_s=END_S)
        )
    except (TimeoutError, ValueError) as error:
        raise ValueError(f"{python}: model_api: {error}") from error
    except OSError as error:
        raise ValueError(f"{python}: cannot be run: {error.strerror}") from error
    values["cpu_ms_per_frame"] = 1000 * values["cpu_s"] / values["frames"]
    return values
