"""The summary of a run: valid JSON, whole or not at all, and never in the way of what went wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from perception.node import main
from perception.telemetry.health import Memory

SMALL = ("--synthetic.wh", "[160, 90]", "--model", "rt_s-int8")


def run_limited(blocks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The node, where no file may grow beyond so many KiB, as on a full disk."""
    command = [sys.executable, "-m", "perception.node", *SMALL, *arguments]
    limited = f"ulimit -f {blocks}; exec {' '.join(repr(word) for word in command)}"
    return subprocess.run(["bash", "-c", limited], capture_output=True, text=True, timeout=60, check=False)


def errors_of(said: str) -> list[str]:
    assert "Traceback" not in said
    return [line for line in said.splitlines() if line.startswith("drivable-node:")]


def test_summary_that_cannot_be_written_leaves_the_older_one(tmp_path: Path) -> None:
    summary = tmp_path / "s.json"
    summary.write_text("{}\n")

    done = run_limited(0, "--max-frames", "5", "--summary", str(summary))

    assert done.returncode == 1
    assert errors_of(done.stderr) == [
        f"drivable-node: {summary}: the summary cannot be written: File too large"
    ]
    assert "files: " not in done.stderr
    assert summary.read_text() == "{}\n"
    assert os.listdir(tmp_path) == ["s.json"]


def test_sinks_own_error_is_said_before_that_of_the_summary(tmp_path: Path) -> None:
    records, summary = tmp_path / "o.jsonl", tmp_path / "s.json"

    done = run_limited(1, "--source", "synthetic", "--jsonl", str(records), "--summary", str(summary))

    assert done.returncode == 1
    assert errors_of(done.stderr) == [
        f"drivable-node: sink jsonl: {records}: cannot write records: File too large",
        f"drivable-node: {summary}: the summary cannot be written: File too large",
    ]


def test_summary_is_written_after_an_error_too(tmp_path: Path) -> None:
    summary = tmp_path / "s.json"

    done = run_limited(
        8, "--source", "synthetic", "--jsonl", str(tmp_path / "o.jsonl"), "--summary", str(summary)
    )

    assert done.returncode == 1
    assert json.loads(summary.read_text())["errors"] == [
        f"sink jsonl: {tmp_path / 'o.jsonl'}: cannot write records: File too large"
    ]


def test_number_that_is_none_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.telemetry.reporter.own_memory", Memory)
    summary = tmp_path / "s.json"

    assert main([*SMALL, "--max-frames", "2", "--summary", str(summary)]) == 0

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert json.loads(summary.read_text(), parse_constant=refuse)["peak_memory_mb"] is None


@pytest.mark.parametrize("target", ["link.json", "/dev/stdout"])
def test_link_and_standard_output_can_be_named(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real.json").write_text("")
    (tmp_path / "link.json").symlink_to("real.json")
    command = [sys.executable, "-m", "perception.node", *SMALL, "--max-frames", "2", "--summary", target]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)

    text = done.stdout if target == "/dev/stdout" else (tmp_path / "real.json").read_text()
    assert json.loads(text)["frames"]["published"] == 2
    assert (tmp_path / "link.json").is_symlink()


def test_summary_in_an_unusable_place_is_one_line(
    tmp_path: Path, only_error_line: Callable[[str], str]
) -> None:
    assert main([*SMALL, "--max-frames", "2", "--summary", str(tmp_path)]) == 1
    assert (
        only_error_line("drivable-node") == f"drivable-node: {tmp_path}: is a folder; --summary takes a file"
    )
