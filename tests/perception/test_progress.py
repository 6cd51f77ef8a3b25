"""The line of progress: a bar with ETA where the length is known, never longer than the terminal."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Any, cast

import pytest

from perception.cli.log import command_log, set_verbosity
from perception.cli.progress import Progress, is_wanted
from perception.config import NodeConfig
from perception.metrics.histogram import Histogram
from perception.pipeline import Runner
from perception.sources.source import SourceInfo
from perception.telemetry.counters import FrameCounters


class Running:
    """What a run shows of itself."""

    def __init__(self, **counters: int) -> None:
        self._counters = FrameCounters(**cast(Any, counters))
        self.age = Histogram()

    def counters(self) -> FrameCounters:
        return self._counters


def line(columns: int, *, captured: int, in_flight: int = 0, elapsed_s: float = 10.0, **info: Any) -> str:
    source = SourceInfo("road", **{"is_live": False, "frame_wh": None, "rate_hz": 30.0, **info})
    progress = Progress(cast(Runner, Running(captured=captured, in_flight=in_flight)), source)
    return progress.text(elapsed_s, columns)


def test_recording_has_a_bar_and_the_time_that_is_left() -> None:
    assert line(79, captured=302, in_flight=2, frames_expected=1200) == (
        " 25% [##########..............................]  300/1200  ETA 0:30  30.0 fps"
    )


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (79, " 25% [##########..............................]  300/1200  ETA 0:30  30.0 fps"),
        (50, " 25% [###..........]  300/1200  ETA 0:30  30.0 fps"),
        (39, " 25% [###.........]  300/1200  ETA 0:30"),
        (25, " 25% [##......]  300/1200"),
    ],
)
def test_narrow_terminal_gets_a_shorter_line(columns: int, shown: str) -> None:
    assert line(columns, captured=300, frames_expected=1200) == shown


@pytest.mark.parametrize("captured", [0, 1, 99_999])
def test_line_is_never_longer_than_the_terminal(captured: int) -> None:
    for columns in range(20, 120):
        assert len(line(columns, captured=captured, frames_expected=90_000)) <= columns


def test_more_frames_than_declared_are_no_hundred_percent() -> None:
    assert line(79, captured=1500, frames_expected=1200).startswith(" 99% [")


def test_long_recording_has_hours() -> None:
    assert "  ETA 2:46:30  " in line(79, captured=10, frames_expected=10_000)


def test_unknown_length_has_no_bar() -> None:
    assert line(79, captured=300) == "300 frames  30.0 fps"


def test_live_source_has_its_age_and_what_was_dropped() -> None:
    assert line(79, captured=300, is_live=True) == "300 frames  30.0 fps  age -  dropped 0"


class Terminal:
    """Any stream."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize(
    ("stderr", "stdout", "jsonl", "level", "expected"),
    [
        (True, True, None, logging.INFO, True),
        (True, True, "r.jsonl", logging.DEBUG, True),
        (True, False, "-", logging.INFO, True),
        (True, True, "-", logging.INFO, False),
        (True, True, None, logging.WARNING, False),
        (False, True, None, logging.INFO, False),
    ],
)
def test_it_is_for_a_terminal_that_nothing_else_is_written_to(
    stderr: bool,
    stdout: bool,
    jsonl: str | None,
    level: int,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with command_log("drivable-node"):
        set_verbosity(level)
        monkeypatch.setattr(sys, "stderr", Terminal(is_terminal=stderr))
        monkeypatch.setattr(sys, "stdout", Terminal(is_terminal=stdout))
        wanted = is_wanted(NodeConfig(jsonl=jsonl))
        monkeypatch.undo()

    assert wanted is expected


def seen_on_a_terminal(*arguments: str) -> str:
    """What a run of the node writes to a terminal of 60 columns as its standard error."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    command = [sys.executable, "-m", "perception.node", "synthetic", "--synthetic.wh", "160x90", *arguments]
    with TemporaryFile() as records:  # a pipe that nobody reads meanwhile would fill
        process = subprocess.Popen([*command, "--model", "rt_s-int8"], stderr=its, stdout=records)
        os.close(its)
        seen = b""
        with suppress(OSError):  # EIO: the process has closed its end
            while data := os.read(ours, 65_536):
                seen += data
        os.close(ours)
        process.wait(timeout=60)
        records.seek(0)
        assert records.read().count(b"\n") == arguments.count("-") * 40
    assert process.returncode == 0
    return seen.decode()


def test_bar_is_on_the_terminal_alone_below_a_log_of_whole_lines() -> None:
    seen = seen_on_a_terminal("--max-frames", "40", "--jsonl", "-")

    shown = [part for part in re.split(r"[\r\n]+", seen) if part.strip()]
    bars = [part for part in shown if re.match(r" *\d+% \[", part)]
    log = [part for part in shown if part not in bars]
    assert bars
    assert all(len(bar) < 60 and "/40 " in bar for bar in bars)
    assert log[0].startswith("source: synthetic:mixed, ")
    assert any(line.startswith("published  ") for line in log)
    assert not any("%" in line for line in log)


def test_quiet_run_shows_no_bar() -> None:
    assert seen_on_a_terminal("--max-frames", "40", "--jsonl", "-", "--quiet") == ""
