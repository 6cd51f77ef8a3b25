"""A package of somebody else's, installed beside the node, is used without a change here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ACME = '''
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perception.frame import Frame
from perception.inference.engines import EngineKind, OnnxEngine
from perception.sinks import SinkKind
from perception.sources import EndOfSource, Source, SourceInfo, SourceKind


@dataclass(frozen=True)
class RoadSettings:
    """Rendered noise."""

    level: int = 90
    """Grey of the road."""


class Road(Source):
    def __init__(self, frames, level):
        self.frames, self.level, self.next = frames, level, 0

    def open(self):
        return SourceInfo("acme", False, (64, 48), 10.0)

    def read(self):
        if self.next == self.frames:
            raise EndOfSource
        number, self.next = self.next, self.next + 1
        pixels = np.full((48, 64, 3), self.level, np.uint8)
        return Frame("acme", number, time.monotonic_ns(), number * 100_000_000, pixels, f"{number}")

    def close(self):
        pass


road = SourceKind(
    settings=RoadSettings,
    form="acme:FRAMES",
    claims=lambda typed: typed.text if typed.scheme == "acme" else None,
    build=lambda spec, settings, reading: Road(int(spec.partition(":")[2]), settings.level),
)


@dataclass(frozen=True)
class TensorSettings:
    name: str = "acme"


class Tensor(OnnxEngine):
    def __init__(self, file, threads, name):
        super().__init__(file, "cpu", threads)
        self.provider = name


tensor = EngineKind(
    settings=TensorSettings,
    build=lambda file, settings, threads, calls: Tensor(file, threads, settings.name),
)


@dataclass(frozen=True)
class LogSettings:
    path: str | None = None
    """File that gets a line a frame."""
    separator: str = ","


class Log:
    name, issue = "acme_log", None

    def __init__(self, settings):
        self.settings = settings

    def open(self, info, resumes=False):
        self.file = open(self.settings.path, "a" if resumes else "w")

    def write(self, output):
        values = [output.frame.frame_id, output.provider, output.frame.image_bgr.max()]
        print(*values, sep=self.settings.separator, file=self.file)

    def close(self):
        self.file.close()


log = SinkKind(settings=LogSettings, target="path", build=lambda settings, policy, info: Log(settings))
'''
POINTS = {
    "drivable.sources": {"acme_road": "acme:road"},
    "drivable.engines": {"acme_tensor": "acme:tensor"},
    "drivable.sinks": {"acme_log": "acme:log"},
}

Node = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., None]:
    """Puts a package of one module where the node finds it, as pip would."""

    def at_once(name: str, code: str, points: dict[str, dict[str, str]]) -> None:
        site = tmp_path / "site"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [
            f"[{group}]\n" + "".join(f"{it} = {at}\n" for it, at in each.items())
            for group, each in points.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))

    return at_once


@pytest.fixture
def node(tmp_path: Path) -> Node:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "perception.node", "--model", "rt_s-int8", *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def test_source_engine_and_sink_of_a_package_run_with_their_settings(
    install: Callable[..., None], node: Node, tmp_path: Path
) -> None:
    install("acme", ACME, POINTS)
    (tmp_path / "node.yaml").write_text("acme_log: {path: lines.txt}\nacme_tensor: {name: t1}\n")

    done = node(
        *("--config", "node.yaml", "--source", "acme:3", "--engine", "acme_tensor"),
        *("--acme_road.level", "120", "--acme-log.separator=;", "--summary", "s.json"),
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lines.txt").read_text().splitlines() == ["0;t1;120", "1;t1;120", "2;t1;120"]
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["settings"]["acme_road"] == {"level": 120}
    assert summary["settings"]["acme_log"] == {"separator": ";"}  # not where it writes


def test_output_of_a_package_may_not_lie_on_the_model(
    install: Callable[..., None], node: Node, tmp_path: Path
) -> None:
    install("acme", ACME, POINTS)
    model = tmp_path / "m.onnx"
    model.write_bytes(b"x")

    done = node("--source", "acme:3", "--model", "m.onnx", "--acme_log.path", str(model))

    assert done.returncode == 1
    assert f"{model} is the model; name another file with --acme_log.path" in done.stderr
    assert model.read_bytes() == b"x"


def test_broken_package_is_one_line_that_names_it(install: Callable[..., None], node: Node) -> None:
    install("ruin", "import no_such_thing\n", {group: {"ruin": "ruin:x"} for group in POINTS})

    used = node("--source", "synthetic", "--max-frames", "1", "--engine", "ruin")
    unused = node("--source", "nowhere.mp4")

    why = "does not load: ModuleNotFoundError: No module named 'no_such_thing'"
    assert used.returncode == unused.returncode == 1
    assert used.stderr.splitlines()[-1] == f"drivable-node: ruin 1.0: ruin of drivable.engines {why}"
    assert unused.stderr.splitlines()[0] == f"warning: ruin 1.0: ruin of drivable.sources {why}"
    assert "no such file or folder; a source is a video file, " in unused.stderr
