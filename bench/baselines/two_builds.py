"""Two builds of the node, of any versions, in turns: python -m bench.baselines.two_builds OTHER_PYTHON VIDEO

Both run at once, and one at a time is stopped (SIGSTOP), for a second each: what else the machine does slows
both alike, where whole runs in turns differ by a tenth and more on a shared machine. `drivable-bench
--against` measures more, but only a build whose bench writes the same reports. This needs no more of the
other build than its command and its records. `--settings` and `--other-settings` are added to the command of
each; with one build for both, that is what a setting costs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

MODELS: Final = ("rt_m-int8", "rt_s-int8")
WARM_UP_FRAMES: Final = 30
START_LIMIT_S: Final = 60.0


class Setting(NamedTuple):
    """What is run."""

    model: str
    output: str
    """`records` or `overlay`, which is a video beside the records."""
    cores: int


class Build(NamedTuple):
    """What runs it."""

    python: str
    settings: tuple[str, ...] = ()
    """Of its command, besides those of both."""


class TurnError(ValueError):
    """A node ended before its last turn."""


class Node:
    """A node that is running and stopped by turns.

    Args:
        command: that starts it.
        records: the files that it writes, one a source.
        folder: that it runs in.

    Raises:
        TurnError: if it ends before it has begun.
    """

    def __init__(self, command: Sequence[str], records: Sequence[Path], folder: Path) -> None:
        self._records, self._errors = records, folder / "errors"
        self._turns_ns: list[tuple[int, int]] = []
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(command, stdout=errors, stderr=errors, cwd=folder)
        end_s = time.monotonic() + START_LIMIT_S
        while min(map(_lines_in, self._records)) < WARM_UP_FRAMES:
            if self._process.poll() is not None or time.monotonic() > end_s:
                self._fail()
            time.sleep(0.01)
        self._process.send_signal(signal.SIGSTOP)

    def take_turn(self, seconds: float) -> None:
        """Run for so long; raises TurnError if its video ends."""
        begin_ns = time.monotonic_ns()
        self._process.send_signal(signal.SIGCONT)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGSTOP)
        self._turns_ns.append((begin_ns, time.monotonic_ns()))
        if self._process.poll() is not None:
            self._fail()

    def turns_fps(self) -> list[float]:
        """Frames a second that it published, in each turn."""
        lines = [line for file in self._records for line in file.read_text().split("\n")[:-1]]
        published_ns = [json.loads(line)["published_ns"] for line in lines]
        return [
            sum(begin_ns <= at_ns < end_ns for at_ns in published_ns) / (end_ns - begin_ns) * 1e9
            for begin_ns, end_ns in self._turns_ns
        ]

    def end(self) -> None:
        """Orderly, so that every record is written; safe to call twice."""
        self._process.send_signal(signal.SIGTERM)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _fail(self) -> None:
        said = self._errors.read_text(errors="replace").strip().splitlines() or ["without output"]
        self.end()
        raise TurnError(f"a node ended before its last turn; give a longer video, or see: {said[-1]}")


def _lines_in(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def alternate(nodes: Sequence[Node], rounds: int, turn_s: float) -> list[list[float]]:
    """Frames a second of each node, turn by turn; every other round is in reverse order. Ends the nodes.

    Raises:
        TurnError: if one ends too early.
    """
    for number in range(rounds):
        for node in nodes if number % 2 else reversed(nodes):
            node.take_turn(turn_s)
    for node in nodes:
        node.end()
    return [node.turns_fps() for node in nodes]


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """What is started meanwhile has that many cores."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(usable)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def take_turns(
    builds: Sequence[Build], setting: Setting, video: Path, rounds: int, turn_s: float
) -> list[list[float]]:
    """As `alternate`, of the node of each build.

    Raises:
        TurnError: if one ends too early.
    """
    with TemporaryDirectory() as name, ExitStack() as stack:
        nodes = []
        with on_cores(setting.cores):
            for number, build in enumerate(builds):
                folder = Path(name, str(number))
                folder.mkdir()
                records = folder / "records.jsonl"
                command = [build.python, "-m", "perception.node", "--model", setting.model]
                command += ["--source", str(video), "--jsonl", str(records), *build.settings]
                if setting.output == "overlay":
                    command += ["--out", str(folder / "overlay.mp4")]
                nodes.append(Node(command, [records], folder))
                stack.callback(nodes[-1].end)
        return alternate(nodes, rounds, turn_s)


def row(setting: Setting, ours: Sequence[float], others: Sequence[float]) -> str:
    """Of the table, in Markdown: frames a second of both, their ratio round by round, and over all rounds."""
    ratios = sorted(one / other for one, other in zip(ours, others, strict=True))
    quarter = len(ratios) // 4
    cells = [
        f"`{setting.model}`",
        setting.output,
        str(setting.cores),
        f"{median(ours):.0f}",
        f"{median(others):.0f}",
        f"**{median(ratios):.3f}** ({ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})",
        f"{sum(ours) / sum(others):.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def options() -> argparse.ArgumentParser:
    """Of the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.baselines.two_builds", description=__doc__)
    parser.add_argument("other", metavar="PYTHON", help="interpreter with the other build")
    parser.add_argument("video", type=Path, help="a recording that lasts for all rounds")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--turn-s", type=float, default=1.0, help="seconds of a turn; a round is one of each")
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    for name, whose in (("--settings", "ours"), ("--other-settings", "the other")):
        parser.add_argument(name, default="", metavar="ARGUMENTS", help=f"added to the command of {whose}")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    given = options().parse_args(arguments)
    settings = [Setting(*each) for each in product(given.models, ("records", "overlay"), given.cores)]
    columns = ("model", "output", "cores", "frames a second", "before", "ratio, middle half", "in all")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    try:
        for setting in settings:
            builds = (
                Build(given.other, tuple(shlex.split(given.other_settings))),
                Build(sys.executable, tuple(shlex.split(given.settings))),
            )
            others, ours = take_turns(builds, setting, given.video.resolve(), given.rounds, given.turn_s)
            print(row(setting, ours, others), flush=True)
    except (OSError, TurnError) as error:
        print(f"two_builds: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
