"""Mutated inputs through the node's readers: how many were refused in one line, and what else happened.

    python tests/rigs/fuzz/run.py [--inputs 10000] [--seed 0] [--keep FOLDER]

One JSON line on standard output: {fault, asked, seen, holds}; findings and progress on standard error.
The same seed gives the same inputs. A fuzzer led by coverage, such as atheris, sees the lines of Python
alone, and these readers are mostly libav, OpenCV and ONNX Runtime: plain mutations find as much here.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2

sys.path.append(str(Path(__file__).parents[2] / "perception"))

from forks import in_a_fork
from targets import TARGETS, make_seeds

LIMIT_S = 25.0
PROGRESS_EVERY = 500
FINDINGS = ("uncaught", "hang")


def main() -> int:
    """Run the inputs; 1 if one was not refused in one of the readers' own errors, or hung."""
    parser = argparse.ArgumentParser(description="Mutated inputs through the node's readers.")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TARGETS, help="one reader alone")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that were found to do harm")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        counts = run(Path(folder), asked.inputs, asked.seed, asked.only, asked.keep)
    holds = sum(counts.values()) == asked.inputs and not any(counts[kind] for kind in FINDINGS)
    seen = ", ".join(f"{counts[kind]} {kind}" for kind in ("read", "refused", "uncaught", "hang", "crash"))
    line = {
        "fault": f"{asked.inputs} mutated inputs (video, images, settings, RTSP, contracts, models)",
        "asked": "0 uncaught errors, 0 hangs",
        "seen": seen,
        "holds": holds,
    }
    print(json.dumps(line), flush=True)
    return 0 if holds else 1


def run(folder: Path, inputs: int, seed: int, only: str | None, keep: Path | None) -> Counter[str]:
    """How many inputs came to which end; those with a finding are kept and reported."""
    seeds = make_seeds(folder)
    counts: Counter[str] = Counter()
    names, shares = list(TARGETS), [target.share for target in TARGETS.values()]
    started_s = time.monotonic()
    for number in range(inputs):
        choice = random.Random(f"{seed}/{number}")
        name = only or choice.choices(names, shares)[0]
        target = TARGETS[name]
        original = choice.choice(seeds[name])
        other = choice.choice(seeds[name]).read_bytes()
        file = folder / f"mutated{original.suffix}"
        file.write_bytes(target.mutation(choice, original.read_bytes(), other))
        outcome = in_a_fork(lambda: target.read(file), target.refusals, LIMIT_S)  # noqa: B023  # runs at once
        counts[outcome.kind] += 1
        if outcome.kind in (*FINDINGS, "crash"):
            print(
                f"{outcome.kind}: {name} {original.name}, input {number}: {outcome.detail}", file=sys.stderr
            )
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, keep / f"{number}-{outcome.kind}{original.suffix}")
        if (number + 1) % PROGRESS_EVERY == 0:
            print(
                f"{number + 1} of {inputs}, {time.monotonic() - started_s:.0f} s: {dict(counts)}",
                file=sys.stderr,
            )
    return counts


if __name__ == "__main__":
    sys.exit(main())
