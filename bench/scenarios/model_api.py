"""OpenVINO's Model API on the same recording and the same network, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.scenarios.offline import FRAMES, WARM_UP_FRAMES, recording_of
from bench.scenarios.plain import plain_file
from bench.task import Task

SCRIPT: Final = Path(__file__).parents[1] / "baselines" / "model_api_run.py"
LIMIT_S: Final = 900.0
OURS: Final = ("PYTHONPATH", "PYTHONHOME")
"""Of the environment: what would bring our packages into theirs."""


def measure(task: Task) -> dict[str, Any]:
    """Frames a second of the library's own asynchronous pipeline, from a video to class maps.

    Options: `python` (an interpreter with openvino-model-api and onnx), `file` (of drivable-export
    --target plain), `frames`, `limit_s` (for all of it).

    Raises:
        ValueError, SourceError: in one line.
    """
    frames = task.count("frames", FRAMES)
    limit_s = float(task.options.get("limit_s", LIMIT_S))
    python = task.options.get("python")
    if not python:
        raise ValueError(
            "option python is missing: an interpreter with openvino-model-api and onnx, in an environment "
            "of its own"
        )
    file = plain_file(task)
    with TemporaryDirectory() as folder:
        video = recording_of(task.source, Path(folder))
        words = [python, str(SCRIPT), str(file), video, str(frames), str(min(frames, WARM_UP_FRAMES))]
        values: dict[str, Any] = json.loads(_said(words, limit_s))
    values["cpu_ms_per_frame"] = 1000 * values["cpu_s"] / values["frames"]
    return values


def _said(words: list[str], limit_s: float) -> str:
    """The last line of a command's output; raises ValueError with the last one of its errors."""
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=limit_s,
        )
    except OSError as error:
        raise ValueError(f"{words[0]}: cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{words[0]}: model_api did not end within {limit_s:g} s") from error
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode or not lines:
        why = lines[-1] if lines else f"ended with status {done.returncode}"
        raise ValueError(f"{words[0]}: model_api: {why}")
    return lines[-1]
