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
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench import gpu
from bench.busy import warning_now
from bench.config import BenchConfig
from bench.installation import of_installation
from bench.plan import Plan, plan
from bench.report.data import (
    Load,
    Missing,
    Report,
    ReportError,
    Result,
    load,
    model_of_json,
    save,
    sha256_of,
)
from bench.report.machine import machine
from bench.report.page import PAGE_FILES
from bench.scenarios.offline import recording_of
from bench.task import Task, TaskError, run_task
from perception.cli.collisions import Input, Target, check_apart
from perception.system.set_aside import is_in_the_way, set_aside

OURS, AGAINST = "report.json", "against.json"
REPORTS: Final = (OURS, AGAINST, "report.html", "report.md")
_MUST_STAY: Final = {
    **{"models": "have", "versions": "have"},
    **{"source_sha256": "has", "commit": "has", "machine": "has"},
}
"""What all rounds of a report have in common."""
QUICK_TASK_S: Final = 7.0
"""That one measurement of `--quick` takes in the middle, on two cores of an AMD EPYC (Zen 5)."""
Say = Callable[[str], None]
Turn = tuple[int, Task, int]
"""Number of the round, what is measured, and which build measures it."""


@dataclass(frozen=True)
class Build:
    """An installation of drivable that the rounds are run by."""

    python: str
    file: Path
    """Where its report goes."""


def folder_of(config: BenchConfig) -> Path:
    """Where the reports go."""
    return Path(config.out or Path("runs/bench") / datetime.now().strftime("%Y%m%d-%H%M%S"))


def _check_out(config: BenchConfig, folder: Path, settings_files: Sequence[Path] = ()) -> None:
    """Refuse a folder that holds what is measured with, or another report.

    Args:
        settings_files: of `--config`.

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
    names = r"report\.(json|html|md)|against\.json|(pareto|latency|stage_cost|rates)\.png"
    check_apart(inputs, [Target("--out", folder, is_folder=True, names=names)])
    if config.resume and not folder.is_dir():
        raise ReportError(f"{folder}: no such folder; there is nothing to go on with, leave out --resume")
    there = next((file for name in REPORTS if (file := folder / name).exists()), None)
    if there is not None and not config.resume and not config.overwrite:
        raise ReportError(
            f"{there}: a report lies there; --resume goes on with it, --overwrite begins anew, --out DIR "
            f"begins elsewhere"
        )


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
    builds = [Build(sys.executable, folder / OURS)]
    if config.against:
        builds.append(Build(config.against, folder / AGAINST))
    _check_out(config, folder, settings_files)
    folder.mkdir(parents=True, exist_ok=True)
    if not config.resume and not config.overwrite:  # what lies there from here on is of this report
        set_aside([file for name in PAGE_FILES if is_in_the_way(file := folder / name)])
    if config.resume and not builds[0].file.exists():  # it ended before its first task did
        say(f"note: {folder} holds no report to go on with; it is begun anew")
    reports = [_begun(build, config, planned, command) for build in builds]
    todo = [
        (number, task, which)
        for number, task, which in _in_turns(planned, effective.rounds, len(builds))
        if not _is_known(reports[which], task, number)
    ]
    needs = f"; about {_minutes(len(todo) * QUICK_TASK_S)} on two idle cores" if config.quick else ""
    say(f"report: {folder}{needs}")
    if todo and (warning := warning_now()) is not None:
        say(f"warning: {warning}")
    with _road(planned) as road:
        _work_off(todo, reports, builds, road, say)
    for which, build in enumerate(builds):
        reports[which] = replace(reports[which], is_partial=False, ended=_now())
        save(reports[which], build.file)
    return reports[0]


@contextmanager
def _road(planned: Plan) -> Iterator[Path | None]:
    """A recording of the built-in road, if any task plays it: every task and round plays the same."""
    with TemporaryDirectory() as folder:
        plays = any(task.source == "synthetic" for task in planned.every_round)
        yield Path(recording_of("synthetic", Path(folder))) if plays else None


def _work_off(
    todo: Sequence[Turn], reports: list[Report], builds: Sequence[Build], road: Path | None, say: Say
) -> None:
    """Measure in the given order; `reports` holds what came of it, and is saved after every task."""
    clock = _Clock()
    failed: set[tuple[int, str]] = set()
    for place, (number, task, which) in enumerate(todo):
        if (which, task.key) in failed:
            continue
        left = clock.left_s([later for _, later, _ in todo[place:]])
        by = f" by {builds[which].python}" if which else ""
        say(f"[{place + 1}/{len(todo)}] round {number + 1}: {task.title}{by}{left}")
        with clock.timing(task):
            reports[which] = _measured(reports[which], builds[which], task, number, road)
        if not _is_known(reports[which], task, number):
            failed.add((which, task.key))
        save(reports[which], builds[which].file)


def _in_turns(planned: Plan, rounds: int, builds: int) -> Iterator[Turn]:
    """Round after round; every other one backwards, so that no task is always the first or the second.

    What the machine does meanwhile meets all alike, and a drift of its clock cancels.
    """
    for number in range(rounds):
        tasks = planned.every_round + (planned.once if number == 0 else [])
        for task in tasks if number % 2 == 0 else reversed(tasks):
            for which in range(builds) if number % 2 == 0 else reversed(range(builds)):
                yield number, task, which


def _begun(build: Build, config: BenchConfig, planned: Plan, command: str) -> Report:
    """A new report, or the one that is there, to be gone on with.

    Raises:
        ReportError: if it was made by other settings, or what it was made with and of has changed since.
    """
    settings = {
        name: value for name, value in asdict(config).items() if name not in ("resume", "overwrite", "out")
    }
    names = sorted({task.model for task in (*planned.every_round, *planned.once)})
    installation = of_installation(build.python, names)
    started = _now()
    new = Report(
        command=command,
        config=settings,
        machine={**machine(), "python": installation["python"]},
        versions=installation["versions"],
        commit=installation["commit"],
        started=started,
        ended=started,
        results=[],
        load=Load(os.getloadavg()[0], []),
        is_partial=True,
        missing=planned.missing,
        models={name: model_of_json(told) for name, told in installation["models"].items()},
        source_sha256=None if config.source == "synthetic" else sha256_of(Path(config.source)),
    )
    if not build.file.exists() or not config.resume:
        return new
    found = load(build.file)
    changed = [name for name in settings if found.config.get(name) != settings[name] and name != "rounds"]
    if changed:
        told = ", ".join(changed)
        raise ReportError(f"{build.file}: was measured with other settings ({told}); name another --out")
    for name, verb in _MUST_STAY.items():
        if _lasting(getattr(found, name)) != _lasting(getattr(new, name)):
            raise ReportError(f"{build.file}: its {name} {verb} changed since; name another --out")
    return replace(found, command=command, is_partial=True, config=settings, missing=planned.missing)


def _lasting(told: Any) -> Any:
    """Without the clock, which is never the same twice."""
    return {name: it for name, it in told.items() if name != "clock_mhz"} if isinstance(told, dict) else told


def _is_known(report: Report, task: Task, number: int) -> bool:
    return any(result.round == number and result.task.key == task.key for result in report.results)


def _measured(report: Report, build: Build, task: Task, number: int, road: Path | None) -> Report:
    """With one result more, or with the reason why there is none."""
    started_unix_s = time.time()
    during = [*report.load.during, os.getloadavg()[0]]
    try:
        result = Result(task, number, started_unix_s, run_task(task, build.python, road))
    except TaskError as error:
        reason = str(error).removeprefix(f"{task.title}: ")
        return replace(report, missing=[*report.missing, Missing(task.title, reason)], ended=_now())
    return replace(
        report,
        results=[*report.results, result],
        load=replace(report.load, during=during),
        ended=_now(),
    )


class _Clock:
    """Tells how long it will take yet, by what the same tasks took before."""

    def __init__(self) -> None:
        self._took_s: dict[str, float] = {}

    @contextmanager
    def timing(self, task: Task) -> Iterator[None]:
        """Takes the time of its block."""
        started_s = time.monotonic()
        yield
        self._took_s[task.key] = time.monotonic() - started_s

    def left_s(self, tasks: list[Task]) -> str:
        """ ", 3 min to go"; nothing before the first task has ended."""
        if not self._took_s:
            return ""
        usual_s = sum(self._took_s.values()) / len(self._took_s)
        return f", {_minutes(sum(self._took_s.get(task.key, usual_s) for task in tasks))} to go"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
