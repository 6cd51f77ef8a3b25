"""The line of progress on a terminal: a bar with ETA of a recording, frames and age of a live source."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from perception.cli.log import show_status
from perception.config import NodeConfig
from perception.pipeline import Runner
from perception.sinks.jsonl import STDOUT
from perception.sources.source import SourceInfo

log = logging.getLogger(__name__)

_LONGEST_BAR: Final = 40
_SHORTEST_BAR: Final = 10
_ALMOST: Final = 0.99
"""Shown at most while frames still come: a container may declare fewer than it has."""
_USUAL_COLUMNS: Final = 80


def has_terminal() -> bool:
    """Whether there is a terminal for a line of progress, and no --quiet."""
    return sys.stderr is not None and sys.stderr.isatty() and log.isEnabledFor(logging.INFO)


def is_wanted(config: NodeConfig) -> bool:
    """Whether there is a terminal for it, which neither records nor --quiet keep for themselves."""
    if not has_terminal():
        return False
    return config.jsonl != STDOUT or sys.stdout is None or not sys.stdout.isatty()


class Progress:
    """How far a run is."""

    def __init__(self, runner: Runner, info: SourceInfo) -> None:
        """It begins now."""
        self._runner, self._info = runner, info
        self._started_s = time.monotonic()

    def show(self) -> None:
        """Replace the line on the terminal."""
        columns = 0
        with suppress(OSError):
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        show_status(self.text(time.monotonic() - self._started_s, (columns or _USUAL_COLUMNS) - 1))

    def text(self, elapsed_s: float, columns: int) -> str:
        """The line, at most so many columns long."""
        counters, expected = self._runner.counters(), self._info.frames_expected
        done = counters.captured - counters.in_flight
        fps = done / max(elapsed_s, 1e-3)
        rate = f"{fps:.1f} fps"
        if self._info.is_taken_now or not expected:
            live = []
            if self._info.is_live:
                age_ms = self._runner.age.quantile_ms(0.5)
                live = ["age -" if age_ms is None else f"age {age_ms:.0f} ms"]
                live.append(f"dropped {counters.dropped_in_all}")
            return _fitting([f"{done} frames", rate, *live], columns)
        share = min(done / expected, _ALMOST)
        eta = f"ETA {clock_text(max(expected - done, 0) / fps)}" if done else "ETA -"
        left = f"{share:4.0%} "
        right = _fitting([f"{done}/{expected}", eta, rate], columns - len(left) - _SHORTEST_BAR)
        length = min(columns - len(left) - len(right) - 4, _LONGEST_BAR)
        bar = f"[{('#' * round(share * length)).ljust(length, '.')}]  " if length > 0 else ""
        return f"{left}{bar}{right}"


def _fitting(parts: Sequence[str], columns: int) -> str:
    """As many of them as there is room for, the first one whatever it takes."""
    fitting = parts[0]
    for part in parts[1:]:
        if len(fitting) + 2 + len(part) > columns:
            break
        fitting += f"  {part}"
    return fitting


def clock_text(seconds: float) -> str:
    """`1:05`, `2:00:09`."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
