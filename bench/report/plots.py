"""The report's plots, by matplotlib's objects: no pyplot, no window, no state that outlives a plot.

They are narrow enough for a phone, where a letter comes out as large as it is drawn. A model has the same
line in all of them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
from cycler import cycler
from matplotlib import rc_context, style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from bench.quantiles import Quantile, quantile
from bench.report.rows import CAMERA_HZ, STAGES, Rounds, Row
from bench.report.table import stage_costs

DPI: Final = 150
WIDTH_IN: Final = 5.4
INK: Final = "#222222"
FAINT: Final = "#767676"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8a8a")
"""Okabe and Ito's, for colour-blind readers: the yellow, which white swallows, is a grey here."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: Final = ("-", "--", ":", "-.")
STAGE_COLOURS: Final = dict(zip(STAGES, ("#56b4e9", "#f0c75e", "#0072b2", "#cc79a7", "#009e73"), strict=True))
OUTPUT_MARKERS: Final = {"class_map": ("o", "pipeline, class map"), "overlay": ("D", "pipeline, overlay")}
NAME_LETTERS: Final = 24
LEAST_AREA: Final = 28.0
AREA_PER_MB: Final = 14.0
_PERIOD: Final[dict[str, Any]] = {"color": INK, "linestyle": (0, (1, 1.5)), "linewidth": 1.2}
_FRONT: Final[dict[str, Any]] = {"color": FAINT, "linestyle": "--", "linewidth": 1}
_STYLE: Final = Path(__file__).with_name("plots.mplstyle")

Arms = list[list[float]]
"""Of an interval, below and above its value, as `errorbar` takes them."""


@dataclass(frozen=True)
class Plot:
    """One picture."""

    name: str
    """For its file, its place and its caption on the page."""
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
    with style.context(_STYLE):
        drawn = [draw(rows) for draw in (pareto, distributions, stage_bars, constant_rates)]
    return [plot for plot in drawn if plot is not None]


def pareto(rows: Sequence[Row]) -> Plot | None:
    """Mean IoU against latency; what no other row beats in both is joined by a line."""
    points = []
    for row in rows:
        (found, is_p99), accuracy = _tail(row.rounds("single_stream").latencies_ms), row.accuracy
        if found.value is not None and accuracy is not None and accuracy.mean_iou is not None:
            points.append((row, is_p99, found, found.value, accuracy.mean_iou, accuracy.interval))
    if not points:
        return None
    figure = _figure(5.0)
    (axes,) = figure.axes
    lines, places = _lines(rows), list(dict.fromkeys(row.place for row in rows))
    has_p99 = any(is_p99 for _, is_p99, *_ in points)
    front = pareto_front((ms, iou) for _, is_p99, _, ms, iou, _ in points if is_p99 == has_p99)
    axes.step(*zip(*front, strict=True), where="post", zorder=1, **_FRONT)
    axes.axvline(1000 / CAMERA_HZ, zorder=1, **_PERIOD)
    for row, is_p99, found, ms, iou, interval in points:
        colour = lines[_named(row)]["color"]
        yerr = None if interval is None else [[iou - interval[0]], [interval[1] - iou]]
        axes.errorbar([ms], [iou], yerr, _arms(found), ecolor=colour, elinewidth=0.9, alpha=0.55, zorder=2)
        axes.scatter(
            *([ms], [iou], LEAST_AREA + AREA_PER_MB * (row.size_mb or 0.0)),
            facecolors=colour if is_p99 else "white",
            edgecolors="white" if is_p99 else colour,
            linewidths=0.8 if is_p99 else 1.8,
            marker=MARKERS[places.index(row.place) % len(MARKERS)],
            zorder=3,
        )
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.margins(x=0.12, y=0.1)
    axes.set(xlabel=f"{'p99' if has_p99 else 'p50'} latency, ms, one frame after the other")
    axes.set(ylabel="mean IoU")
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    notes = [_mark(place, MARKERS[n % len(MARKERS)]) for n, place in enumerate(places)]
    notes += [Line2D([], [], label="Pareto front", **_FRONT)]
    notes += [Line2D([], [], label=f"one period at {CAMERA_HZ:g} Hz", **_PERIOD)]
    if has_p99 and not all(is_p99 for _, is_p99, *_ in points):
        notes.append(_mark("hollow: p50, too few frames for p99", "o", is_hollow=True))
    _legend(figure, [*_legend_of(lines), *notes])
    return Plot("pareto", figure)


def distributions(rows: Sequence[Row]) -> Plot | None:
    """Share of frames that took longer, by latency: a panel an engine, a line a model."""

    def draw(axes: Axes, row: Row, line: dict[str, Any]) -> None:
        latencies_ms = row.rounds("single_stream").latencies_ms
        ordered = np.sort(latencies_ms)[::-1]
        ranks = np.unique(np.geomspace(1, len(ordered), 240).astype(int))
        axes.step(ordered[ranks - 1], ranks / len(ordered), where="pre", **line)
        for share in (0.5, 0.99):
            found = quantile(latencies_ms, share)
            if found.value is not None:
                _point(axes, found.value, 1 - share, line["color"], xerr=_arms(found))

    held = [row for row in rows if row.rounds("single_stream").latencies_ms]
    figure = _panels(held, draw, "latency, ms", "share of frames that took longer")
    if figure is None:
        return None
    for axes in figure.axes:
        axes.set(xscale="log", yscale="log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        _plain_numbers(axes.xaxis)
    return Plot("latency", figure)


def stage_bars(rows: Sequence[Row]) -> Plot | None:
    """CPU time of a frame by stage, and what the whole pipeline took."""
    held = [(row, stage_costs(rounds)) for row in rows if len(rounds := row.rounds("stage_cost"))]
    if not held:
        return None
    figure = _figure(1.7 + 0.32 * len(held))
    (axes,) = figure.axes
    places, left = np.arange(len(held)), np.zeros(len(held))
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
    axes.set_yticks(places, [f"{_named(row)} {row.place}" for row, _ in held])
    axes.set(xlabel="CPU ms a frame", ylim=(len(held) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    _legend(figure, axes.get_legend_handles_labels()[0])
    return Plot("stage_cost", figure)


def constant_rates(rows: Sequence[Row]) -> Plot | None:
    """p99 latency of frames that come at a constant rate, and the period."""

    def steady(row: Row) -> list[Rounds]:
        return [it for it in row.rates if not it.first["stall"]]

    def draw(axes: Axes, row: Row, line: dict[str, Any]) -> None:
        tails = [(it, *_tail(it.latencies_ms)) for it in steady(row)]
        known = [(it, is_p99, found, found.value) for it, found, is_p99 in tails if found.value is not None]
        axes.plot([it.first["rate_hz"] for it, *_ in known], [ms for *_, ms in known], **line)
        for it, is_p99, found, ms in known:
            rate_hz, marker, is_lost = it.first["rate_hz"], "o" if is_p99 else "s", it.sum("held") < len(it)
            _point(axes, rate_hz, ms, line["color"], marker, is_hollow=is_lost, yerr=_arms(found))

    held = [row for row in rows if steady(row)]
    notes = [
        Line2D([], [], label="one period", **_PERIOD),
        _mark("held in every round", "o"),
        _mark("not held", "o", is_hollow=True),
        _mark("square: p50", "s"),
    ]
    figure = _panels(held, draw, "frames a second", "p99 latency, ms", notes)
    if figure is None:
        return None
    rates = sorted({it.first["rate_hz"] for row in held for it in steady(row)})
    period = np.geomspace(rates[0] / 1.15, rates[-1] * 1.15, 30)
    for axes in figure.axes:
        axes.plot(period, 1000 / period, zorder=1, **_PERIOD)
        axes.set(xscale="log", yscale="log")
        _plain_numbers(axes.yaxis)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.tick_params(axis="x", which="minor", length=0)
    return Plot("rates", figure)


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (latency, accuracy) those that none beats: less latency first, each more accurate than the last."""
    front: list[tuple[float, float]] = []
    for ms, mean_iou in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or mean_iou > front[-1][1]:
            front.append((ms, mean_iou))
    return front


def _tail(values: Sequence[float]) -> tuple[Quantile, bool]:
    """The p99, or the p50 where there are too few frames for it; and whether it is the p99."""
    p99 = quantile(values, 0.99)
    return (quantile(values, 0.5), False) if p99.value is None else (p99, True)


def _lines(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Colour of each model, and dashes where there are more models than colours."""
    names = dict.fromkeys(_named(row) for row in rows)
    return dict(zip(names, cycle(cycler(linestyle=DASHES) * cycler(color=COLOURS)), strict=False))


def _panels(
    rows: Sequence[Row],
    draw: Callable[[Axes, Row, dict[str, Any]], None],
    xlabel: str,
    ylabel: str,
    notes: Sequence[Line2D] = (),
) -> Figure | None:
    """A panel an engine, one below the other; a model has the same line in all of them."""
    if not rows:
        return None
    lines, places = _lines(rows), list(dict.fromkeys(row.place for row in rows))
    figure = _figure(1.2 + 3.0 * len(places), len(places))
    for axes, place in zip(figure.axes, places, strict=True):
        for row in rows:
            if row.place == place:
                draw(axes, row, lines[_named(row)])
        axes.set(title=place, ylabel=ylabel)
    figure.axes[-1].set(xlabel=xlabel)
    _legend(figure, [*_legend_of(lines), *notes])
    return figure


def _figure(height_in: float, panels: int = 1) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    figure.subplots(panels, 1, sharex=True, sharey=True)
    return figure


def _legend_of(lines: dict[str, dict[str, Any]]) -> list[Line2D]:
    return [Line2D([], [], label=name, **line) for name, line in lines.items()]


def _legend(figure: Figure, handles: Sequence[Artist]) -> None:
    figure.legend(handles=handles, loc="outside lower left", ncols=2)


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


def _mark(label: str, marker: str, is_hollow: bool = False) -> Line2D:
    face = "white" if is_hollow else FAINT
    return Line2D([], [], color=FAINT, marker=marker, markerfacecolor=face, linestyle="none", label=label)


def _plain_numbers(axis: Axis) -> None:
    """1, 2, 5, 10 … on a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _named(row: Row) -> str:
    """Short enough for a legend."""
    return row.name if len(row.name) <= NAME_LETTERS else f"{row.name[: NAME_LETTERS - 1]}…"
