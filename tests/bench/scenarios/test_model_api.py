"""Another library in an environment of its own: how it is called, what it says, how it is fed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.baselines import model_api_run
from bench.scenarios import model_api
from bench.task import Task

MakeClip = Callable[..., Path]
MakePython = Callable[[str], Path]


@pytest.fixture
def make_python(tmp_path: Path) -> MakePython:
    """A function that writes an interpreter which runs a body of Python in place of the script."""

    def make(body: str) -> Path:
        file = tmp_path / "python"
        file.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{body}\n")
        file.chmod(0o755)
        return file

    return make


def measure(interpreter: Path, source: Path, **options: Any) -> dict[str, Any]:
    graph = interpreter.with_name("plain.onnx")
    graph.touch()
    options = {"python": str(interpreter), "file": str(graph), "frames": 20, **options}
    return model_api.measure(Task("model_api", "rt_s", source=str(source), options=options))


def test_script_is_run_by_path_with_the_graph_and_the_video(
    make_python: MakePython, make_clip: MakeClip
) -> None:
    python = make_python(
        "print('a line of the library')\n"
        "print(json.dumps({'fps': 5.0, 'frames': 20, 'versions': {}, 'cpu_s': 2.0, 'said': sys.argv[1:]}))"
    )
    clip = make_clip()

    values = measure(python, clip, frames=20)

    _, script, graph, video, frames, warm_up = values.pop("said")
    assert Path(script).name == "model_api_run.py"
    assert Path(script).is_file()
    assert (graph, video) == (str(python.with_name("plain.onnx")), str(clip))
    assert (frames, warm_up) == ("20", "20")
    assert values == {"fps": 5.0, "frames": 20, "versions": {}, "cpu_s": 2.0, "cpu_ms_per_frame": 100.0}


def test_our_packages_are_not_handed_on(
    make_python: MakePython, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    python = make_python(
        "print(json.dumps({'fps': 1.0, 'frames': 1, 'cpu_s': 1.0, 'path': os.environ.get('PYTHONPATH')}))"
    )

    assert measure(python, make_clip())["path"] is None


@pytest.mark.parametrize(
    ("body", "options", "message"),
    [
        ("sys.exit('first line\\nno module named model_api')", {}, "model_api: no module named model_api"),
        ("sys.exit(3)", {}, "model_api: ended with status 3"),
        ("pass", {}, "model_api: ended with status 0"),
        ("sys.stdin.read(); os.kill(os.getpid(), 19)", {"limit_s": 0.5}, r"did not end within 0\.5 s"),
        ("pass", {"python": "/nowhere/python"}, "/nowhere/python: cannot be run: No such file or directory"),
    ],
)
def test_what_goes_wrong_there_is_one_line(
    body: str, options: dict[str, Any], message: str, make_python: MakePython, make_clip: MakeClip
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        measure(make_python(body), make_clip(), **options)

    assert "\n" not in str(raised.value)


class Pipeline:
    """Two requests at a time; the later of them is done first."""

    def __init__(self, fails: bool = False) -> None:
        self.callback_exceptions: list[Exception] = []
        self.submitted: list[int] = []
        self.taken: list[int] = []
        self._running: list[int] = []
        self._done: set[int] = set()
        self._fails = fails

    def is_ready(self) -> bool:
        return len(self._running) < 2

    def submit_data(self, image: Any, number: int) -> None:
        assert image.shape == (48, 64, 3)
        self.submitted.append(number)
        self._running.append(number)

    def get_result(self, number: int) -> tuple[str, dict[str, Any]] | None:
        if number not in self._done:
            return None
        self._done.remove(number)
        self.taken.append(number)
        return "class map", {}

    def await_any(self) -> None:
        if self._fails:
            self.callback_exceptions.append(RuntimeError("the device is gone"))
        self._done.add(self._running.pop())

    def await_all(self) -> None:
        self._done.update(self._running)
        self._running.clear()


def test_every_frame_is_submitted_once_and_taken_in_order(make_clip: MakeClip) -> None:
    pipeline = Pipeline()

    taken = model_api_run.play(pipeline, str(make_clip(frames=4)), 11)  # rewound twice

    assert taken == 11
    assert pipeline.submitted == pipeline.taken == list(range(11))


def test_error_of_the_library_ends_the_run(make_clip: MakeClip) -> None:
    with pytest.raises(RuntimeError, match="the device is gone"):
        model_api_run.play(Pipeline(fails=True), str(make_clip()), 11)


def test_video_without_a_frame_ends_the_run(tmp_path: Path) -> None:
    video = tmp_path / "text.mp4"
    video.write_text(json.dumps("not a video"))

    with pytest.raises(SystemExit, match="OpenCV reads no frame of it"):
        model_api_run.play(Pipeline(), str(video), 1)
