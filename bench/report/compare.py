"""Two builds, measured in turns: which figures changed beyond noise, and whether any is worse than allowed.

Every figure of a report that has a better direction is compared, many at once, and a build compared with
itself should come out as the same. So the intervals are made to hold for all figures together (Bonferroni),
and a change counts as beyond noise where its whole interval is beyond `LEAST_EFFECT`. How code happens to
lie in memory moves speed by about as much (Mytkowicz and others, "Producing wrong data without doing
anything obviously wrong!", ASPLOS 2009). Simulated in tests/bench/report/test_compare.py.

`--fail-over 5%` fails where a figure is worse beyond noise, by that rule, and its estimate is over 5 %. The
interval decides whether there is a change at all, the estimate how large it is.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from bench.config import CompareConfig
from bench.report.data import Report, Result, busy_verdict, load
from bench.report.paired import Change, paired_change
from bench.task import ScenarioName, Task

CONFIDENCE: Final = 0.95
"""That all intervals of one comparison hold."""
LEAST_EFFECT: Final = 0.01
LEAST_ROUNDS: Final = 5
LEAST_SHARE: Final = 0.001
"""Accuracy on the same frames has no noise of rounds: from a tenth of a point up it is told."""
LEAST_COUNTS: Final = {0.5: 7, 0.9: 44, 0.99: 100}
"""How many latencies of a round make one figure of it. A p99 to be told alone takes 459; here the spread
over the rounds tells how uncertain it is."""

Verdict = Literal["worse", "better", "no difference", "cannot be told"]
Find = Callable[[Mapping[str, Any]], float | None]

WIDTH: Final = 110
_MACHINE: Final = ("cpu", "cores", "governor", "memory_gb", "gpu", "os", "python")


@dataclass(frozen=True)
class Figure:
    """One number of a result, and which way is better."""

    name: str
    find: Find
    higher_is_better: bool = False
    words: tuple[str, str] = ("slower", "faster")
    """Worse, and better."""


@dataclass(frozen=True)
class Compared:
    """One figure of one task in both builds."""

    task: Task
    figure: Figure
    a: float
    """Median over the paired rounds; as `b`."""
    b: float
    rounds: int
    change: Change | None
    """None where there are too few rounds."""
    verdict: Verdict

    @property
    def worse_by(self) -> float:
        """Relative change in the bad direction; below 0 where it is better, 0 where nothing can be told."""
        if self.change is None:
            return 0.0
        return -self.change.relative if self.figure.higher_is_better else self.change.relative


@dataclass(frozen=True)
class Comparison:
    """What became of every figure that both reports have."""

    figures: list[Compared]
    warnings: list[str]
    lost: list[str]
    """What A has and B has not, tasks and figures: a build that does not run is no faster."""
    new: list[str]
    """Tasks that B alone has."""
    fail_over: float | None

    @property
    def failed(self) -> list[Compared]:
        """What is worse by more than allowed."""
        if self.fail_over is None:
            return []
        return [it for it in self.figures if it.verdict == "worse" and it.worse_by > self.fail_over]

    @property
    def is_told(self) -> bool:
        """Whether anything could be compared."""
        return any(it.verdict != "cannot be told" for it in self.figures)

    @property
    def status(self) -> int:
        """1 if anything failed or was lost; and if nothing could be told: such a gate saw nothing."""
        return int(self.fail_over is not None and bool(self.failed or self.lost or not self.is_told))


def run(config: CompareConfig) -> tuple[list[str], int]:
    """Rows to print, and the exit status.

    Raises:
        ReportError, OSError, ValueError: in one line.
    """
    fail_over = None if config.fail_over is None else _share(config.fail_over)
    a, b = load(Path(config.a)), load(Path(config.b))
    comparison = compare(a, b, fail_over)
    return [*_head(config, a, b), *rows(comparison)], comparison.status


def compare(a: Report, b: Report, fail_over: float | None = None) -> Comparison:
    """B beside A, round by round, for every task and figure that both have.

    Args:
        fail_over: the share by which nothing may be worse; None allows everything.
    """
    pairs = _pairs(a, b)
    shared = list(dict.fromkeys(result.task.key for result, _ in pairs))
    found: list[tuple[Task, Figure, list[tuple[float, float]]]] = []
    lost = list(_only("A", a, b))
    for key in shared:
        of_task = [(mine, theirs) for mine, theirs in pairs if mine.task.key == key]
        task = of_task[0][0].task
        for figure in FIGURES.get(task.scenario, ()):
            values = [(figure.find(mine.values), figure.find(theirs.values)) for mine, theirs in of_task]
            both = [(before, after) for before, after in values if before and after]
            if both:
                found.append((task, figure, both))
            lost += [f"{title_of(task)}: B has no {figure.name}"] * any(it and not its for it, its in values)
    counted = sum(len(both) >= LEAST_ROUNDS for task, _, both in found if task.scenario != "accuracy")
    confidence = 1 - (1 - CONFIDENCE) / max(1, counted)
    return Comparison(
        [_compared(task, figure, both, confidence) for task, figure, both in found],
        [*_warnings(a, b), *_out_of_turn(pairs)],
        lost,
        list(_only("B", b, a)),
        fail_over,
    )


def _compared(task: Task, figure: Figure, both: list[tuple[float, float]], confidence: float) -> Compared:
    befores, afters = [before for before, _ in both], [after for _, after in both]
    change: Change | None = None
    is_beyond = False
    if task.scenario == "accuracy":  # the same frames and the same answers every time
        relative = afters[0] / befores[0] - 1
        change = Change(relative, relative, relative, len(both))
        is_beyond = abs(afters[0] - befores[0]) >= LEAST_SHARE
    elif len(both) >= LEAST_ROUNDS:
        change = paired_change(befores, afters, confidence)
        is_beyond = abs(change.nearest) > LEAST_EFFECT
    verdict: Verdict = "cannot be told" if change is None else "no difference"
    if change is not None and is_beyond:
        verdict = "better" if (change.relative > 0) == figure.higher_is_better else "worse"
    medians = statistics.median(befores), statistics.median(afters)
    return Compared(task, figure, *medians, len(both), change, verdict)


def rows(comparison: Comparison) -> list[str]:
    """For the terminal: warnings, the figures that changed, the others, and what follows; `WIDTH` columns."""
    told = [f"warning: {warning}" for warning in comparison.warnings]
    told += [f"lost: {it}" for it in comparison.lost]
    told += [f"note: {it}" for it in comparison.new]
    if told:
        told.append("")
    groups: dict[str, list[Compared]] = {}
    for it in comparison.figures:
        group = "changed beyond noise" if it.verdict in ("worse", "better") else "no difference beyond noise"
        groups.setdefault("too few rounds" if it.verdict == "cannot be told" else group, []).append(it)
    for group in ("changed beyond noise", "no difference beyond noise", "too few rounds"):
        if members := groups.get(group):
            told += [f"{group}: {_plural(len(members), 'figure')}", _HEADER]
            told += [_row(it, comparison) for it in members] + [""]
    return [*told, *_conclusion(comparison)]


_HEADER: Final = f"{'':39}{'figure':>17}{'A':>8}{'B':>8}{'change':>9}{'interval %':>16}"


def _row(it: Compared, comparison: Comparison) -> str:
    title = title_of(it.task)
    title = title if len(title) <= 39 else f"{title[:38]}…"
    figures = f"{title:39}{it.figure.name:>17}{_short(it.a):>8}{_short(it.b):>8}"
    if it.change is None:
        return f"{figures}   {it.rounds} of {LEAST_ROUNDS} rounds, {LEAST_ROUNDS - it.rounds} more needed"
    interval = f"{_percent(it.change.low)} to {_percent(it.change.high)}"
    if it.task.scenario == "accuracy":
        interval = "same frames"
    verdict = {"worse": it.figure.words[0], "better": it.figure.words[1]}.get(it.verdict, "")
    mark = " !" if it in comparison.failed else ""
    return f"{figures}{_percent(it.change.relative) + ' %':>9}{interval:>16}  {verdict}{mark}".rstrip()


def title_of(task: Task) -> str:
    """A task in few words: what it is, and the option that tells it from its like."""
    on = "" if task.provider == "cpu" else f" {task.provider}"
    name, options = f"{Path(task.model).stem} {task.engine}{on}", task.options
    scenario = task.scenario.replace("_", " ")
    if task.scenario == "constant_rate" and "rate_hz" in options:
        return f"{name} at {options['rate_hz']:g} Hz{', stalled' if options.get('stall_ms') else ''}"
    if task.scenario == "offline" and "to" in options:
        return f"{name} offline, {options['to'].replace('_', ' ')}"
    if task.scenario == "streams" and "streams" in options:
        return f"{name} {options['streams']} streams"
    return f"{name} {scenario}"


def _conclusion(comparison: Comparison) -> list[str]:
    """What is the matter, in a line or two."""
    if not comparison.figures:
        return ["nothing can be told: the reports have no task of the same round in common"]
    if not comparison.is_told:
        rounds = max(it.rounds for it in comparison.figures)
        return [
            f"nothing can be told from {_plural(rounds, 'paired round')}: at least {LEAST_ROUNDS} are "
            f"needed, {LEAST_ROUNDS - rounds} more; 10 find a change of 10 %"
        ]
    changed = [it for it in comparison.figures if it.verdict in ("worse", "better")]
    compared = sum(it.verdict != "cannot be told" for it in comparison.figures)
    verdicts = [it.figure.words[0 if it.verdict == "worse" else 1] for it in changed]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in dict.fromkeys(verdicts))
    told = [f"{_plural(compared, 'figure')} compared: {counts or 'no difference'} beyond noise"]
    if comparison.fail_over is not None:
        allowed = f"worse by more than {100 * comparison.fail_over:g} %"
        wrong = [f"{len(comparison.failed)} {allowed}"] if comparison.failed else []
        wrong += [f"{len(comparison.lost)} lost"] if comparison.lost else []
        told.append(f"failed: {', '.join(wrong)}" if wrong else f"passed: nothing is {allowed}, or lost")
    return told


def _head(config: CompareConfig, a: Report, b: Report) -> list[str]:
    told = [
        f"{name}: {file}, commit {report.commit or 'unknown'}, {report.started}"
        for name, file, report in (("A", config.a, a), ("B", config.b, b))
    ]
    told += [
        f"{name} was {said}"
        for name, report in (("A", a), ("B", b))
        if (said := busy_verdict(report)) is not None
    ]
    changed = [
        f"{name} {a.versions.get(name, 'none')} → {b.versions.get(name, 'none')}"
        for name in sorted(a.versions.keys() | b.versions.keys())
        if a.versions.get(name) != b.versions.get(name)
    ]
    told += [f"versions: {', '.join(changed)}"] if changed else []
    return [
        *told,
        f"change: of B over A, trimmed mean over paired rounds; the intervals hold all together with "
        f"{100 * CONFIDENCE:.0f} %",
        f"beyond noise: the whole interval is more than {100 * LEAST_EFFECT:.0f} % from no change",
        "",
    ]


def _pairs(a: Report, b: Report) -> list[tuple[Result, Result]]:
    """Results of the same task and the same round, in the order of A."""
    theirs = {(result.task.key, result.round): result for result in b.results}
    mine = {(result.task.key, result.round): result for result in a.results}
    return [(result, theirs[place]) for place, result in mine.items() if place in theirs]


def _only(name: str, has: Report, other: Report) -> Iterator[str]:
    known = {result.task.key for result in other.results}
    titles = {it.task.key: it.task.title for it in has.results if it.task.key not in known}
    for title in titles.values():
        yield f"only {name} has {title}"


def _warnings(a: Report, b: Report) -> Iterator[str]:
    """Why a difference may be none of the builds'."""
    for name in _MACHINE:
        if a.machine.get(name) != b.machine.get(name):
            yield f"other machine: {name} is {a.machine.get(name)} in A and {b.machine.get(name)} in B"
    if a.source_sha256 != b.source_sha256:
        yield "other source: the checksums of the video differ"
    for model in sorted(a.models.keys() & b.models.keys()):
        if a.models[model].sha256 != b.models[model].sha256:
            yield f"other model file: the checksums of {model} differ"
    for name, report in (("A", a), ("B", b)):
        if report.is_partial:
            yield f"{name} is partial: its run has not come to its end"


def _out_of_turn(pairs: list[tuple[Result, Result]]) -> Iterator[str]:
    """A warning where one build's rounds all lie before the other's: the machine changes meanwhile."""
    apart = 0
    keys = {mine.task.key for mine, _ in pairs if mine.task.scenario != "accuracy"}
    for key in keys:
        starts = [
            (mine.started_unix_s, theirs.started_unix_s) for mine, theirs in pairs if mine.task.key == key
        ]
        first, second = [start for start, _ in starts], [start for _, start in starts]
        apart += len(starts) > 1 and (max(first) < min(second) or max(second) < min(first))
    if apart:
        yield (
            "not measured in turns: what changed on the machine between the two runs counts as a change; "
            "measure both by --against"
        )


def _at(*path: str) -> Find:
    """The number at a place in the values; None where there is none."""

    def find(values: Mapping[str, Any]) -> float | None:
        value: Any = values
        for name in path:
            value = None if value is None else value.get(name)
        return None if value is None else float(value)

    return find


def _latency(share: float) -> Find:
    """Quantile of one round, by nearest rank; what was not delivered has no latency."""

    def find(values: Mapping[str, Any]) -> float | None:
        latencies = [value for value in values["latencies_ms"] if value is not None]
        if len(latencies) < LEAST_COUNTS[share]:
            return None
        return float(np.quantile(latencies, share, method="inverted_cdf"))

    return find


_LATENCIES: Final = tuple(Figure(f"p{100 * share:.0f} ms", _latency(share)) for share in LEAST_COUNTS)
_FPS: Final = Figure("fps", _at("fps"), higher_is_better=True)
_MEMORY: Final = Figure("peak memory MB", _at("peak_memory_mb"), words=("more", "less"))
_MORE_ACCURATE: Final = ("worse", "better")

FIGURES: Final[dict[ScenarioName, tuple[Figure, ...]]] = {
    "engine_only": (*_LATENCIES, _FPS),
    "single_stream": (*_LATENCIES, _MEMORY),
    "constant_rate": _LATENCIES,
    "highest_rate": (Figure("highest rate Hz", _at("rate_hz"), higher_is_better=True),),
    "offline": (_FPS, Figure("CPU ms a frame", _at("cpu_ms_per_frame")), _MEMORY),
    "streams": (_FPS, _MEMORY),
    "stage_cost": (
        Figure("decode CPU ms", _at("cpu_ms", "decode")),
        Figure("preprocess CPU ms", _at("steps_cpu_ms", "preprocess")),
        Figure("infer CPU ms", _at("steps_cpu_ms", "infer")),
        Figure("postprocess CPU ms", _at("steps_cpu_ms", "postprocess")),
        Figure("overlay CPU ms", _at("cpu_ms", "overlay")),
    ),
    "accuracy": (
        Figure("mean IoU", _at("mean_iou"), True, _MORE_ACCURATE),
        Figure("two classes", _at("two_classes", "mean_iou"), True, _MORE_ACCURATE),
    ),
}
"""What is compared of a scenario. Baselines are not: they are the same in both builds."""


def _share(text: str) -> float:
    """ "5%" is 0.05; raises ValueError."""
    if not re.fullmatch(r"\d+(\.\d+)?\s*%", text.strip()):
        raise ValueError(f"--fail-over {text}: write it in percent, such as 5%")
    return float(text.strip().removesuffix("%")) / 100


def _percent(share: float) -> str:
    return f"{100 * share:+.1f}"


def _short(value: float) -> str:
    """Four figures, no exponent."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
