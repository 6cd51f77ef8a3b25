"""A password in the address of a source does not get out of the bench, and into no list of processes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main

PASSWORD = "hunter2"
URL = f"http://ann:{PASSWORD}@127.0.0.1:9/road.mp4"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--source", URL], 1, id="the whole run"),
        pytest.param(["--rounds", URL], 2, id="no number"),
        pytest.param([URL], 2, id="no command"),
        pytest.param(["accuracy", "--data", URL], 1, id="accuracy"),
        pytest.param(["compare", URL, URL], 1, id="compare"),
    ],
)
def test_password_is_in_no_error_and_no_report(
    arguments: list[str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)

    status = main(arguments)

    assert status == expected
    assert PASSWORD not in only_error_line("drivable-bench")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_live_run_starts_a_node_without_the_password_in_its_arguments(
    monkeypatch: pytest.MonkeyPatch, only_error_line: Callable[[str], str]
) -> None:
    started: list[Sequence[str]] = []

    class Recorded(subprocess.Popen[str]):
        def __init__(self, command: Sequence[str], **options: Any) -> None:
            started.append(command)
            super().__init__(command, **options)

    monkeypatch.setattr("bench.live.subprocess.Popen", Recorded)

    status = main(["live", "--source", URL, "--rounds", "1"])

    line = only_error_line("drivable-bench")
    assert status == 1
    assert "http://ann:***@127.0.0.1:9/road.mp4: cannot be opened: Connection refused" in line
    assert len(started) == 1
    assert PASSWORD not in " ".join(started[0]) + line
