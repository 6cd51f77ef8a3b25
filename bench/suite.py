"""One run of the bench: tasks in interleaved rounds, saved after every one of them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench import gpu
from bench.config import BenchConfig
from bench.meter import warning_now
from bench.plan import Plan, plan
from bench.report.data import Load, Missing, ModelFile, Report, ReportError, Result, load, save, sha256_of
from bench.report.machine import machine, of_installation
from bench.report.page import PAGE_FILES
from bench.road import record_road
from bench.task import Task, TaskError, run_task
from perception.cli.collisions import Input, Target, check_apart
from perception.system.set_aside import is_in_the_way, set_aside

OURS, AGAINST = "report.json", "against.json"
REPORTS: Final = (OURS, AGAINST, "report.html", "report.md")
_FILES: Final = "|".join(name.replace(".", r"\.") for name in (OURS, AGAINST, *PAGE_FILES))
_LASTING: Final = ("models", "versions", "source_sha256", "commit", "machine")
"""What all rounds of a report have in common."""
QUICK_TASK_S: Final = 7.0
"""That one measurement of `--quick` takes in the middle, on two cores of an AMD EPYC (Zen 5)."""
Say = Callable[[str], None]


@dataclass
class Build:
    """An installation of drivable that the rounds are run by."""

    python: str
    file: Path
    """Where its report goes."""
    report: Report

    def knows(self, task: Task, number: int) -> bool:
        """Whether its report has this task of this round."""
        return any(it.round == number and it.task.key == task.key for it in self.report.results)

    def measure(self, task: Task, number: int, road: Path | None) -> None:
        """Add a result to the report, or the reason why there is none, and save it."""
        started_unix_s, load_before = time.time(), os.getloadavg()[0]
        report = replace(self.report, ended=_now())
        try:
            result = Result(task, number, started_unix_s, run_task(task, self.python, road))
        except TaskError as error:
            reason = str(error).removeprefix(f"{task.title}: ")
            self.report = replace(report, missing=[*report.missing, Missing(task.title, reason)])
        else:
            during = replace(report.load, during=[*report.load.during, load_before])
            self.report = replace(report, results=[*report.results, result], load=during)
        save(self.report, self.file)


def folder_of(config: BenchConfig) -> Path:
    """Where the reports go."""
    return Path(config.out or Path("runs/bench") / datetime.now().strftime("%Y%m%d-%H%M%S"))


def run(
    config: BenchConfig, folder: Path, command: str, say: Say, settings_files: Sequence[Path] = ()
) -> Report:
    """Measure what is not measured yet, and keep it after every task: an interrupted run loses one at most.

    Args:
        folder: for the reports; it is made.
        command: as it was typed, for the report.
        say: takes lines of progress.
        settings_files: of `--config`.

    Returns:
        The report of this installation; `against.json` beside it holds the other one's.

    Raises:
        ReportError, OSError, ValueError, EngineError: in one line.
        KeyboardInterrupt: when interrupted; the reports are saved and say that they are partial.
    """
    effective = config.shortened()
    planned = plan(effective, gpu.name_and_driver() is not None)
    _check_out(config, folder, settings_files)
    folder.mkdir(parents=True, exist_ok=True)
    if not config.resume and not config.overwrite:  # what lies there from here on is of this report
        set_aside([file for name in PAGE_FILES if is_in_the_way(file := folder / name)])
    if config.resume and not (folder / OURS).exists():  # it ended before its first task did
        say(f"note: {folder} holds no report to continue; starting a new one")
    pythons = {OURS: sys.executable, **({AGAINST: config.against} if config.against else {})}
    builds = [
        Build(python, folder / name, _begun(python, folder / name, config, planned, command))
        for name, python in pythons.items()
    ]
    todo = [
        (number, task, build)
        for number, task, build in _turns(planned, effective.rounds, builds)
        if not build.knows(task, number)
    ]
    needs = f"; about {_minutes(len(todo) * QUICK_TASK_S)} on two idle cores" if config.quick else ""
    say(f"report: {folder}{needs}")
    if todo and (warning := warning_now()) is not None:
        say(f"warning: {warning}")
    with _road(planned) as road:
        _work_off(todo, road, say)
    for build in builds:
        build.report = replace(build.report, is_partial=False, ended=_now())
        save(build.report, build.file)
    return builds[0].report


def _check_out(config: BenchConfig, folder: Path, settings_files: Sequence[Path]) -> None:
    """Refuse a folder that holds what is measured with, or another report.

    Raises:
        CollisionError, ReportError: in one line.
    """
    inputs = [Input("the settings (--config)", file) for file in settings_files]
    inputs += [Input("the source", Path(config.source)), Input("the label map", Path(config.label_map or ""))]
    inputs += [Input("a model", file) for name in config.models if (file := Path(name)).is_file()]
    inputs += [Input("a plain graph", Path(name)) for name in config.plain]
    inputs = [it for it in inputs if it.path.is_file()]
    if config.data:
        inputs.append(Input("the data", Path(config.data), is_data_set=True))
    check_apart(inputs, [Target("--out", folder, is_folder=True, names=_FILES)])
    if config.resume and not folder.is_dir():
        raise ReportError(f"{folder}: no such folder; there is nothing to continue; leave out --resume")
    there = next((file for name in REPORTS if (file := folder / name).exists()), None)
    if there is not None and not config.resume and not config.overwrite:
        raise ReportError(
            f"{there}: holds a report already; --resume continues it, --overwrite replaces it, --out DIR "
            f"writes elsewhere"
        )


@contextmanager
def _road(planned: Plan) -> Iterator[Path | None]:
    """A recording of the built-in road, if any task plays it: every task and round plays the same."""
    with TemporaryDirectory() as folder:
        plays = any(task.source == "synthetic" for task in planned.every_round)
        yield record_road(Path(folder) / "road.mp4") if plays else None


def _turns(planned: Plan, rounds: int, builds: Sequence[Build]) -> Iterator[tuple[int, Task, Build]]:
    """Round after round; every other one backwards, so that no task is always the first or the second.

    Whatever the machine does meanwhile affects all alike, and a drift of its clock cancels.
    """
    for number in range(rounds):
        tasks = planned.every_round + (planned.once if number == 0 else [])
        step = 1 if number % 2 == 0 else -1
        yield from ((number, task, build) for task in tasks[::step] for build in builds[::step])


def _work_off(todo: Sequence[tuple[int, Task, Build]], road: Path | None, say: Say) -> None:
    """Measure in the given order, with how long the rest takes, by what the same tasks took before."""
    took_s: dict[str, float] = {}
    failed: set[tuple[Path, str]] = set()
    for place, (number, task, build) in enumerate(todo):
        if (build.file, task.key) in failed:
            continue
        by = "" if build.file.name == OURS else f" by {build.python}"
        left = ""
        if took_s:
            usual_s = fmean(took_s.values())
            left_s = sum(took_s.get(later.key, usual_s) for _, later, _ in todo[place:])
            left = f", {_minutes(left_s)} to go"
        say(f"[{place + 1}/{len(todo)}] round {number + 1}: {task.title}{by}{left}")
        started_s = time.monotonic()
        build.measure(task, number, road)
        took_s[task.key] = time.monotonic() - started_s
        if not build.knows(task, number):
            failed.add((build.file, task.key))


def _begun(python: str, file: Path, config: BenchConfig, planned: Plan, command: str) -> Report:
    """A new report, or the one that is there, to be gone on with.

    Raises:
        ReportError: if it was made by other settings, or what it was made with and of has changed since.
    """
    settings = {
        name: value for name, value in asdict(config).items() if name not in ("resume", "overwrite", "out")
    }
    names = sorted({task.model for task in (*planned.every_round, *planned.once)})
    installation = of_installation(python, names)
    new = Report(
        command=command,
        config=settings,
        machine={**machine(), "python": installation["python"]},
        versions=installation["versions"],
        commit=installation["commit"],
        started=_now(),
        ended=_now(),
        results=[],
        load=Load(os.getloadavg()[0], []),
        is_partial=True,
        missing=planned.missing,
        models={name: ModelFile(**facts) for name, facts in installation["models"].items()},
        source_sha256=None if config.source == "synthetic" else sha256_of(Path(config.source)),
    )
    if not file.exists() or not config.resume:
        return new
    found = load(file)
    changed = [name for name in settings if found.config.get(name) != settings[name] and name != "rounds"]
    if changed:
        raise ReportError(
            f"{file}: was measured with other settings ({', '.join(changed)}); name another --out"
        )
    for name in _LASTING:
        if _lasting(getattr(found, name)) != _lasting(getattr(new, name)):
            raise ReportError(f"{file}: its {name} changed since; name another --out")
    return replace(found, command=command, is_partial=True, config=settings, missing=planned.missing)


def _lasting(facts: Any) -> Any:
    """Without the clock, which is never the same twice."""
    return {it: facts[it] for it in facts if it != "clock_mhz"} if isinstance(facts, dict) else facts


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
