"""A package of somebody else's, installed beside the node, is used without a change here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.sources import SOURCES, SourceKind, TypedSource
from perception.system.plugins import PluginError, Registry

ROOT = Path(__file__).parents[2]
ACME = '''
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perception.frame import Frame
from perception.inference.engines import EngineKind, OnnxEngine
from perception.refine import RefineKind
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
    claims=lambda typed: typed.text.partition(":")[2] if typed.scheme == "acme" else None,
    build=lambda spec, settings, reading: Road(int(spec), settings.level),
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
        values = [output.frame.frame_id, output.provider, output.frame.image_bgr.max(), output.camera_reason]
        print(*values, sep=self.settings.separator, file=self.file)

    def close(self):
        self.file.close()


log = SinkKind(settings=LogSettings, target="path", build=lambda settings, policy, info: Log(settings))


@dataclass(frozen=True)
class NotesSettings:
    text: str | None = None
    """Reason that every frame gets, with its number among all."""


class Notes:
    def __init__(self, settings):
        self.text, self.seen = settings.text, 0

    def __call__(self, prediction):
        self.seen += 1
        state = f"{prediction.camera_state} {prediction.camera_reason}"
        return replace(prediction, camera_reason=f"{self.text} {self.seen} after {state}")


notes = RefineKind(
    settings=NotesSettings,
    build=lambda settings, info: Notes(settings),
    is_on=lambda settings: settings.text is not None,
)
'''
POINTS = {
    "drivable.sources": {"acme_road": "acme:road"},
    "drivable.engines": {"acme_tensor": "acme:tensor"},
    "drivable.refine": {"acme_notes": "acme:notes"},
    "drivable.sinks": {"acme_log": "acme:log"},
}

Run = Callable[..., subprocess.CompletedProcess[str]]


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
def python(tmp_path: Path) -> Run:
    """Runs Python in an environment with what `install` put there."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture
def node(python: Run) -> Run:
    return partial(python, "-m", "perception.node", "--model", "rt_s-int8")


def test_all_four_kinds_of_a_package_run_with_their_settings(
    install: Callable[..., None], node: Run, tmp_path: Path
) -> None:
    install("acme", ACME, POINTS)
    (tmp_path / "node.yaml").write_text(
        "acme_log: {path: lines.txt}\nacme_tensor: {name: t1}\nacme_notes: {text: seen}\n"
    )

    done = node(
        *("--config", "node.yaml", "--source", "acme:3", "--engine", "acme_tensor"),
        *("--acme_road.level", "120", "--acme-log.separator=;", "--summary", "s.json"),
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lines.txt").read_text().splitlines() == [
        "0;t1;120;seen 1 after ok None",
        "1;t1;120;seen 2 after ok None",
        "2;t1;120;seen 3 after ok None",
    ]
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["settings"]["acme_road"] == {"level": 120}
    assert summary["settings"]["acme_notes"] == {"text": "seen"}
    assert summary["settings"]["acme_log"] == {"separator": ";"}  # not where it writes


def test_refine_step_of_a_package_sees_what_the_camera_health_says(
    install: Callable[..., None], node: Run, tmp_path: Path
) -> None:
    install("acme", ACME, POINTS)

    done = node("--source", "acme:6", "--acme_notes.text", "seen", "--jsonl", "r.jsonl")

    assert done.returncode == 0, done.stderr
    reasons = [
        json.loads(line)["camera"]["reason"] for line in (tmp_path / "r.jsonl").read_text().splitlines()
    ]
    assert reasons[0] == "seen 1 after ok None"
    assert reasons[-1] == "seen 6 after frozen same picture again"  # every frame has the same grey


LIBRARY = """
import perception

model = perception.Model("rt_s-int8", engine="acme_tensor", acme_tensor={"name": "t2"})
with perception.open("acme:3", model, acme_notes={"text": "seen"}, acme_log={"path": "lines.txt"}) as run:
    print([(result.frame_id, result.output.provider, result.camera_reason) for result in run])
try:
    perception.open("acme:3", model, acme_notes={"txt": "seen"})
except perception.SettingsError as error:
    print(error)
try:
    perception.Model("rt_s-int8", engine="acme_tensor", acme_log={"path": "lines.txt"})
except perception.SettingsError as error:
    print(error)
"""


def test_plugins_are_used_through_the_library(
    install: Callable[..., None], python: Run, tmp_path: Path
) -> None:
    install("acme", ACME, POINTS)

    done = python("-c", LIBRARY)

    assert done.returncode == 0, done.stderr
    results, unknown, of_run = done.stdout.splitlines()
    assert results == str([(number, "t2", f"seen {number + 1} after ok None") for number in range(3)])
    assert len((tmp_path / "lines.txt").read_text().splitlines()) == 3
    assert unknown.endswith("the nearest known one is acme_notes.text")
    assert of_run == "acme_log is a setting of a run: perception.open(source, model, acme_log=…)"


def test_single_pictures_go_through_the_refine_steps_that_the_model_is_given(
    install: Callable[..., None], python: Run
) -> None:
    install("acme", ACME, POINTS)
    code = """
import numpy, perception
model = perception.Model("rt_s-int8", acme_notes={"text": "seen"})
print([model(numpy.full((48, 64, 3), 90, numpy.uint8)).camera_reason for _ in range(2)])
with perception.open("acme:1", model) as run:
    print([result.camera_reason for result in run])
"""

    done = python("-c", code)

    assert done.returncode == 0, done.stderr
    alone = "seen 1 after ok None"  # no picture is judged by another
    assert done.stdout.splitlines() == [str([alone, alone]), str([alone])]


def of_readme(language: str) -> list[str]:
    """The blocks of one language in README's chapter about packages."""
    chapter = (ROOT / "perception/README.md").read_text().partition("\n## Your own source")[2]
    return re.findall(rf"```{language}\n(.*?)```", chapter.partition("\n## ")[0], re.DOTALL)


def test_package_of_the_readme_runs_by_its_command(
    install: Callable[..., None], python: Run, tmp_path: Path
) -> None:
    (project,), (commands,) = map(of_readme, ("toml", "sh"))
    package = tomllib.loads(project)["project"]
    install(package["name"], "\n".join(of_readme("python")), package["entry-points"])
    frames = np.full((3, 48, 64, 3), 90, np.uint8)
    np.save(tmp_path / "drive.npy", frames)
    (command,) = re.findall("^drivable-node (.*)$", commands, re.MULTILINE)

    done = python("-m", "perception.node", *command.split(), "--summary", "s.json", "--model", "rt_s-int8")

    assert done.returncode == 0, done.stderr
    shares = [line.split(",") for line in (tmp_path / "shares.csv").read_text().splitlines()]
    assert [number for number, _ in shares] == ["0", "1", "2"]
    assert all(0 <= float(share) <= 1 for _, share in shares)
    settings = json.loads((tmp_path / "s.json").read_text())["settings"]
    assert (settings["npy"], settings["jumps"]) == ({"rate_hz": 10}, {"largest": 0.2})


@pytest.mark.slow
def test_package_of_the_readme_is_well_typed(tmp_path: Path) -> None:
    (tmp_path / "roadkit.py").write_text("\n".join(of_readme("python")))

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", str(tmp_path / "roadkit.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert checked.stdout.startswith("Success"), checked.stdout


def test_output_of_a_package_may_not_lie_on_the_model(
    install: Callable[..., None], node: Run, tmp_path: Path
) -> None:
    install("acme", ACME, POINTS)
    model = tmp_path / "m.onnx"
    model.write_bytes(b"x")

    done = node("--source", "acme:3", "--model", "m.onnx", "--acme_log.path", str(model))

    assert done.returncode == 2
    assert f"{model} is the model; name another file with --acme_log.path" in done.stderr
    assert model.read_bytes() == b"x"


def test_broken_package_is_one_line_that_names_it(
    install: Callable[..., None], node: Run, make_clip: Callable[..., Path]
) -> None:
    install("ruin", "import no_such_thing\n", {group: {"ruin": "ruin:x"} for group in POINTS})

    used = node("--source", "synthetic", "--max-frames", "1", "--engine", "ruin")
    unused = node("--source", str(make_clip(frames=2)))

    why = "does not load: ModuleNotFoundError: No module named 'no_such_thing'"
    assert (used.returncode, unused.returncode) == (1, 0)
    assert used.stderr.splitlines()[-1] == f"drivable-node: ruin 1.0: ruin of drivable.engines {why}"
    warnings = [line for line in unused.stderr.splitlines() if "ruin" in line]
    assert warnings == [f"warning: ruin 1.0: ruin of drivable.sources {why}"]


FAULTY = """
from dataclasses import dataclass

from perception.inference.engines import EngineKind
from perception.refine import RefineKind
from perception.sinks import SinkKind
from perception.sources import Source, SourceKind


@dataclass(frozen=True)
class Settings:
    path: str | None = None


class Nothing:
    name = "mine"


def fail(*arguments):
    raise KeyError("what it needs")


class Unopened(Source):
    def open(self):
        fail()


BUILD = lambda *arguments: Nothing()
CLAIMS = lambda typed: typed.text if typed.scheme == "mine" else None
SETTINGS = Settings
"""
ENTRIES = """
source = SourceKind(settings=SETTINGS, form="mine:", claims=CLAIMS, build=BUILD)
engine = EngineKind(settings=SETTINGS, build=BUILD)
refine = RefineKind(settings=SETTINGS, build=BUILD)
sink = SinkKind(settings=SETTINGS, target="path", build=BUILD)
"""
GROUPS = {"source": "sources", "engine": "engines", "refine": "refine", "sink": "sinks"}
ONE_FRAME = ("--source", "synthetic", "--max-frames", "1")
USES = {
    "source": ("--source", "mine:"),
    "engine": (*ONE_FRAME, "--engine", "mine"),
    "refine": (*ONE_FRAME, "--mine.path", "x"),
    "sink": (*ONE_FRAME, "--mine.path", "x"),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("source", "", "Nothing is no Source: it has no close, counts, open, pace, read, rewind, stop"),
        ("source", "BUILD = lambda *arguments: Unopened()", "KeyError: 'what it needs'"),
        (
            "engine",
            "",
            "Nothing is no Engine: it has no contract, infer, is_proven, model_sha256, nodes, notes",
        ),
        ("engine", "BUILD = fail", "KeyError: 'what it needs'"),
        ("refine", "BUILD = lambda *arguments: fail", "KeyError: 'what it needs'"),
        ("refine", "BUILD = lambda *arguments: lambda prediction: None", "gave NoneType, and no Prediction"),
        ("refine", "BUILD = fail", "KeyError: 'what it needs'"),
        ("sink", "", "Nothing is no Sink: it has no close, issue, open, write"),
        (
            "sink",
            "Nothing.issue, Nothing.write = None, print\nNothing.open = Nothing.close = fail",
            "KeyError: 'what",
        ),
    ],
)
def test_entry_that_fails_in_a_run_ends_it_in_one_line(
    install: Callable[..., None], node: Run, part: str, change: str, message: str
) -> None:
    points = {f"drivable.{GROUPS[part]}": {"mine": f"faulty:{part}"}}
    install("faulty", f"{FAULTY}\n{change}\n{ENTRIES}", points)

    done = node(*USES[part])

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("drivable-node: ")
    assert f"faulty 1.0: mine of drivable.{GROUPS[part]}: {message}" in last


@pytest.fixture
def registry(
    install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Registry[SourceKind[Any]]]:
    """A function that gives a registry of sources that finds a module of entries so named."""

    def find(code: str, points: dict[str, str], distributions: Sequence[str] = ("faulty",)) -> Registry[Any]:
        for name in distributions:
            install(name, code, {"drivable.sources": points})
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.delitem(sys.modules, "faulty", raising=False)
        return Registry("drivable.sources", SourceKind, {"video": SOURCES["video"]})

    return find


@pytest.mark.parametrize(
    ("code", "points", "message"),
    [
        ("import no_such", {"mine": "faulty:source"}, "does not load: ModuleNotFoundError: No module named"),
        ("1 / 0", {"mine": "faulty:source"}, "does not load: ZeroDivisionError: division by zero"),
        ("", {"mine": "faulty:source"}, "does not load: AttributeError: module 'faulty' has no attribute"),
        ("source = None", {"mine": "faulty:source"}, "faulty:source is no SourceKind"),
        (FAULTY + ENTRIES, {"mine": "faulty:sink"}, "faulty:sink is no SourceKind"),
        (FAULTY + "SETTINGS = int.from_bytes" + ENTRIES, {"mine": "faulty:source"}, "its settings have no"),
    ],
)
def test_entry_that_is_none_is_one_line_that_names_it(
    registry: Callable[..., Registry[Any]], code: str, points: dict[str, str], message: str
) -> None:
    found = registry(code, points)

    with pytest.raises(PluginError) as refused:
        found["mine"]

    assert re.match(rf"faulty 1\.0: mine of drivable\.sources:? {re.escape(message)}", str(refused.value))
    assert "\n" not in str(refused.value)


def test_name_of_two_packages_is_refused_where_it_is_used(registry: Callable[..., Registry[Any]]) -> None:
    found = registry(FAULTY + ENTRIES, {"mine": "faulty:source"}, ("faulty", "other"))

    assert found.names() == ["video", "mine"]
    both = "faulty 1.0: mine of drivable.sources and other 1.0: mine of drivable.sources"
    with pytest.raises(
        PluginError, match=f"^{re.escape(both)}: two packages use this name; remove one of them$"
    ):
        found["mine"]


def test_name_of_our_own_is_refused(registry: Callable[..., Registry[Any]]) -> None:
    found = registry(FAULTY + ENTRIES, {"video": "faulty:source"})

    with pytest.raises(
        PluginError, match=r"^faulty 1\.0: video of .*: drivable has its own of that name; rename"
    ):
        found.names()


def test_entries_of_packages_stand_in_the_order_of_their_names(
    registry: Callable[..., Registry[Any]],
) -> None:
    found = registry(FAULTY + ENTRIES, {"b": "faulty:source", "c-d": "faulty:source", "a": "faulty:source"})

    assert found.names() == ["video", "a", "b", "c_d"]
    assert found["a"].group == "a"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("CLAIMS = fail", "KeyError: 'what it needs'"),
        ("CLAIMS = lambda typed: typed.scheme == 'mine'", "claims gave False; the spec is expected, or None"),
    ],
)
def test_source_that_cannot_say_what_is_its_own_is_an_error_that_names_it(
    registry: Callable[..., Registry[Any]], change: str, message: str
) -> None:
    found = registry(f"{FAULTY}\n{change}\n{ENTRIES}", {"mine": "faulty:source"})

    with pytest.raises(PluginError, match=f"^faulty 1.0: mine of drivable.sources: {re.escape(message)}$"):
        found["mine"].spec_of(TypedSource("nowhere.mp4"))


@pytest.mark.parametrize(
    ("part", "name", "message"),
    [
        ("sink", "jsonl", "drivable has its own of that name; rename it"),
        ("refine", "health", "drivable has settings of that name; rename it"),
    ],
)
def test_name_that_is_taken_ends_the_run_in_one_line(
    install: Callable[..., None], node: Run, part: str, name: str, message: str
) -> None:
    install("faulty", FAULTY + ENTRIES, {f"drivable.{GROUPS[part]}": {name: f"faulty:{part}"}})

    done = node(*ONE_FRAME, "--health.enabled", "true")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"drivable-node: faulty 1.0: {name} of drivable.{GROUPS[part]}: {message}"
    ]


def test_library_raises_what_is_wrong_with_a_package(install: Callable[..., None], python: Run) -> None:
    install("faulty", FAULTY + ENTRIES, {"drivable.engines": {"mine": "faulty:engine"}})
    code = """
import perception
try:
    perception.Model("rt_s-int8", engine="mine")
except perception.PluginError as error:
    print(error)
"""

    done = python("-c", code)

    assert done.stdout.startswith("faulty 1.0: mine of drivable.engines: Nothing is no Engine: it has no ")


def test_settings_of_a_package_are_in_the_help_and_what_does_not_load_is_a_warning(
    install: Callable[..., None], node: Run
) -> None:
    install("acme", ACME, POINTS)
    install("broken", "import nothing_of_this_name", {"drivable.sinks": {"broken": "broken:sink"}})

    first, entire, group = node("--help"), node("--help", "all"), node("--help", "acme_road")

    assert first.returncode == entire.returncode == group.returncode == 0
    assert len(first.stdout.splitlines()) <= 40
    assert "  acme_road    Rendered noise\n" in first.stdout
    assert (
        "acme_road: Rendered noise.\n  --acme-road.level INT      Grey of the road. (default: 90)\n"
        in group.stdout
    )
    assert "  --acme-log.path TEXT       File that gets a line a frame.\n" in entire.stdout
    assert "onnx|openvino|acme_tensor" in entire.stdout
    for done in (first, entire, group):
        assert done.stderr.startswith("warning: broken 1.0: broken of drivable.sinks ")
