"""The report's tables: one for each scenario, every cell as it is to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.report.format import NONE, counted, number, percent, quantile_of, share, spread, times
from bench.report.rows import SHARES, STAGES, Accuracy, Rounds, Row, Spread, at

OUTPUTS: Final = {"class_map": "class map", "overlay": "overlay"}

Cell = Callable[[Row, Rounds], str]


@dataclass(frozen=True)
class Table:
    """Headers, and cells below them."""

    scenario: str
    """Short name, for a link."""
    title: str
    columns: list[str]
    """The first names the row; the others hold numbers."""
    rows: list[list[str]]
    note: str
    """What the numbers are, and of how many rounds."""


def tables(rows: Sequence[Row]) -> list[Table]:
    """One table for everything that was measured; none for what was not."""
    made = (_latency, _rates, _offline, _baselines, _stage_cost, _streams, _accuracy)
    return [table for make in made if (table := make(rows)).rows]


def _table(*head: str, of: Sequence[tuple[Row, Rounds]], columns: Mapping[str, Cell]) -> Table:
    """Scenario, title and note, and a row for each group of results.

    In the note, `{rounds}` stands for how many there were.
    """
    scenario, title, note = head
    counts = sorted({len(rounds) for _, rounds in of if len(rounds)})
    rounds = " or ".join([*(str(it) for it in counts[:-1]), *(counted(it, "round") for it in counts[-1:])])
    cells = [[row.label, *(cell(row, it) for cell in columns.values())] for row, it in of]
    return Table(scenario, title, ["model, engine", *columns], cells, note.format(rounds=rounds))


def _median(name: str) -> Cell:
    return lambda _, it: spread(it.spread(name), with_range=False)


def _range(name: str) -> Cell:
    return lambda _, it: spread(it.spread(name))


def _output(_: Row, it: Rounds) -> str:
    return OUTPUTS[it.first["to"]]


def _by_output(row: Row) -> list[Rounds]:
    return row.groups("offline", lambda values: values["to"])


def _latency(rows: Sequence[Row]) -> Table:
    def quantile(share: float) -> Cell:
        return lambda _, it: quantile_of(it.latencies_ms, share, with_interval=share != 0.9)

    def engine_alone(row: Row, _: Rounds) -> str:
        return quantile_of(row.rounds("engine_only").latencies_ms, 0.5, with_interval=False)

    return _table(
        "single_stream",
        "Latency, one frame after the other",
        "From the decoded frame to its class map, all threads on one frame; the frames of {rounds} pooled. "
        "In brackets 95 % intervals. +N frames: the quantile needs so many more. Engine alone: the network "
        "without pre- and postprocessing.",
        of=[(row, it) for row in rows if len(it := row.rounds("single_stream"))],
        columns={
            **{f"p{100 * share:g}, ms": quantile(share) for share in SHARES},
            "max, ms": lambda _, it: number(max(it.latencies_ms, default=None)),
            "engine alone p50, ms": engine_alone,
            "frames": lambda _, it: f"{len(it.latencies_ms):,}",
        },
    )


def _rates(rows: Sequence[Row]) -> Table:
    def measured(cell: Callable[[Rounds], str]) -> Cell:
        return lambda _, it: cell(it) if len(it) else NONE

    def highest(row: Row, it: Rounds) -> str:
        is_first = not row.rates or it.results == row.rates[0].results
        return spread(row.highest_rate_hz, zero="none") if is_first else ""

    searched = [(row, Rounds([])) for row in rows if not row.rates and row.highest_rate_hz is not None]
    return _table(
        "constant_rate",
        "Frames at a constant rate",
        "Latency of every frame that was due. Age: median. Jitter: p99 of how far publications are from one "
        "period apart. Held: no frame dropped and the p99 (below 459 frames, the maximum) within one period. "
        "Highest rate held: found by search; median over the rounds, in brackets lowest and highest.",
        of=[*((row, it) for row in rows for it in row.rates), *searched],
        columns={
            "camera, Hz": measured(
                lambda it: f"{it.first['rate_hz']:g}{' stalled' if it.first['stall'] else ''}"
            ),
            "p50, ms": measured(lambda it: quantile_of(it.latencies_ms, 0.5, with_interval=False)),
            "p99, ms": measured(lambda it: quantile_of(it.latencies_ms, 0.99)),
            "max, ms": measured(lambda it: number(max(it.latencies_ms, default=None))),
            "age when published, ms": measured(
                lambda it: quantile_of(it.pooled("ages_ms"), 0.5, with_interval=False)
            ),
            "jitter, ms": measured(lambda it: spread(it.spread("jitter_ms"), with_range=False)),
            "dropped of due": measured(lambda it: f"{it.sum('dropped'):,}/{len(it.latencies_ms):,}"),
            "rounds held": measured(lambda it: f"{it.sum('held')}/{len(it)}"),
            "highest rate held, Hz": highest,
        },
    )


def _offline(rows: Sequence[Row]) -> Table:
    cpu_ms = at("cpu_ms_per_frame")

    def of_limit(row: Row, it: Rounds) -> str:
        return percent(it.over(at("fps"), row.rounds("stage_cost"), at("bound_fps", it.first["to"])))

    def of_engine(row: Row, it: Rounds) -> str:
        return percent(it.over(at("fps"), row.rounds("engine_only"), at("fps")))

    def over_stages(row: Row, it: Rounds) -> str:
        steps = ("decode", "predict") if it.first["to"] == "class_map" else ("decode", "predict", "overlay")

        def stages_ms(values: Mapping[str, Any]) -> float:
            return sum(float(values["cpu_ms"][name]) for name in steps)

        return times(it.over(cpu_ms, row.rounds("stage_cost"), stages_ms))

    def over_turns(row: Row, it: Rounds) -> str:
        return times(it.over(cpu_ms, row.rounds("stage_cost"), at("turns_cpu_ms", it.first["to"])))

    return _table(
        "offline",
        "A recording as fast as it goes",
        "Medians over {rounds}, in brackets lowest and highest; ratios by round. CPU limit: what the CPU "
        "time of a frame's stages allows on all cores. Engine alone: the network with nothing around it. CPU "
        "over stages alone: CPU time over that of the stages, each measured alone. CPU over one thread: over "
        "that of one thread a core that takes each frame through all stages.",
        of=[(row, it) for row in rows for it in _by_output(row)],
        columns={
            "output": _output,
            "frames a second": _range("fps"),
            "share of CPU limit": of_limit,
            "share of engine alone": of_engine,
            "CPU ms a frame": _median("cpu_ms_per_frame"),
            "CPU over stages alone": over_stages,
            "CPU over one thread": over_turns,
            "cores busy": _median("busy_cores"),
            "peak memory, MB": _median("peak_memory_mb"),
            "power, W": _median("watts"),
        },
    )


def _baselines(rows: Sequence[Row]) -> Table:
    def over_plain(row: Row, it: Rounds) -> Spread | None:
        return it.over(at("fps"), row.rounds("plain", to=it.first["to"]), at("fps"))

    def over_model_api(row: Row, it: Rounds) -> Spread | None:
        draws = it.first["to"] == "overlay"  # which it does not
        return None if draws else it.over(at("fps"), row.rounds("model_api"), at("fps"))

    found = [(row, it) for row in rows for it in _by_output(row)]
    return _table(
        "baselines",
        "Compared with other loops",
        "How many times as many frames a second as a plain OpenCV + ONNX Runtime loop, and as "
        "openvino-model-api's pipeline: medians of the ratios by round, in brackets lowest and highest.",
        of=[(row, it) for row, it in found if over_plain(row, it) or over_model_api(row, it)],
        columns={
            "output": _output,
            "frames a second": _median("fps"),
            "× plain loop": lambda row, it: times(over_plain(row, it), with_range=True),
            "× model_api": lambda row, it: times(over_model_api(row, it), with_range=True),
        },
    )


def stage_costs(it: Rounds) -> dict[str, Spread]:
    """CPU milliseconds a frame of each of `STAGES`, with all cores busy."""
    found = {name: it.spread("steps_cpu_ms", name) or it.spread("cpu_ms", name) for name in STAGES}
    return {name: cost for name, cost in found.items() if cost is not None}


def _stage_cost(rows: Sequence[Row]) -> Table:
    def cost(name: str) -> Cell:
        return lambda _, it: spread(stage_costs(it).get(name), with_range=False)

    def quiet(_: Row, it: Rounds) -> str:
        sums_ms = [sum(each.values["quiet_cpu_ms"].values()) for each in it.results]
        return spread(Spread.of(sums_ms), with_range=False)

    def limit(to: str) -> Cell:
        return lambda _, it: spread(it.spread("bound_fps", to), with_range=False)

    return _table(
        "stage_cost",
        "CPU time of a frame, each stage alone",
        "CPU milliseconds a frame: medians over {rounds}; one thread an inference, the stage on every core "
        "at once, and nothing else. Sum on one core: with the other cores idle. Limit: the frames a second "
        "that all cores can do at most, by the CPU time of all stages, without and with the overlay.",
        of=[(row, it) for row in rows if len(it := row.rounds("stage_cost"))],
        columns={
            **{f"{name}, ms": cost(name) for name in STAGES},
            "sum, ms": lambda _, it: number(sum(cost.median for cost in stage_costs(it).values())),
            "sum on one core, ms": quiet,
            **{f"limit to {name}, fps": limit(to) for to, name in OUTPUTS.items()},
        },
    )


def _streams(rows: Sequence[Row]) -> Table:
    def stream(choose: Callable[[Sequence[float]], float]) -> Cell:
        return lambda _, it: spread(Spread.of([choose(each.values["fps_by_stream"]) for each in it.results]))

    return _table(
        "streams",
        "Several recordings at once",
        "From file to class map, frames a second: medians over {rounds}, in brackets lowest and highest.",
        of=[(row, it) for row in rows for it in row.groups("streams", lambda values: values["streams"])],
        columns={
            "streams": lambda _, it: str(it.first["streams"]),
            "all together, fps": _range("fps"),
            "slowest stream, fps": stream(min),
            "fastest stream, fps": stream(max),
            "peak memory, MB": _median("peak_memory_mb"),
        },
    )


def _accuracy(rows: Sequence[Row]) -> Table:
    found = {row.label: row.accuracy for row in rows if row.accuracy is not None}
    classes = list(dict.fromkeys(name for it in found.values() for name in it.iou))
    extents = sorted({(it.values["frames"], it.values["recordings"]) for it in found.values()})
    counts = " or ".join(f"{counted(it, 'frame')} of {counted(of, 'recording')}" for it, of in extents)

    def of(cell: Callable[[Accuracy], str]) -> Cell:
        return lambda row, _: cell(found[row.label])

    def share_at(*path: str) -> Cell:
        return of(lambda it: share(at(*path)(it.values)))

    def iou_of(name: str) -> Cell:
        return of(lambda it: share(it.iou.get(name)))

    return _table(
        "accuracy",
        "Accuracy",
        f"IoU in percent on {counts}, one confusion matrix; in brackets the 95 % interval by recording. "
        "Boundary: IoU near the borders. Drivable or not: direct and alternative as one. With all cores busy "
        "every class map was the same, or the row says so. Card: not measured here; as the model's card has "
        "it, of the split in brackets.",
        of=[(row, Rounds([])) for row in rows if row.label in found],
        columns={
            "mean IoU, %": of(lambda it: share(it.mean_iou, it.interval)),
            **{f"{name}, %": iou_of(name) for name in classes},
            "boundary, %": share_at("boundary_iou"),
            "drivable or not, %": share_at("two_classes", "mean_iou"),
            "calibration error, %": share_at("calibration_error"),
            "day, %": share_at("conditions", "day", "mean_iou"),
            "night, %": share_at("conditions", "night", "mean_iou"),
            "measured on": of(
                lambda it: it.origin + ", differs under load" * (it.values.get("same_under_load") is False)
            ),
        },
    )
