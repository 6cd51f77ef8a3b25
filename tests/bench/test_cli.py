"""`drivable-bench` as it is typed: the whole run, `compare`, and one line for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main

ROOT = Path(__file__).parents[2]
OnlyErrorLine = Callable[[str], str]


@pytest.fixture
def short_run(red_is_drivable: Path, make_clip: Callable[..., Path], tmp_path: Path) -> list[str]:
    """Arguments of the smallest run: one network, one scenario, a clip of a few frames."""
    return [
        *("--models", f"[{red_is_drivable}]", "--scenarios", "[single_stream]", "--rounds", "1"),
        *("--single-stream-frames", "3", "--source", str(make_clip()), "--out", str(tmp_path / "out")),
    ]


@pytest.mark.slow
def test_run_prints_tables_and_leaves_report_page_and_plots(
    short_run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(short_run) == 0

    shown = capsys.readouterr()
    assert "red onnx" in shown.out
    assert "Latency, one frame after the other" in shown.out
    assert "Whether a model holds 30 Hz here was not measured" in shown.out
    assert "[2/2] round 1: " in shown.err
    assert json.loads((tmp_path / "out/report.json").read_text())["is_partial"] is False
    assert (tmp_path / "out/report.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "out/report.md").read_text().startswith("**Whether")
    assert (tmp_path / "out/latency.png").read_bytes().startswith(b"\x89PNG")

    assert main(["compare", *[str(tmp_path / "out/report.json")] * 2]) == 0
    assert "paired rounds" in capsys.readouterr().out


def test_interrupted_run_says_how_to_go_on(
    short_run: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only_error_line: OnlyErrorLine
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.suite.run", interrupted)

    assert main(short_run) == 130

    line = only_error_line("drivable-bench")
    assert "interrupted; continue with drivable-bench --models" in line
    assert line.endswith(f"--out {tmp_path / 'out'} --resume")


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["compare", "a.json"], 2, "b is missing; expected: drivable-bench compare a.json B"),
        (["comapre"], 2, "comapre: no such command; the nearest known one is compare"),
        (["compare", "missing.json", "missing.json"], 1, "missing.json: No such file"),
        (["--models", "[nothing]"], 1, "nothing: no such model file"),
        (["--source", "missing.mp4"], 1, "missing.mp4"),
        (["--rates-hz", "[0]"], 2, "rates_hz holds"),
        (["--out", "/dev/null/x"], 1, "/dev/null"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    status: int,
    reason: str,
    only_error_line: OnlyErrorLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.suite.record_road", lambda file: file)

    assert main(arguments) == status

    assert reason in only_error_line("drivable-bench")


WITHOUT_THE_EXTRA = """
import json, sys
import bench.cli
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))
for arguments in json.loads(sys.argv[2]):
    print(arguments[0], bench.cli.main(arguments), flush=True)
"""


def test_each_command_without_the_extra_is_one_line_that_names_it(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = [it.partition(">")[0] for it in project["optional-dependencies"]["bench"]]
    modules[modules.index("nvidia-ml-py")] = "pynvml"
    commands = [
        ["--quick", "--out", str(tmp_path / "out")],
        ["accuracy", "--synthetic-frames", "1"],
        ["infer"],
        ["live", "--source", "clip.mp4"],
        ["compare", "a.json", "b.json"],
    ]

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA, json.dumps(modules), json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [f"{it[0]} 1" for it in commands]
    lines = done.stderr.splitlines()
    assert len(lines) == len(commands)
    for line in lines:
        assert line.startswith("drivable-bench: ")
        assert line.endswith(" is not installed; pip install 'drivable[bench]'")
    assert not (tmp_path / "out").exists()
