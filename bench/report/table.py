"""The report's tables: made once, then printed on a terminal, as Markdown for a README, or on the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.quantiles import Quantile
from bench.report.data import Report, busy_verdict
from bench.report.rows import SHARES, AccuracyFigures, Latency, Offline, Rate, Row, Spread, Stages, rows_of
from perception.system.redaction import redacted_line

WIDTH: Final = 110
"""Columns of a terminal."""
NONE: Final = "–"
TARGETS: Final = {"class_map": "class map", "overlay": "overlay"}


@dataclass(frozen=True)
class Table:
    """Cells are texts, as they are to be read."""

    title: str
    columns: list[str]
    """The first names the row; the others hold numbers."""
    rows: list[list[str]]
    note: str
    """What the numbers are, and of how many frames and rounds."""
    scenario: str
    """Short name, for a link."""


def tables(report: Report) -> list[Table]:
    """One table for everything that was measured; none for what was not."""
    rows = rows_of(report)
    made = (_latency, _rates, _offline, _baselines, _stages, _streams, _accuracy)
    return [table for make in made if (table := make(rows)).rows]


def as_text(report: Report) -> list[str]:
    """Lines for a terminal, `WIDTH` columns at most but for the last, which names the command."""
    lines: list[str] = []
    for table in tables(report):
        lines += [*_text(table), ""]
    return [*lines, *_missing(report), *_busy(report), origin(report)]


def as_markdown(report: Report) -> str:
    """The same for a README: below each table its note, then machine, commit and command."""
    blocks = []
    for table in tables(report):
        cells = [[_escaped(cell) for cell in row] for row in (table.columns, *table.rows)]
        rule = "|---|" + "---:|" * (len(table.columns) - 1)
        body = [f"| {' | '.join(row)} |" for row in cells]
        lines = [
            f"**{_escaped(table.title)}**",
            "",
            body[0],
            rule,
            *body[1:],
            "",
            f"{_escaped(table.note)}  ",
        ]
        blocks.append("\n".join([*lines, f"{_escaped(place(report))}: `{_code(report.command)}`", ""]))
    if (said := busy_verdict(report)) is not None:
        blocks.append(f"**{_escaped(said)}**\n")
    return "\n".join(blocks)


def origin(report: Report) -> str:
    """Machine, commit and command, in one line."""
    return f"{place(report)}: {report.command}"


def place(report: Report) -> str:
    """Machine and commit in words."""
    machine = report.machine
    cores = f"{machine['cores']} cores" if machine.get("cores") else None
    memory = f"{machine['memory_gb']:g} GB" if machine.get("memory_gb") else None
    told = [machine.get("cpu"), cores, memory, machine.get("gpu"), machine.get("os")]
    commit = f"commit {report.commit}" if report.commit else "commit unknown"
    partial = ["partial: the run has not come to its end"] if report.is_partial else []
    return ", ".join(str(it) for it in (*told, commit, *partial) if it)


def _busy(report: Report) -> Iterator[str]:
    said = busy_verdict(report)
    if said is not None:
        yield from _wrapped(said)


def _missing(report: Report) -> Iterator[str]:
    for it in report.missing:
        yield f"not measured: {it.title}: {it.reason}"


def _text(table: Table) -> Iterator[str]:
    widths = [
        max(len(row[place]) for row in (table.columns, *table.rows)) for place in range(len(table.columns))
    ]
    narrow = min(widths[0], max(10, WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1)))
    labels = {row[0] for row in table.rows}
    if len({_shortened(it, narrow) for it in labels}) == len(labels):  # else rather too wide than alike
        widths[0] = narrow
    yield table.title
    for row in (table.columns, *table.rows):
        name = _shortened(row[0], widths[0])
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join([f"{name:{widths[0]}}", *cells]).rstrip()
    yield from _wrapped(table.note)


def _shortened(name: str, width: int) -> str:
    """The model's name is cut, for the engine behind it tells the rows apart."""
    if len(name) <= width:
        return name
    model, _, engine = name.partition(" ")
    return f"{model[: max(1, width - len(engine) - 2)]}… {engine}"[:width]


def _wrapped(text: str) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > WIDTH:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
    yield line


def _latency(rows: Sequence[Row]) -> Table:
    held = [(row, row.single) for row in rows if row.single is not None]
    return Table(
        "Latency, one frame after the other",
        ["ms a frame", "p50", "p90", "p99", "p99.9", "max", "net p50", "frames"],
        [
            [
                label(row),
                *(quantile_of(latency, share, share != 0.9) for share in SHARES),
                number(latency.max_ms),
                number(row.engine_only.quantiles[0.5].value if row.engine_only else None),
                f"{latency.frames:,}",
            ]
            for row, latency in held
        ],
        "From the decoded frame to its class map, all threads on one frame; frames of "
        f"{_rounds([it for _, it in held])} together. In brackets 95 % intervals. A quantile that so few "
        "frames cannot hold says how many more it takes. Net p50: of the engine alone.",
        "single_stream",
    )


def _rates(rows: Sequence[Row]) -> Table:
    held = [(row, rate) for row in rows for rate in row.rates]

    def cells(row: Row, rate: Rate) -> list[str]:
        latency = rate.latency
        best = spread(row.highest_rate_hz, zero="none") if rate is row.rates[0] else ""
        return [
            label(row),
            f"{rate.rate_hz:g}{' stalled' if rate.stall else ''}",
            quantile_of(latency, 0.5, with_interval=False),
            quantile_of(latency, 0.99),
            number(latency.max_ms),
            number(rate.age_ms.value),
            spread(rate.jitter_ms, with_range=False),
            f"{rate.dropped:,}/{latency.frames:,}",
            f"{rate.held}/{latency.rounds}",
            best,
        ]

    without = [
        [label(row), *[NONE] * 8, spread(row.highest_rate_hz, zero="none")]
        for row in rows
        if not row.rates and row.highest_rate_hz
    ]
    return Table(
        "Frames at a constant rate",
        ["", "Hz", "p50 ms", "p99 ms", "max", "age", "jitter", "dropped", "held", "highest Hz"],
        [cells(row, rate) for row, rate in held] + without,
        "Latency of every frame that was due, from when it was due; age: median of what was published; "
        "jitter: p99 of the distance from one period; held: rounds with no frame dropped and p99 (of fewer "
        "than 459 frames, the maximum) within one period; highest: the highest rate found to hold, median "
        "over the rounds, in brackets lowest and highest.",
        "constant_rate",
    )


def _offline(rows: Sequence[Row]) -> Table:
    held = [(row, it) for row in rows for it in row.offline]

    def cells(row: Row, it: Offline) -> list[str]:
        return [
            label(row),
            TARGETS[it.to],
            spread(it.fps),
            percent(it.of_bound),
            percent(it.of_engine),
            spread(it.cpu_ms, with_range=False),
            times(it.over_stages),
            times(it.over_turns),
            spread(it.busy_cores, with_range=False),
            spread(it.peak_memory_mb, with_range=False),
            spread(it.watts, with_range=False),
        ]

    return Table(
        "A recording as fast as it goes",
        [
            *("", "file to", "fps", "of bound", "of engine"),
            *("CPU ms", "over stages", "over turns", "cores", "MB", "W"),
        ],
        [cells(row, it) for row, it in held],
        f"Medians over {_rounds([it.fps for _, it in held])}, in brackets lowest and highest; ratios by "
        "round. Of bound: of what the CPU work of a frame allows on all cores; of engine: of the network "
        "alone; CPU ms a frame, over the stages' alone, and over that of one thread that takes each frame "
        "through all stages in turn, one such thread a core; cores kept busy; peak memory; power.",
        "offline",
    )


def _baselines(rows: Sequence[Row]) -> Table:
    held = [(row, it) for row in rows for it in row.offline if it.over_plain or it.over_model_api]
    return Table(
        "Beside other loops",
        ["", "file to", "fps", "× plain loop", "× model_api"],
        [
            [
                label(row),
                TARGETS[it.to],
                spread(it.fps, with_range=False),
                times(it.over_plain, with_range=True),
                times(it.over_model_api, with_range=True),
            ]
            for row, it in held
        ],
        "How many times as many frames a second as a plain OpenCV + ONNX Runtime loop, and as "
        "openvino-model-api's pipeline, with the same network: medians of the ratios by round, in brackets "
        "lowest and highest.",
        "baselines",
    )


def _stages(rows: Sequence[Row]) -> Table:
    held = [(row, row.stages) for row in rows if row.stages is not None]

    def cells(row: Row, stages: Stages) -> list[str]:
        total = sum(it.median for it in stages.cpu_ms.values())
        return [
            label(row),
            *(spread(it, with_range=False) for it in stages.cpu_ms.values()),
            number(total),
            spread(stages.quiet_ms, with_range=False),
            *(spread(stages.bound_fps.get(to), with_range=False) for to in TARGETS),
        ]

    return Table(
        "CPU work of a frame, each stage alone",
        [
            *("CPU ms", "decode", "preprocess", "infer", "postprocess", "overlay", "sum", "quiet"),
            *("bound fps", "with overlay"),
        ],
        [cells(row, stages) for row, stages in held],
        f"Medians over {_rounds([it for _, stages in held for it in stages.cpu_ms.values()])}; one thread an "
        "inference; a stage runs on every core at once, and nothing else. Quiet: the sum on one core while "
        "the others idle. The bound is what all cores can do at most: summed over them, one second by the "
        "CPU time of decode, preprocess, infer and postprocess, and of overlay too.",
        "stage_cost",
    )


def _streams(rows: Sequence[Row]) -> Table:
    held = [(row, it) for row in rows for it in row.streams]
    return Table(
        "Several recordings at once",
        ["", "streams", "fps together", "slowest stream", "fastest stream", "MB"],
        [
            [
                label(row),
                str(it.streams),
                spread(it.fps),
                spread(it.slowest_fps),
                spread(it.fastest_fps),
                spread(it.peak_memory_mb, with_range=False),
            ]
            for row, it in held
        ],
        f"One process each, file to class map; medians over {_rounds([it.fps for _, it in held])}, in "
        "brackets lowest and highest.",
        "streams",
    )


def _accuracy(rows: Sequence[Row]) -> Table:
    held = [(row, row.accuracy) for row in rows if row.accuracy is not None]
    labels = list(dict.fromkeys(name for _, it in held for name in it.iou))

    def cells(row: Row, it: AccuracyFigures) -> list[str]:
        return [
            label(row),
            share(it.mean_iou, it.interval),
            *(share(it.iou.get(name)) for name in labels),
            share(it.boundary_iou),
            share(it.two_classes),
            NONE if it.calibration_error is None else f"{100 * it.calibration_error:.1f}",
            *(share(it.conditions.get(name)) for name in ("day", "night")),
            it.short_origin + ", differs under load" * (it.same_under_load is False),
        ]

    frames = sorted({f"{it.frames:,} frames of {it.recordings} recordings" for _, it in held})
    short = {"alternative": "altern.", "background": "backgr."}
    return Table(
        "Accuracy",
        [
            "%",
            "mean IoU",
            *(short.get(it, it) for it in labels),
            "boundary",
            "2 cl.",
            "ECE",
            "day",
            "night",
            "on",
        ],
        [cells(row, it) for row, it in held],
        f"IoU on {' or '.join(frames)}, one confusion matrix, through the node's own path; in brackets the "
        "95 % interval by recording. 2 cl.: drivable or not; boundary: IoU near the borders; ECE: "
        "calibration error. With all cores busy every class map was the same, or the row says so. Card: not "
        "measured here; what the model's card tells of the split in brackets.",
        "accuracy",
    )


def label(row: Row) -> str:
    """Model and what ran it."""
    return f"{row.name} {row.place}"


def number(value: float | None) -> str:
    """Three figures: 0.42, 18.4, 197."""
    if value is None:
        return NONE
    return (
        f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
    )


def quantile_of(latency: Latency, share: float, with_interval: bool = True) -> str:
    """ "18.4 (18.1-18.9)", or how many frames are missing."""
    found: Quantile = latency.quantiles[share]
    if found.value is None:
        return f"+{found.missing:,} frames"
    if not with_interval or found.low is None or found.high is None:
        return number(found.value)
    return f"{number(found.value)} ({number(found.low)}–{number(found.high)})"


def spread(it: Spread | None, with_range: bool = True, zero: str = "0.00") -> str:
    """ "197 (190-201)"; of one round the number alone."""
    if it is None:
        return NONE
    if it.median == 0:
        return zero
    if not with_range or it.rounds == 1:
        return number(it.median)
    return f"{number(it.median)} ({number(it.low)}–{number(it.high)})"


def percent(it: Spread | None) -> str:
    """ "92 %"."""
    return NONE if it is None else f"{100 * it.median:.0f} %"


def times(it: Spread | None, with_range: bool = False) -> str:
    """ "1.73x"."""
    if it is None:
        return NONE
    told = f"{it.median:.2f}x"
    return f"{told} ({it.low:.2f}–{it.high:.2f})" if with_range and it.rounds > 1 else told


def share(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """ "78.06 (74.59-81.33)", in percent."""
    if value is None:
        return NONE
    told = f"{100 * value:.2f}"
    return told if interval is None else f"{told} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def _rounds(spreads: Sequence[Any]) -> str:
    counts = sorted({it.rounds for it in spreads})
    told = " or ".join(str(count) for count in counts)
    return f"{told} round{'s' * (counts != [1])}"


def _code(text: str) -> str:
    """Within backticks nothing else means anything."""
    return redacted_line(text).replace("`", "'")


def _escaped(text: str) -> str:
    """As Markdown shows it and runs nothing: no HTML, no link, no image, no cell or line of its own."""
    plain = redacted_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|]", r"\\\g<0>", plain)
