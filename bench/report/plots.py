"""The report's plots, by matplotlib's objects: no pyplot, no window, no state that outlives a plot.

They are narrow enough for a phone, where a letter comes out as large as it is drawn. A model has the same
colour in all of them, an engine the same mark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.quantiles import Quantile
from bench.report.rows import STAGES, Rounds, Row
from bench.report.table import stage_costs
from bench.report.verdict import CAMERA_HZ

DPI: Final = 150
WIDTH_IN: Final = 5.4
INK: Final = "#222222"
FAINT: Final = "#767676"
GRID: Final = "#e6e6e6"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8a8a")
"""Okabe and Ito's, for colour-blind readers: the yellow, which white swallows, is a grey here."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
Dashes = Literal["-", "--", ":", "-."]
DASHES: Final[tuple[Dashes, ...]] = ("-", "--", ":", "-.")
STAGE_COLOURS: Final = dict(zip(STAGES, ("#56b4e9", "#f0c75e", "#0072b2", "#cc79a7", "#009e73"), strict=True))
OUTPUT_MARKERS: Final = {"class_map": ("o", "pipeline, class map"), "overlay": ("D", "pipeline, overlay")}
NAME_LETTERS: Final = 24
LEAST_AREA: Final = 28.0
AREA_PER_MB: Final = 14.0

Arms = list[list[float]]
"""Of an interval, below and above its value, as `errorbar` takes them."""


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
    with rc_context({"text.parse_math": False, "font.size": 10}):  # a model's name may hold a dollar sign
        drawn = [draw(rows) for draw in (pareto, distributions, stage_bars, constant_rates)]
    return [plot for plot in drawn if plot is not None]


def pareto(rows: Sequence[Row]) -> Plot | None:
    """Mean IoU against latency; what no other row beats in both is joined by a line."""
    points = []
    for row in rows:
        (latency, is_p99), accuracy = row.rounds("single_stream").latency.tail, row.accuracy
        if latency.value is not None and accuracy is not None and accuracy.mean_iou is not None:
            points.append((row, latency, latency.value, is_p99, accuracy.mean_iou, accuracy.interval))
    if not points:
        return None
    figure, axes = _figure(5.0)
    style = _Style(rows)
    has_p99 = any(is_p99 for _, _, _, is_p99, _, _ in points)
    front = pareto_front([(ms, iou) for _, _, ms, is_p99, iou, _ in points if is_p99 == has_p99])
    axes.step(*zip(*front, strict=True), where="post", color=FAINT, linewidth=1, linestyle="--", zorder=1)
    axes.axvline(1000 / CAMERA_HZ, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.2, zorder=1)
    for row, latency, ms, is_p99, iou, interval in points:
        colour = style.colour(row)
        axes.errorbar(
            [ms],
            [iou],
            xerr=_arms(latency),
            yerr=None if interval is None else [[iou - interval[0]], [interval[1] - iou]],
            ecolor=colour,
            elinewidth=0.9,
            alpha=0.55,
            zorder=2,
        )
        axes.scatter(
            [ms],
            [iou],
            s=LEAST_AREA + AREA_PER_MB * (row.size_mb or 0.0),
            facecolors=colour if is_p99 else "white",
            edgecolors="white" if is_p99 else colour,
            linewidths=0.8 if is_p99 else 1.8,
            marker=style.marker(row),
            zorder=3,
        )
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.margins(x=0.12, y=0.1)
    which = "p99" if has_p99 else "p50"
    _label(axes, f"{which} latency, ms, one frame after the other", "mean IoU")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    engines = [_mark(place, FAINT, MARKERS[n % len(MARKERS)]) for n, place in enumerate(style.places)]
    notes = [
        Line2D([], [], color=FAINT, linewidth=1, linestyle="--", label="beaten by none"),
        Line2D([], [], color=INK, linestyle=(0, (1, 1.5)), label=f"one period at {CAMERA_HZ:g} Hz"),
    ]
    if has_p99 and not all(is_p99 for _, _, _, is_p99, _, _ in points):
        notes.append(_mark("hollow: p50, too few frames for p99", FAINT, "o", is_hollow=True))
    _legend(figure, [*style.legend(rows), *engines, *notes])
    return Plot(
        "pareto",
        "Accuracy against latency",
        "Up and to the left is better. Arms: 95 % intervals, of the accuracy by recording. A mark's area is "
        "the size of the model file." + ("" if has_p99 else " p50, because so few frames do not hold a p99."),
        figure,
    )


def distributions(rows: Sequence[Row]) -> Plot | None:
    """Share of frames that took longer, by latency: a panel an engine, a line a model."""

    def draw(axes: Axes, row: Row, style: _Style) -> None:
        latency = row.rounds("single_stream").latency
        ordered = np.sort(latency.pooled_ms)[::-1]
        ranks = np.unique(np.geomspace(1, len(ordered), 240).astype(int))
        shares, colour = ranks / len(ordered), style.colour(row)
        axes.step(ordered[ranks - 1], shares, where="pre", color=colour, linestyle=style.dashes(row))
        for share in (0.5, 0.99):
            found = latency.quantile(share)
            if found.value is not None:
                _point(axes, found.value, 1 - share, colour, xerr=_arms(found))

    held = [row for row in rows if row.rounds("single_stream").latency.pooled_ms]
    figure = _panels(held, draw, "latency, ms", "share of frames that took longer")
    if figure is None:
        return None
    for axes in figure.axes:
        axes.set(xscale="log", yscale="log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        _plain_numbers(axes.xaxis)
    return Plot(
        "latency",
        "How latencies are distributed",
        "One frame after the other, all rounds together. Marks: p50 and p99 with 95 % intervals. A line that "
        "runs far to the right at the bottom has rare slow frames.",
        figure,
    )


def stage_bars(rows: Sequence[Row]) -> Plot | None:
    """CPU time of a frame by stage, and what the whole pipeline took."""
    held = [(row, stage_costs(rounds)) for row in rows if len(rounds := row.rounds("stage_cost"))]
    if not held:
        return None
    figure, axes = _figure(1.7 + 0.32 * len(held))
    places = np.arange(len(held))
    left = np.zeros(len(held))
    for stage in STAGES:
        cpu_ms = np.array([costs[stage].median for _, costs in held])
        axes.barh(places, cpu_ms, 0.62, left=left, color=STAGE_COLOURS[stage], label=stage, zorder=2)
        left += cpu_ms
    for to, (marker, name) in OUTPUT_MARKERS.items():
        for place, (row, _) in enumerate(held):
            cost = row.rounds("offline", to=to).spread("cpu_ms_per_frame")
            if cost is not None:
                arms = [[cost.median - cost.low], [cost.high - cost.median]]
                _point(axes, cost.median, place, INK, marker, is_hollow=True, xerr=arms, label=name)
                name = "_"  # once in the legend
    axes.set_yticks(places, [f"{_named(row)} {row.place}" for row, _ in held], fontsize=9)
    axes.set_ylim(len(held) - 0.4, -0.6)
    _label(axes, "CPU ms a frame", "")
    axes.grid(visible=False, axis="y")
    _legend(figure, axes.get_legend_handles_labels()[0])
    return Plot(
        "stage_cost",
        "Where the CPU time of a frame goes",
        "Bars: each stage alone. Marks: a frame in the whole pipeline, to a class map (all stages but "
        "overlay) and to an overlay video, with the range over the rounds. A mark to the right of its "
        "stages' end shows what joining them costs.",
        figure,
    )


def constant_rates(rows: Sequence[Row]) -> Plot | None:
    """p99 latency of frames that come at a constant rate, and the period."""

    def steady(row: Row) -> list[Rounds]:
        return [it for it in row.rates if not it.first["stall"]]

    def draw(axes: Axes, row: Row, style: _Style) -> None:
        drawn = [(it, *it.latency.tail) for it in steady(row)]
        known = [(it, found, found.value, is_p99) for it, found, is_p99 in drawn if found.value is not None]
        rates_hz, colour = [it.first["rate_hz"] for it, *_ in known], style.colour(row)
        axes.plot(rates_hz, [ms for _, _, ms, _ in known], color=colour, linestyle=style.dashes(row))
        for rate_hz, (it, found, ms, is_p99) in zip(rates_hz, known, strict=True):
            is_lost, marker = it.sum("held") < len(it), "o" if is_p99 else "s"
            _point(axes, rate_hz, ms, colour, marker, is_hollow=is_lost, yerr=_arms(found))

    held = [row for row in rows if steady(row)]
    notes = [
        Line2D([], [], color=INK, linestyle=(0, (1, 1.5)), label="one period"),
        _mark("held in every round", FAINT, "o"),
        _mark("not held", FAINT, "o", is_hollow=True),
        _mark("square: p50", FAINT, "s"),
    ]
    figure = _panels(held, draw, "frames a second", "p99 latency, ms", notes)
    if figure is None:
        return None
    rates = sorted({it.first["rate_hz"] for row in held for it in steady(row)})
    period = np.geomspace(rates[0] / 1.15, rates[-1] * 1.15, 30)
    for axes in figure.axes:
        axes.plot(period, 1000 / period, color=INK, linestyle=(0, (1, 1.5)), linewidth=1.2, zorder=1)
        axes.set(xscale="log", yscale="log")
        _plain_numbers(axes.yaxis)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.tick_params(axis="x", which="minor", length=0)
    return Plot(
        "rates",
        "Latency at a constant rate",
        "From when a frame was due, with 95 % intervals. A rate is held while the line stays below one "
        "period and no frame is dropped. Too few frames for a p99: the p50, as a square.",
        figure,
    )


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (latency, accuracy) those that none beats: less latency first, each more accurate than the last."""
    front: list[tuple[float, float]] = []
    for ms, mean_iou in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or mean_iou > front[-1][1]:
            front.append((ms, mean_iou))
    return front


class _Style:
    """Colours of models and marks of engines."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.places = list(dict.fromkeys(row.place for row in rows))
        self._names = list(dict.fromkeys(_named(row) for row in rows))

    def colour(self, row: Row) -> str:
        return COLOURS[self._names.index(_named(row)) % len(COLOURS)]

    def dashes(self, row: Row) -> Dashes:
        """Where there are more models than colours, they differ by these."""
        return DASHES[self._names.index(_named(row)) // len(COLOURS) % len(DASHES)]

    def marker(self, row: Row) -> str:
        return MARKERS[self.places.index(row.place) % len(MARKERS)]

    def legend(self, rows: Sequence[Row]) -> list[Line2D]:
        """A line a model."""
        by_name = {_named(row): row for row in rows}
        return [
            Line2D([], [], label=name, color=self.colour(row), linestyle=self.dashes(row))
            for name, row in by_name.items()
        ]


def _panels(
    rows: Sequence[Row],
    draw: Callable[[Axes, Row, _Style], None],
    xlabel: str,
    ylabel: str,
    notes: Sequence[Line2D] = (),
) -> Figure | None:
    """A panel an engine, one below the other; a model has the same line in all of them."""
    if not rows:
        return None
    style = _Style(rows)
    figure, *_ = _figure(1.2 + 3.0 * len(style.places), len(style.places))
    for axes, place in zip(figure.axes, style.places, strict=True):
        for row in rows:
            if row.place == place:
                draw(axes, row, style)
        _label(axes, xlabel if axes is figure.axes[-1] else "", ylabel)
        axes.set_title(place, loc="left", fontsize=10, color=INK)
    _legend(figure, [*style.legend(rows), *notes])
    return figure


def _figure(height_in: float, panels: int = 1) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    grid = figure.subplots(panels, 1, sharex=True, sharey=True, squeeze=False)
    return figure, grid.flat[0]


def _legend(figure: Figure, handles: Sequence[Artist]) -> None:
    figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, fontsize=9)


def _arms(found: Quantile) -> Arms | None:
    """None where it has no interval."""
    if found.value is None or found.low is None or found.high is None:
        return None
    return [[found.value - found.low], [found.high - found.value]]


def _point(
    axes: Axes,
    x: float,
    y: float,
    colour: str,
    marker: str = "o",
    *,
    is_hollow: bool = False,
    label: str = "_",
    xerr: Arms | None = None,
    yerr: Arms | None = None,
) -> None:
    """A mark with the arms of its interval."""
    bars = axes.errorbar([x], [y], yerr, xerr, marker, color=colour, elinewidth=0.9, capsize=2, zorder=3)
    bars.set_label(label)
    bars.lines[0].set(markerfacecolor="white" if is_hollow else colour, markersize=5)


def _mark(label: str, colour: str, marker: str, is_hollow: bool = False) -> Line2D:
    face = "white" if is_hollow else colour
    return Line2D([], [], color=colour, marker=marker, markerfacecolor=face, linestyle="none", label=label)


def _label(axes: Axes, xlabel: str, ylabel: str) -> None:
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
    """Short enough for a legend."""
    return row.name if len(row.name) <= NAME_LETTERS else f"{row.name[: NAME_LETTERS - 1]}…"
