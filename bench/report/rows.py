"""From the results of all rounds to one row per model, engine and provider: what the tables and plots show.

Latencies of all rounds are pooled; everything else is the median over the rounds with the lowest and the
highest. Ratios are made within a round, for what the machine did then met both, and then the median is taken.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.quantiles import Quantile, quantile
from bench.report.data import ModelFile, Report, Result
from bench.task import ScenarioName

SHARES: Final = (0.5, 0.9, 0.99, 0.999)
STAGES: Final = ("decode", "preprocess", "infer", "postprocess", "overlay")
BASELINES: Final = ("plain", "model_api")
OUTPUTS: Final = ("class_map", "overlay")


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True)
class Latency:
    """Of the frames of all rounds together."""

    quantiles: dict[float, Quantile]
    """By share: `SHARES`."""
    max_ms: float
    frames: int
    rounds: int
    pooled_ms: list[float]


@dataclass(frozen=True)
class Rate:
    """Frames that come at a constant rate."""

    rate_hz: float
    stall: Mapping[str, Any] | None
    latency: Latency
    """Of every frame that was due."""
    age_ms: Quantile
    """The median age of what was published."""
    dropped: int
    jitter_ms: Spread | None
    held: int
    """In how many of the rounds the rate was held."""


@dataclass(frozen=True)
class Offline:
    """A recording as fast as it goes; ratios by round."""

    to: str
    """class_map, or overlay: the video too."""
    fps: Spread
    frames: int
    """Of one round."""
    cpu_ms: Spread
    """CPU time of a frame."""
    busy_cores: Spread | None
    peak_memory_mb: Spread | None
    watts: Spread | None
    of_bound: Spread | None
    """fps over what the CPU work of a frame allows, if all cores did nothing else."""
    of_engine: Spread | None
    """fps over the session's alone."""
    over_stages: Spread | None
    """CPU time over the sum of the stages measured alone: what joins them, and caches that they share."""
    over_turns: Spread | None
    """CPU time over that of one thread that takes each frame through all stages: the pipeline's own work."""
    over_plain: Spread | None
    over_model_api: Spread | None


@dataclass(frozen=True)
class Streams:
    """Several recordings at once."""

    streams: int
    fps: Spread
    """Of all together."""
    slowest_fps: Spread
    fastest_fps: Spread
    peak_memory_mb: Spread | None


@dataclass(frozen=True)
class Stages:
    """What each stage costs alone, in CPU ms a frame."""

    cpu_ms: dict[str, Spread]
    """By name, in the order of `STAGES`, with the stage on every core at once."""
    quiet_ms: Spread
    """All of them together, on one core while the others idle."""
    bound_fps: dict[str, Spread]
    """By what is written: class_map, overlay."""
    cores: int
    frames: int


@dataclass(frozen=True)
class AccuracyFigures:
    """Shares of 0 to 1; None where a network or a card does not tell."""

    origin: str
    """ "measured on test", or "from the card (test)"."""
    frames: int
    recordings: int
    mean_iou: float | None
    interval: tuple[float, float] | None
    iou: dict[str, float | None]
    two_classes: float | None
    two_classes_interval: tuple[float, float] | None
    conditions: dict[str, float | None]
    """Mean IoU by day and by night."""
    boundary_iou: float | None = None
    calibration_error: float | None = None
    same_under_load: bool | None = None

    @property
    def short_origin(self) -> str:
        """ "test", or "card (test)"."""
        return self.origin.removeprefix("measured on ").removeprefix("from the ")


@dataclass(frozen=True)
class Row:
    """One model on one engine."""

    model: str
    engine: str
    provider: str
    file: ModelFile | None
    engine_only: Latency | None
    engine_fps: Spread | None
    single: Latency | None
    stage_ms: dict[str, Spread]
    """Of the single stream: by name."""
    busy_cores: Spread | None
    """Of the single stream; as memory and power."""
    peak_memory_mb: Spread | None
    watts: Spread | None
    rates: list[Rate]
    highest_rate_hz: Spread | None
    """0 in a round that held none."""
    offline: list[Offline]
    streams: list[Streams]
    stages: Stages | None
    accuracy: AccuracyFigures | None

    @property
    def name(self) -> str:
        """The model's own name."""
        return Path(self.model).stem

    @property
    def place(self) -> str:
        """What ran it."""
        return self.engine if self.provider == "cpu" else f"{self.engine} {self.provider}"

    @property
    def size_mb(self) -> float | None:
        """Of the model file."""
        return None if self.file is None else self.file.size_bytes / 1e6


def rows_of(report: Report) -> list[Row]:
    """One row for each model, engine and provider, in the order that they were measured in."""
    places = dict.fromkeys(
        (it.task.model, it.task.engine, it.task.provider)
        for it in report.results
        if it.task.scenario not in BASELINES
    )
    return [_row(report, *place) for place in places]


def spread_of(values: Sequence[float | None]) -> Spread | None:
    """Of what there is; None where there is nothing."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    return Spread(statistics.median(known), min(known), max(known), len(known))


def card_accuracy(file: ModelFile | None) -> AccuracyFigures | None:
    """What a model's card tells of its accuracy; None where it was exported without data."""
    if file is None or not file.accuracy:
        return None
    return _accuracy(file.accuracy, f"from the card ({file.accuracy.get('split', 'unknown split')})")


def _row(report: Report, model: str, engine: str, provider: str) -> Row:
    def found(scenario: ScenarioName) -> list[Result]:
        place = (scenario, model, engine, provider)
        return [
            it
            for it in report.results
            if (it.task.scenario, it.task.model, it.task.engine, it.task.provider) == place
        ]

    engine_only, single, stages, measured = (
        found("engine_only"),
        found("single_stream"),
        found("stage_cost"),
        found("accuracy"),
    )
    highest = [it.values["rate_hz"] or 0.0 for it in found("highest_rate")]
    file = report.models.get(model)
    # The card tells what ONNX Runtime came to on a CPU, and the baselines run there.
    is_as_exported = (engine, provider) == ("onnx", "cpu")
    accuracy = card_accuracy(file) if is_as_exported else None
    if measured:
        values = measured[0].values
        accuracy = _accuracy(values, f"measured on {values['split']}")
    baselines = {
        name: [
            it
            for it in report.results
            if provider == "cpu" and it.task.scenario == name and it.task.model == model
        ]
        for name in BASELINES
    }
    return Row(
        model=model,
        engine=engine,
        provider=provider,
        file=file,
        engine_only=_latency(engine_only),
        engine_fps=_over(engine_only, "fps"),
        single=_latency(single),
        stage_ms=_each(single, lambda values: values["stage_ms"]),
        busy_cores=_over(single, "busy_cores"),
        peak_memory_mb=_over(single, "peak_memory_mb"),
        watts=_over(single, "watts"),
        rates=[_rate(group) for group in _groups(found("constant_rate"), _rate_key)],
        highest_rate_hz=spread_of(highest),
        offline=[
            _offline(group, engine_only, stages, baselines)
            for group in _groups(found("offline"), lambda values: values["to"])
        ],
        streams=[_streams(group) for group in _groups(found("streams"), lambda values: values["streams"])],
        stages=_stages(stages),
        accuracy=accuracy,
    )


def _latency(results: Sequence[Result]) -> Latency | None:
    pooled_ms = [float(value) for it in results for value in it.values["latencies_ms"] if value is not None]
    if not pooled_ms:
        return None
    quantiles = {share: quantile(pooled_ms, share) for share in SHARES}
    return Latency(quantiles, max(pooled_ms), len(pooled_ms), len(results), pooled_ms)


def _rate_key(values: Mapping[str, Any]) -> tuple[float, str]:
    return values["rate_hz"], str(values["stall"])


def _rate(results: Sequence[Result]) -> Rate:
    first = results[0].values
    latency = _latency(results)
    if latency is None:  # a run without a frame that was due is none
        latency = Latency({share: quantile([], share) for share in SHARES}, math.nan, 0, len(results), [])
    return Rate(
        rate_hz=first["rate_hz"],
        stall=first["stall"],
        latency=latency,
        age_ms=quantile([age for it in results for age in it.values["ages_ms"]], 0.5),
        dropped=sum(it.values["dropped"] for it in results),
        jitter_ms=_over(results, "jitter_ms"),
        held=sum(bool(it.values["held"]) for it in results),
    )


def _offline(
    results: Sequence[Result],
    engine_only: Sequence[Result],
    stages: Sequence[Result],
    baselines: Mapping[str, Sequence[Result]],
) -> Offline:
    to = results[0].values["to"]
    names = ("decode", "predict", "overlay") if to == "overlay" else ("decode", "predict")
    plain = [it for it in baselines["plain"] if it.values["to"] == to]
    model_api = baselines["model_api"] if to == "class_map" else []  # it draws no video
    fps, cpu_ms = _number("fps"), _number("cpu_ms_per_frame")
    return Offline(
        to=to,
        fps=_always(_over(results, "fps")),
        frames=results[0].values["frames"],
        cpu_ms=_always(_over(results, "cpu_ms_per_frame")),
        busy_cores=_over(results, "busy_cores"),
        peak_memory_mb=_over(results, "peak_memory_mb"),
        watts=_over(results, "watts"),
        of_bound=_ratio(results, fps, stages, lambda values: values["bound_fps"][to]),
        of_engine=_ratio(results, fps, engine_only, fps),
        over_stages=_ratio(
            results, cpu_ms, stages, lambda values: sum(values["cpu_ms"][name] for name in names)
        ),
        over_turns=_ratio(results, cpu_ms, stages, lambda values: values.get("turns_cpu_ms", {}).get(to)),
        over_plain=_ratio(results, fps, plain, fps),
        over_model_api=_ratio(results, fps, model_api, fps),
    )


def _streams(results: Sequence[Result]) -> Streams:
    def over(choose: Callable[[Sequence[float]], float]) -> Spread:
        return _always(spread_of([choose(it.values["fps_by_stream"]) for it in results]))

    return Streams(
        streams=results[0].values["streams"],
        fps=_always(_over(results, "fps")),
        slowest_fps=over(min),
        fastest_fps=over(max),
        peak_memory_mb=_over(results, "peak_memory_mb"),
    )


def _stages(results: Sequence[Result]) -> Stages | None:
    if not results:
        return None

    def costs(values: Mapping[str, Any]) -> dict[str, float]:
        alone = {name: values["cpu_ms"][name] for name in ("decode", "overlay")}
        return {name: (alone | values["steps_cpu_ms"])[name] for name in STAGES}

    first = results[0].values
    return Stages(
        cpu_ms=_each(results, costs),
        quiet_ms=_always(spread_of([sum(it.values["quiet_cpu_ms"].values()) for it in results])),
        bound_fps=_each(results, lambda values: values["bound_fps"]),
        cores=first["cores"],
        frames=first["frames"],
    )


def _accuracy(told: Mapping[str, Any], origin: str) -> AccuracyFigures:
    """The scenario's values and the card's have the same names; a network of two classes has no others."""
    two = told.get("two_classes") or {}
    return AccuracyFigures(
        origin=origin,
        frames=told["frames"],
        recordings=told["recordings"],
        mean_iou=told.get("mean_iou"),
        interval=_interval(told.get("interval")),
        iou=dict(told.get("iou") or two.get("iou") or {}),
        two_classes=two.get("mean_iou"),
        two_classes_interval=_interval(two.get("interval")),
        conditions={name: it["mean_iou"] for name, it in (told.get("conditions") or {}).items()},
        boundary_iou=told.get("boundary_iou"),
        calibration_error=told.get("calibration_error"),
        same_under_load=told.get("same_under_load"),
    )


def _interval(ends: Sequence[float | None] | None) -> tuple[float, float] | None:
    if not ends or ends[0] is None or ends[1] is None:
        return None
    return ends[0], ends[1]


def _groups(results: Sequence[Result], key: Callable[[Mapping[str, Any]], Any]) -> list[list[Result]]:
    """Results of the same kind, in the order of their keys."""
    groups: dict[Any, list[Result]] = {}
    for it in results:
        groups.setdefault(key(it.values), []).append(it)
    return [groups[found] for found in sorted(groups)]


def _number(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda values: values[name]


def _over(results: Sequence[Result], name: str) -> Spread | None:
    return spread_of([it.values[name] for it in results])


def _each(
    results: Sequence[Result], find: Callable[[Mapping[str, Any]], Mapping[str, float]]
) -> dict[str, Spread]:
    """The spread of each number of a dict that every result has."""
    columns: dict[str, list[float]] = {}
    for it in results:
        for name, value in find(it.values).items():
            columns.setdefault(name, []).append(value)
    spreads = {name: spread_of(values) for name, values in columns.items()}
    return {name: spread for name, spread in spreads.items() if spread is not None}


def _ratio(
    above: Sequence[Result],
    find_above: Callable[[Mapping[str, Any]], float | None],
    below: Sequence[Result],
    find_below: Callable[[Mapping[str, Any]], float | None],
) -> Spread | None:
    """Of the same round; None where no round has both."""
    by_round = {it.round: find_below(it.values) for it in below}
    ratios = []
    for it in above:
        top, bottom = find_above(it.values), by_round.get(it.round)
        ratios.append(top / bottom if top is not None and bottom else None)
    return spread_of(ratios)


def _always(spread: Spread | None) -> Spread:
    if spread is None:
        raise ValueError("a report without a number where every result has one; measure again")
    return spread
