"""Two builds of the node, of any versions, in turns: python -m bench.baselines.two_builds OTHER_PYTHON VIDEO

`drivable-bench --against` measures more, but only a build whose bench writes the same reports. This needs no
more of the other build than its command and its records.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

FRAMES: Final = {"rt_m-int8": 300, "rt_s-int8": 700}
"""Of a run, by model: four to six seconds on two cores."""
WARM_UP_FRAMES: Final = 30


class Setting(NamedTuple):
    """What is run."""

    model: str
    output: str
    """`records` or `overlay`, which is a video beside the records."""
    cores: int


def run_once(python: str, setting: Setting, video: Path, frames: int) -> float:
    """Frames a second of the node of an interpreter, from the times of publication in its records.

    Starting and the first frames do not count, nor does closing the files.

    Raises:
        subprocess.CalledProcessError: if the node fails.
    """
    with TemporaryDirectory() as folder:
        records = Path(folder, "records.jsonl")
        command = [python, "-m", "perception.node", "--model", setting.model, "--source", str(video)]
        command += ["--max-frames", str(frames), "--jsonl", str(records)]
        if setting.output == "overlay":
            command += ["--out", str(Path(folder, "overlay.mp4"))]
        usable = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(usable)[: setting.cores])
        try:
            subprocess.run(command, check=True, capture_output=True, cwd=folder)
        finally:
            os.sched_setaffinity(0, usable)
        published_ns: list[int] = [
            json.loads(line)["published_ns"] for line in records.read_text().splitlines()
        ]
    counted = published_ns[min(WARM_UP_FRAMES, len(published_ns) - 2) :]
    return (len(counted) - 1) / (counted[-1] - counted[0]) * 1e9


def compare(
    ours: str, other: str, settings: list[Setting], video: Path, rounds: int, frames: int | None = None
) -> list[str]:
    """A table in Markdown, one line a setting: ratio of ours to the other's, median and range over rounds."""
    pairs: dict[Setting, list[tuple[float, float]]] = {setting: [] for setting in settings}
    for number, setting in product(range(rounds), settings):
        count = frames or FRAMES[setting.model]
        order = (ours, other) if number % 2 else (other, ours)
        seen = {python: run_once(python, setting, video, count) for python in order}
        pairs[setting].append((seen[ours], seen[other]))
    rows = ["| model | output | cores | frames a second | before | ratio |", "|---|---|---|---|---|---|"]
    for setting, seen_fps in pairs.items():
        ratios = [our_fps / other_fps for our_fps, other_fps in seen_fps]
        our_fps, other_fps = (median(column) for column in zip(*seen_fps, strict=True))
        rows.append(
            f"| `{setting.model}` | {setting.output} | {setting.cores} | {our_fps:.0f} | {other_fps:.0f} "
            f"| **{median(ratios):.3f}** ({min(ratios):.3f} to {max(ratios):.3f}) |"
        )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.baselines.two_builds", description=__doc__)
    parser.add_argument("other", metavar="PYTHON", help="interpreter with the other build")
    parser.add_argument("video", type=Path, help="a recording of at least as many frames as are measured")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--frames", type=int, help=f"of a run; by default {FRAMES}")
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--models", nargs="+", default=list(FRAMES), choices=list(FRAMES))
    given = parser.parse_args(arguments)
    settings = [Setting(*each) for each in product(given.models, ("records", "overlay"), given.cores)]
    try:
        rows = compare(
            sys.executable, given.other, settings, given.video.resolve(), given.rounds, given.frames
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        print(f"two_builds: {said.decode().strip().splitlines()[-1]}", file=sys.stderr)
        return 1
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
