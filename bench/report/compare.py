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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from scipy import stats

from bench.config import CompareConfig
from bench.report.data import Report, Result, busy_verdict, load
from bench.report.format import aligned, counted
from bench.report.rows import STAGES, Find, at
from bench.task import ScenarioName, Task
from perception.cli_config import SettingsError

CONFIDENCE: Final = 0.95
"""That all intervals of one comparison hold."""
LEAST_EFFECT: Final = 0.01
LEAST_ROUNDS: Final = 5
LEAST_SHARE: Final = 0.001
"""Accuracy on the same frames has no noise of rounds: a tenth of a point is a change."""
LEAST_COUNTS: Final = {0.5: 7, 0.9: 44, 0.99: 100}
"""How many latencies of a round make one figure of it. A p99 on its own takes 459; here the spread over the
rounds shows how uncertain it is."""
WIDTH: Final = 110
TRIMMED_FROM_ROUNDS: Final = 7
"""From so many rounds up a fifth of them is left out at either end; fewer cannot spare any."""
ROUNDS_PER_TRIMMED: Final = 5
LEAST_NOISE: Final = 0.004
"""Standard deviation of a log ratio, at least: few rounds that happen to agree prove no steadier machine."""

Verdict = Literal["worse", "better", "no difference", "unknown"]
_GROUPS: Final = {
    "changed beyond noise": ("worse", "better"),
    "no difference beyond noise": ("no difference",),
    "too few rounds": ("unknown",),
}
_MACHINE: Final = ("cpu", "cores", "governor", "memory_gb", "gpu", "os", "python")


@dataclass(frozen=True)
class Change:
    """Of B over A: 0.1 is ten percent more."""

    relative: float
    low: float
    high: float

    @property
    def nearest(self) -> float:
        """The end of the interval that is nearer to no change; 0 where no change lies inside."""
        if self.low <= 0 <= self.high:
            return 0.0
        return self.low if self.low > 0 else self.high


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
        """Relative change in the bad direction; below 0 where it is better, 0 where it is unknown."""
        if self.change is None:
            return 0.0
        return -self.change.relative if self.figure.higher_is_better else self.change.relative

    @property
    def word(self) -> str:
        """ "slower", "faster" and their like; nothing without a change."""
        return dict(zip(("worse", "better"), self.figure.words, strict=True)).get(self.verdict, "")


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
    def known(self) -> list[Compared]:
        """What had rounds enough."""
        return [it for it in self.figures if it.verdict != "unknown"]

    @property
    def status(self) -> int:
        """1 if anything failed or was lost; and if nothing is known: such a gate saw nothing."""
        return int(self.fail_over is not None and bool(self.failed or self.lost or not self.known))


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
    theirs = {(it.task.key, it.round): it for it in b.results}
    pairs: dict[str, list[tuple[Result, Result]]] = {}
    for mine in a.results:
        if (other := theirs.get((mine.task.key, mine.round))) is not None:
            pairs.setdefault(mine.task.key, []).append((mine, other))
    found: list[tuple[Task, Figure, list[tuple[float, float]]]] = []
    lost = list(_only("A", a, b))
    for of_task in pairs.values():
        task = of_task[0][0].task
        for figure in FIGURES.get(task.scenario, ()):
            values = [(figure.find(mine.values), figure.find(other.values)) for mine, other in of_task]
            both = [(before, after) for before, after in values if before and after]
            if both:
                found.append((task, figure, both))
            lost += [f"{task.title}: B has no {figure.name}"] * any(it and not its for it, its in values)
    judged = sum(len(both) >= LEAST_ROUNDS for task, _, both in found if task.scenario != "accuracy")
    confidence = 1 - (1 - CONFIDENCE) / max(1, judged)
    return Comparison(
        [_compared(task, figure, both, confidence) for task, figure, both in found],
        [*_warnings(a, b), *_out_of_turn(pairs.values())],
        lost,
        list(_only("B", b, a)),
        fail_over,
    )


def _compared(task: Task, figure: Figure, both: list[tuple[float, float]], confidence: float) -> Compared:
    befores, afters = zip(*both, strict=True)
    change: Change | None = None
    is_beyond = False
    if task.scenario == "accuracy":  # the same frames and the same answers every time
        relative = afters[0] / befores[0] - 1
        change = Change(relative, relative, relative)
        is_beyond = abs(afters[0] - befores[0]) >= LEAST_SHARE
    elif len(both) >= LEAST_ROUNDS:
        change = paired_change(befores, afters, confidence)
        is_beyond = abs(change.nearest) > LEAST_EFFECT
    verdict: Verdict = "unknown" if change is None else "no difference"
    if change is not None and is_beyond:
        verdict = "better" if (change.relative > 0) == figure.higher_is_better else "worse"
    medians = statistics.median(befores), statistics.median(afters)
    return Compared(task, figure, *medians, len(both), change, verdict)


def paired_change(a: Sequence[float], b: Sequence[float], confidence: float) -> Change:
    """Trimmed mean of B over A by round, and its interval.

    Timings of one round share what the machine was doing then, so B over A of the same round is steadier
    than either; their logarithms make twice as slow and twice as fast equally far from no change. Frames
    within a round are not independent, so a round is one sample, however many frames it has (Kalibera and
    Jones, "Rigorous benchmarking in reasonable time", ISMM 2013). Of five to ten rounds a percentile
    bootstrap is too narrow (Hesterberg, "What teachers should know about the bootstrap", The American
    Statistician 69, 2015), so the interval is Student's t, of a trimmed mean (Tukey and McLaughlin, Sankhya
    A 25, 1963; paired: Wilcox, "Introduction to Robust Estimation and Hypothesis Testing"): one disturbed
    round does not decide.

    Args:
        a, b: one positive figure a round, two rounds at least, in the same order of rounds.
    """
    ratios = np.sort(np.log(np.divide(b, a)))
    rounds = len(ratios)
    trimmed = rounds // ROUNDS_PER_TRIMMED if rounds >= TRIMMED_FROM_ROUNDS else 0
    kept = ratios[trimmed : rounds - trimmed]
    # Winsorised: what is trimmed counts as the nearest that is kept, or the spread would be too small.
    deviation = max(np.clip(ratios, kept[0], kept[-1]).std(ddof=1), LEAST_NOISE)
    error = deviation / (len(kept) / rounds * np.sqrt(rounds))
    ends = stats.t.interval(confidence, len(kept) - 1, kept.mean(), error)
    relative, low, high = (float(np.expm1(it)) for it in (kept.mean(), *ends))
    return Change(relative, low, high)


def rows(comparison: Comparison) -> list[str]:
    """For the terminal: warnings, the figures that changed, the others, and what follows; `WIDTH` columns."""
    lines = [f"warning: {warning}" for warning in comparison.warnings]
    lines += [f"lost: {it}" for it in comparison.lost]
    lines += [f"note: {it}" for it in comparison.new]
    if lines:
        lines.append("")
    for title, verdicts in _GROUPS.items():
        if members := [it for it in comparison.figures if it.verdict in verdicts]:
            cells = [_cells(it, it in comparison.failed) for it in members]
            lines += [f"{title}: {counted(len(members), 'figure')}", *aligned([_HEADER, *cells]), ""]
    return [*lines, *_conclusion(comparison)]


_HEADER: Final = ["", "figure", "A", "B", "change", "interval %", ""]


def _cells(it: Compared, is_failed: bool) -> list[str]:
    title = it.task.title if len(it.task.title) <= 38 else f"{it.task.title[:37]}…"
    a, b = (f"{value:.0f}" if value >= 1000 else f"{value:.4g}" for value in (it.a, it.b))
    if it.change is None:
        return [title, it.figure.name, a, b, "", "", f"{LEAST_ROUNDS - it.rounds} more rounds needed"]
    interval = f"{100 * it.change.low:+.1f} to {100 * it.change.high:+.1f}"
    if it.task.scenario == "accuracy":
        interval = "same frames"
    change = f"{100 * it.change.relative:+.1f} %"
    return [title, it.figure.name, a, b, change, interval, it.word + " !" * is_failed]


def _conclusion(comparison: Comparison) -> list[str]:
    """The outcome, in a line or two."""
    if not comparison.figures:
        return ["nothing to compare: the reports have no task of the same round in common"]
    if not comparison.known:
        rounds = max(it.rounds for it in comparison.figures)
        return [
            f"too few rounds: {counted(rounds, 'paired round')}, and at least {LEAST_ROUNDS} are needed, "
            f"{LEAST_ROUNDS - rounds} more; 10 find a change of 10 %"
        ]
    words = [it.word for it in comparison.figures if it.word]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    lines = [f"{counted(len(comparison.known), 'figure')} compared: {counts or 'no difference'} beyond noise"]
    if comparison.fail_over is not None:
        allowed = f"worse by more than {100 * comparison.fail_over:g} %"
        wrong = [f"{len(comparison.failed)} {allowed}"] if comparison.failed else []
        wrong += [f"{len(comparison.lost)} lost"] if comparison.lost else []
        lines.append(f"failed: {', '.join(wrong)}" if wrong else f"passed: nothing is {allowed}, or lost")
    return lines


def _head(config: CompareConfig, a: Report, b: Report) -> list[str]:
    both = (("A", config.a, a), ("B", config.b, b))
    lines = [
        f"{name}: {file}, commit {report.commit or 'unknown'}, {report.started}"
        for name, file, report in both
    ]
    lines += [f"{name} was {busy}" for name, _, report in both if (busy := busy_verdict(report)) is not None]
    changed = [
        f"{name} {a.versions.get(name, 'none')} → {b.versions.get(name, 'none')}"
        for name in sorted(a.versions.keys() | b.versions.keys())
        if a.versions.get(name) != b.versions.get(name)
    ]
    lines += [f"versions: {', '.join(changed)}"] if changed else []
    return [
        *lines,
        f"change: of B over A, trimmed mean over paired rounds; all intervals together hold with "
        f"{100 * CONFIDENCE:.0f} %",
        f"beyond noise: the whole interval is more than {100 * LEAST_EFFECT:.0f} % from no change",
        "",
    ]


def _only(name: str, has: Report, other: Report) -> Iterator[str]:
    known = {result.task.key for result in other.results}
    titles = {it.task.key: it.task.title for it in has.results if it.task.key not in known}
    for title in titles.values():
        yield f"only {name} has {title}"


def _warnings(a: Report, b: Report) -> Iterator[str]:
    """Why a difference may not come from the builds."""
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
            yield f"{name} is partial: its run has not finished"


def _out_of_turn(pairs: Iterable[list[tuple[Result, Result]]]) -> Iterator[str]:
    """A warning where one build's rounds all lie before the other's: the machine changes meanwhile."""
    for of_task in pairs:
        first = [mine.started_unix_s for mine, _ in of_task]
        second = [other.started_unix_s for _, other in of_task]
        is_timed = of_task[0][0].task.scenario != "accuracy" and len(of_task) > 1
        if is_timed and (max(first) < min(second) or max(second) < min(first)):
            yield (
                "not measured in turns: what changed on the machine between the two runs counts as a change; "
                "measure both by --against"
            )
            return


def _latency(share: float) -> Find:
    """Quantile of one round, by nearest rank; what was not delivered has no latency."""

    def find(values: Mapping[str, Any]) -> float | None:
        latencies = [value for value in values["latencies_ms"] if value is not None]
        if len(latencies) < LEAST_COUNTS[share]:
            return None
        return float(np.quantile(latencies, share, method="inverted_cdf"))

    return find


def _share(text: str) -> float:
    """ "5%" is 0.05; raises SettingsError."""
    if not re.fullmatch(r"\d+(\.\d+)?\s*%", text.strip()):
        raise SettingsError(f"--fail-over {text}: write it in percent, such as 5%")
    return float(text.strip().removesuffix("%")) / 100


_LATENCIES: Final = tuple(Figure(f"p{100 * share:.0f} ms", _latency(share)) for share in LEAST_COUNTS)
_FPS: Final = Figure("fps", at("fps"), higher_is_better=True)
_MEMORY: Final = Figure("peak memory MB", at("peak_memory_mb"), words=("more", "less"))
_IOU: Final = (True, ("worse", "better"))

FIGURES: Final[dict[ScenarioName, tuple[Figure, ...]]] = {
    "engine_only": (*_LATENCIES, _FPS),
    "single_stream": (*_LATENCIES, _MEMORY),
    "constant_rate": _LATENCIES,
    "highest_rate": (Figure("highest rate Hz", at("rate_hz"), higher_is_better=True),),
    "offline": (_FPS, Figure("CPU ms a frame", at("cpu_ms_per_frame")), _MEMORY),
    "streams": (_FPS, _MEMORY),
    "stage_cost": tuple(
        Figure(f"{name} CPU ms", at("cpu_ms" if name in ("decode", "overlay") else "steps_cpu_ms", name))
        for name in STAGES
    ),
    "accuracy": (
        Figure("mean IoU", at("mean_iou"), *_IOU),
        Figure("two classes", at("two_classes", "mean_iou"), *_IOU),
    ),
}
"""What is compared of a scenario. Baselines are not: they are the same in both builds."""
