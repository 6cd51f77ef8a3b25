"""The report's plots, by matplotlib's objects: no pyplot, no window, no state that outlives a plot.

matplotlib is optional: only `bench.report.page` imports this, and says what is missing.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.report.point_labels import LabelledPoint, label_points
from bench.report.rows import STAGES, Latency, Row

DPI: Final = 110
WIDTH_IN: Final = 9.2
INK: Final = "#222222"
FAINT: Final = "#767676"
GRID: Final = "#e6e6e6"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8a8a")
"""Okabe and Ito's, for colour-blind readers: the yellow, which white swallows, is a grey here."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
Dashes = Literal["-", "--", ":", "-."]
DASHES: Final[tuple[Dashes, ...]] = ("-", "--", ":", "-.")
STAGE_COLOURS: Final = dict(zip(STAGES, ("#56b4e9", "#f0c75e", "#0072b2", "#cc79a7", "#009e73"), strict=True))
NAME_LETTERS: Final = 24
LEAST_AREA: Final = 28.0
AREA_PER_MB: Final = 14.0
TARGET_MARKERS: Final = {"class_map": ("o", "pipeline, class map"), "overlay": ("D", "pipeline, overlay")}


@dataclass(frozen=True)
class Plot:
    """One picture."""

    name: str
    """For its file and its place on the page."""
    title: str
    caption: str
    figure: Figure

    def svg(self) -> str:
        """As one `<svg>` element; texts stay texts."""
        content = io.StringIO()
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": self.name}):
            self.figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
        svg = content.getvalue()
        svg = svg[svg.index("<svg") :]
        # Several stand on one page, and an id must be the only one of its name there.
        svg = re.sub(r'\bid="', f'id="{self.name}-', svg)
        return re.sub(r'(url\(#|href="#)', rf"\1{self.name}-", svg)

    def png(self) -> bytes:
        """As a PNG file."""
        content = io.BytesIO()
        self.figure.savefig(content, format="png", dpi=DPI)
        return content.getvalue()


def plots(rows: Sequence[Row]) -> list[Plot]:
    """What can be drawn of these rows; what was not measured is left out."""
    with rc_context({"text.parse_math": False}):  # a model's name may hold a dollar sign
        drawn = [draw(rows) for draw in (pareto, distributions, stage_bars, constant_rates)]
    return [plot for plot in drawn if plot is not None]


@dataclass(frozen=True)
class _Point:
    row: Row
    ms: float
    mean_iou: float
    is_p99: bool


def pareto(rows: Sequence[Row]) -> Plot | None:
    """Mean IoU against latency; what no other row beats in both is joined by a line."""
    points = [point for row in rows if (point := _point(row)) is not None]
    if not points:
        return None
    places = list(dict.fromkeys(point.row.place for point in points))
    figure = Figure(figsize=(WIDTH_IN, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    has_p99 = any(point.is_p99 for point in points)
    front = pareto_front([(it.ms, it.mean_iou) for it in points if it.is_p99 == has_p99])
    axes.step(*zip(*front, strict=True), where="post", color=FAINT, linewidth=1, linestyle="--", zorder=1)
    for point in points:
        colour = _of(COLOURS, places.index(point.row.place))
        axes.scatter(
            [point.ms],
            [point.mean_iou],
            s=_area(point.row),
            facecolors=colour if point.is_p99 else "white",
            edgecolors="white" if point.is_p99 else colour,
            linewidths=0.8 if point.is_p99 else 1.8,
            marker=_of(MARKERS, places.index(point.row.place)),
            zorder=3,
        )
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.margins(x=0.12, y=0.16)
    which = "p99" if has_p99 else "p50"
    _bare(axes, f"{which} latency, ms, one frame after the other", "mean IoU")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.1f} %"))
    handles = [_mark(place, _of(COLOURS, n), _of(MARKERS, n)) for n, place in enumerate(places)]
    if has_p99 and not all(point.is_p99 for point in points):
        handles.append(_mark("hollow: p50, too few frames for p99", FAINT, "o", is_hollow=True))
    handles.append(Line2D([], [], color=FAINT, linewidth=1, linestyle="--", label="beaten by none"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    named = [LabelledPoint(it.ms, it.mean_iou, _area(it.row), _named(it.row)) for it in points]
    label_points(figure, axes, named, INK, FAINT)
    return Plot(
        "pareto",
        "Accuracy against latency",
        "Up and to the left is better. A mark's area is the size of the model file. "
        + ("" if has_p99 else "p50, because so few frames do not hold a p99. ")
        + "Accuracies have intervals of several points, as the table tells.",
        figure,
    )


def distributions(rows: Sequence[Row]) -> Plot | None:
    """Share of frames that took longer, by latency: a panel an engine, a line a model."""

    def draw(axes: Axes, row: Row, colour: str, dashes: Dashes) -> None:
        assert row.single is not None
        ordered = np.sort(row.single.pooled_ms)[::-1]
        ranks = np.unique(np.geomspace(1, len(ordered), 240).astype(int))
        shares = ranks / len(ordered)
        axes.step(ordered[ranks - 1], shares, where="pre", color=colour, linestyle=dashes, linewidth=1.4)

    held = [row for row in rows if row.single is not None]
    figure = _panels(held, draw, "share of frames that took longer")
    if figure is None:
        return None
    for axes in figure.axes:
        axes.set_yscale("log")
        axes.set_xscale("log")
        _plain_numbers(axes.xaxis)
        axes.set_xlabel("latency, ms", color=INK)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    return Plot(
        "latency",
        "How latencies are distributed",
        "One frame after the other, all rounds together. Where a line meets 1 % is its p99; a line that runs "
        "far to the right at the bottom has rare slow frames.",
        figure,
    )


def stage_bars(rows: Sequence[Row]) -> Plot | None:
    """CPU time of a frame by stage, and what the whole pipeline took."""
    held = [row for row in rows if row.stages is not None]
    if not held:
        return None
    figure = Figure(figsize=(WIDTH_IN, 1.5 + 0.28 * len(held)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(held))
    left = np.zeros(len(held))
    for stage in STAGES:
        cpu_ms = np.array([row.stages.cpu_ms[stage].median for row in held if row.stages is not None])
        axes.barh(places, cpu_ms, 0.62, left=left, color=STAGE_COLOURS[stage], label=stage, zorder=2)
        left += cpu_ms
    for to, (marker, name) in TARGET_MARKERS.items():
        found = [(n, it.cpu_ms.median) for n, row in enumerate(held) for it in row.offline if it.to == to]
        if found:
            axes.plot(
                [cpu_ms for _, cpu_ms in found],
                [n for n, _ in found],
                marker,
                color=INK,
                markerfacecolor="white",
                markersize=5,
                label=name,
                zorder=3,
            )
    axes.set_yticks(places, [f"{_named(row)} {row.place}" for row in held], fontsize=9)
    axes.set_ylim(len(held) - 0.4, -0.6)
    _bare(axes, "CPU ms a frame", "")
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return Plot(
        "stage_cost",
        "Where the CPU time of a frame goes",
        "Bars: each stage alone. Marks: the CPU time of a frame in the whole pipeline, to a class map (all "
        "stages but overlay) and to an overlay video. What a mark is to the right of its stages' end is what "
        "joining them costs.",
        figure,
    )


def constant_rates(rows: Sequence[Row]) -> Plot | None:
    """p99 latency of frames that come at a constant rate, and the period."""
    rates = [rate.rate_hz for row in rows for rate in row.rates if not rate.stall]

    def draw(axes: Axes, row: Row, colour: str, dashes: Dashes) -> None:
        told = [(rate, *_p99_or_p50(rate.latency)) for rate in row.rates if not rate.stall]
        known = [(rate, ms, is_p99) for rate, ms, is_p99 in told if ms is not None]
        rates_hz, latencies_ms = [rate.rate_hz for rate, _, _ in known], [ms for _, ms, _ in known]
        axes.plot(rates_hz, latencies_ms, color=colour, linestyle=dashes)
        for rate, ms, is_p99 in known:
            is_held = rate.held == rate.latency.rounds
            axes.plot(
                [rate.rate_hz],
                [ms],
                "o" if is_p99 else "s",
                color=colour,
                markerfacecolor=colour if is_held else "white",
                markersize=5,
                zorder=3,
            )

    figure = _panels(
        [row for row in rows if any(not rate.stall for rate in row.rates)],
        draw,
        "p99 latency, ms",
        [
            Line2D([], [], color=INK, linestyle=(0, (1, 1.5)), label="one period"),
            _mark("held in every round", FAINT, "o"),
            _mark("not held", FAINT, "o", is_hollow=True),
            _mark("square: p50", FAINT, "s"),
        ],
    )
    if figure is None:
        return None
    period = np.geomspace(min(rates) / 1.15, max(rates) * 1.15, 30)
    for axes in figure.axes:
        axes.plot(period, 1000 / period, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.2, zorder=1)
        axes.set_yscale("log")
        axes.set_xscale("log")
        axes.set_xticks(sorted(set(rates)), [f"{rate:g}" for rate in sorted(set(rates))])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", which="minor", length=0)
        _plain_numbers(axes.yaxis)
        axes.set_xlabel("frames a second", color=INK)
    return Plot(
        "rates",
        "Latency at a constant rate",
        "From when a frame was due. A rate is held while the line stays below one period and no frame is "
        "dropped; too few frames for a p99 give the p50, as a square.",
        figure,
    )


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (latency, accuracy) those that none beats: less latency first, each more accurate than the last."""
    front: list[tuple[float, float]] = []
    for ms, mean_iou in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or mean_iou > front[-1][1]:
            front.append((ms, mean_iou))
    return front


def _point(row: Row) -> _Point | None:
    if row.single is None or row.accuracy is None or row.accuracy.mean_iou is None:
        return None
    ms, is_p99 = _p99_or_p50(row.single)
    return None if ms is None else _Point(row, ms, row.accuracy.mean_iou, is_p99)


def _p99_or_p50(latency: Latency) -> tuple[float | None, bool]:
    p99 = latency.quantiles[0.99].value
    return (latency.quantiles[0.5].value, False) if p99 is None else (p99, True)


def _panels(
    rows: Sequence[Row],
    draw: Callable[[Axes, Row, str, Dashes], None],
    ylabel: str,
    more: Sequence[Line2D] = (),
) -> Figure | None:
    """A panel an engine, three beside each other; a model has the same line in all of them."""
    places = list(dict.fromkeys(row.place for row in rows))
    names = list(dict.fromkeys(_named(row) for row in rows))
    if not rows:
        return None
    across = min(3, len(places))
    down = math.ceil(len(places) / across)
    legend_rows = math.ceil((len(names) + len(more)) / 4)
    figure = Figure(figsize=(WIDTH_IN, 0.6 + 3.4 * down + 0.2 * legend_rows), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(places) :]:
        axes.remove()
    lines = {name: (_of(COLOURS, n), DASHES[n // len(COLOURS) % len(DASHES)]) for n, name in enumerate(names)}
    for n, place in enumerate(places):
        axes = grid.flat[n]
        for row in rows:
            if row.place == place:
                draw(axes, row, *lines[_named(row)])
        _bare(axes, "", ylabel if n % across == 0 else "")
        axes.set_title(place, loc="left", fontsize=10, color=INK)
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, label=name) for name, (colour, dashes) in lines.items()
    ]
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _area(row: Row) -> float:
    """In square points, with a least one so that it is seen."""
    return LEAST_AREA + AREA_PER_MB * (row.size_mb or 0.0)


def _mark(label: str, colour: str, marker: str, is_hollow: bool = False) -> Line2D:
    face = "white" if is_hollow else colour
    return Line2D([], [], color=colour, marker=marker, markerfacecolor=face, linestyle="none", label=label)


def _bare(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel, color=INK)
    axes.set_ylabel(ylabel, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=GRID, zorder=0)
    axes.set_axisbelow(True)


def _plain_numbers(axis: Axis) -> None:
    """1, 2, 5, 10 … on a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _named(row: Row) -> str:
    """Short enough to stand beside a mark."""
    return row.name if len(row.name) <= NAME_LETTERS else f"{row.name[: NAME_LETTERS - 1]}…"


def _of(choices: Sequence[str], place: int) -> str:
    return choices[place % len(choices)]
