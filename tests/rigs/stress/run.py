"""The rig of stress: python tests/rigs/stress/run.py [--runs 500] [--seed 0] [--only SCENARIO …] [--jobs 2]
[--install].

Every run has a scenario, a mode and a seed of its own; one that fails is reported with its seed, and is
run again by --replay SCENARIO MODE SEED, which keeps its files.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from shutil import rmtree

HERE = Path(__file__).parent
sys.path[:0] = [str(place) for place in (HERE, HERE.parent, HERE.parent / "node", HERE.parents[2])]

from judge import complaints_of  # noqa: E402
from lines import Line  # noqa: E402
from packages import RigError, provide  # noqa: E402
from scenarios import SCENARIOS, WEIGHTS, missing, missing_packages  # noqa: E402
from setting import LIMIT_S, MODES, Case, end, sources_in  # noqa: E402

CANNOT_RUN = 2
ASKED = "no traceback, no hang, whole files, books that balance, no loss with status 0"


@dataclass(frozen=True)
class Run:
    """One of many."""

    scenario: str
    mode: str
    seed: int

    def __str__(self) -> str:
        return f"{self.scenario} {self.mode} {self.seed}"


def chosen(runs: int, seed: int, names: list[str]) -> list[Run]:
    """So many runs by chance, the same for the same seed."""
    chance = Random(seed)
    weights = [WEIGHTS.get(name, 1) for name in names]
    scenarios = chance.choices(names, weights, k=runs)
    return [Run(name, chance.choice(MODES), 1000 * seed + number) for number, name in enumerate(scenarios)]


def made(run: Run, sources: Mapping[str, str], root: Path, *, keeps: bool = False) -> list[str]:
    """Run it; what is wrong, a line each."""
    folder = root / f"{run.scenario}-{run.mode}-{run.seed}"
    folder.mkdir()
    case = Case(run.mode, folder, dict(sources), Random(run.seed))
    try:
        SCENARIOS[run.scenario](case)
        assert case.process is not None
        has_ended = end(case.process, LIMIT_S)
        wrong = complaints_of(case, has_ended)
        if keeps:
            print(case.log.read_text(errors="replace"), f"status {case.process.returncode}", file=sys.stderr)
        return [f"{line} ({', '.join(case.notes)})" for line in wrong]
    except Exception as error:
        return [f"the rig: {type(error).__name__}: {error}"]
    finally:
        if case.process is not None and case.process.poll() is None:
            end(case.process, 0)
        if run.scenario == "disk":
            subprocess.run(["umount", "-l", str(case.out)], check=False, stderr=subprocess.DEVNULL)
        if not keeps:
            rmtree(folder, ignore_errors=True)


def lines_of(done: Mapping[Run, list[str]], cannot: Mapping[str, str]) -> list[Line]:
    """One a scenario."""
    lines = []
    for name in SCENARIOS:
        of_it = {run: wrong for run, wrong in done.items() if run.scenario == name}
        failed = [f"{run.mode} {run.seed}: {wrong[0]}" for run, wrong in of_it.items() if wrong]
        if of_it:
            seen = f"{len(of_it)} runs, {len(failed)} failed" + (f": {'; '.join(failed)}" if failed else "")
            lines.append(Line(f"stress: {name}", ASKED, seen, not failed))
        elif name in cannot:
            lines.append(Line(f"stress: {name}", ASKED, f"not run: {cannot[name]}", False))
    return lines


def main() -> int:
    """1 if a run failed, 2 if what was to be installed cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[], choices=list(SCENARIOS))
    parser.add_argument("--replay", nargs=3, metavar=("SCENARIO", "MODE", "SEED"))
    parser.add_argument("--install", action="store_true", help="apt-get what is missing, if root")
    given = parser.parse_args()
    try:
        if given.install:
            provide(missing_packages, may_install=True)
    except RigError as error:
        print(f"stress: {error}", file=sys.stderr)
        return CANNOT_RUN
    cannot = missing()
    names = [name for name in given.only or SCENARIOS if name not in cannot]
    root = Path(tempfile.mkdtemp(prefix="drivable-stress-"))
    root.chmod(0o755)
    sources = sources_in(root)
    if given.replay:
        scenario, mode, seed = given.replay
        print(made(Run(scenario, mode, int(seed)), sources, root, keeps=True) or "all is well", f"({root})")
        return 0
    started_s, done = time.monotonic(), {}
    with ThreadPoolExecutor(given.jobs) as pool:
        runs = chosen(given.runs, given.seed, names)
        for run, wrong in zip(runs, pool.map(lambda run: made(run, sources, root), runs), strict=True):
            done[run] = wrong
            for line in wrong:
                print(f"{run}: {line}", file=sys.stderr, flush=True)
    lines = lines_of(done, cannot)
    for line in lines:
        print(json.dumps(asdict(line)), flush=True)
    failed = sum(bool(wrong) for wrong in done.values())
    took_s = time.monotonic() - started_s
    print(f"{len(done)} runs of seed {given.seed} in {took_s:.0f} s: {failed} failed", file=sys.stderr)
    rmtree(root, ignore_errors=True)
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
