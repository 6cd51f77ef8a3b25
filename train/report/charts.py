"""The report's charts, by matplotlib's object API: without pyplot, which keeps global state."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from perception.labels import COLOURS_RGB, LABELS
from perception.metrics.confusion_matrix import ConfusionMatrix
from perception.metrics.segmentation import CONFIDENCE, NIGHT_BELOW_LUMA, Accuracy, Condition

DPI: Final = 110
INK: Final = "#222222"
FAINT: Final = "#8a8a8a"
# The overlay's colours, so that a class looks the same in every picture.
CLASS_COLOURS: Final = {
    name: "#" + bytes(COLOURS_RGB.get(label, (115, 115, 115))).hex() for label, name in enumerate(LABELS)
}
CONDITION_COLOURS: Final[dict[Condition, str]] = {"day": "#f2c14e", "night": "#27476e"}
"""Their lightness differs, so that they are distinct in grey too."""
_GRID: Final = "#e6e6e6"
_PERCENT: Final = PercentFormatter(1.0, decimals=0, symbol=" %")
_PIXELS: Final = EngFormatter("px", places=1)
_BLUES: Final = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#0072b2"])


def best_epoch(config: dict[str, Any], history: Sequence[dict[str, float]]) -> int | None:
    """Index in `history` of the epoch in `best.pt`, a validated one of the last stage; None without any."""
    by_loss = config.get("choose_by", "mean_iou") == "loss"
    best, at = -math.inf, None
    for index, entry in enumerate(history):
        score = -entry.get("val_loss", math.nan) if by_loss else entry.get("val_mean_iou", math.nan)
        if entry.get("stage") == history[-1].get("stage") and score > best:
            best, at = score, index
    return at


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()


def curves(config: dict[str, Any], history: Sequence[dict[str, float]]) -> Figure:
    """Mean IoU, loss and learning rate over the epochs of all stages.

    Args:
        config: the training settings; the stages' input sizes are shown if it has them.
        history: one entry per epoch; missing figures are gaps in their line.
    """
    figure = Figure(figsize=(10, 10), layout="constrained")
    iou_axes, loss_axes, rate_axes = figure.subplots(3, 1, sharex=True, height_ratios=[3, 2, 1])
    network, name = config.get("model", "network"), config.get("name")
    title = f"{name} ({network})" if name and name != network else network
    figure.suptitle(f"{title}: {_plural(len(history), 'epoch')}", color=INK)
    for label in LABELS:
        _line(iou_axes, history, f"val_iou_{label}", label, color=CLASS_COLOURS[label], linewidth=1.4)
    _line(iou_axes, history, "val_mean_iou", "mean", color=INK, linewidth=2.4)
    _mark_best(iou_axes, config, history)
    _line(loss_axes, history, "loss", "training", color=INK)
    _line(loss_axes, history, "val_loss", "validation", color="#cc3311", linestyle="--")
    _line(rate_axes, history, "learning_rate", "learning rate", color=FAINT)
    iou_axes.margins(y=0.12)
    iou_axes.yaxis.set_major_formatter(_PERCENT)
    loss_axes.set_ylim(bottom=0)
    rate_axes.set_ylim(bottom=0)
    rate_axes.yaxis.set_major_formatter("{x:.2g}")
    for axes, title in (
        (iou_axes, "IoU on the validation frames"),
        (loss_axes, "loss"),
        (rate_axes, "learning rate at the end of the epoch"),
    ):
        _style(axes, title)
        if len(axes.get_legend_handles_labels()[0]) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, labelcolor="linecolor")
        axes.grid(axis="y", color=_GRID)
        _shade_stages(axes, config, history, names=axes is iou_axes)
    rate_axes.set_xlabel("epoch", color=INK)
    rate_axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    rate_axes.set_xlim(0.5, max(1, len(history)) + 0.5)
    return figure


def compared(histories: Mapping[str, Sequence[dict[str, float]]]) -> Figure:
    """Mean IoU on the validation frames over the hours of training, a line for each run.

    Args:
        histories: by name of the run: one entry per epoch.
    """
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots()
    for name, history in histories.items():
        hours = np.cumsum([entry.get("seconds", np.nan) for entry in history]) / 3600
        values = [entry.get("val_mean_iou", np.nan) for entry in history]
        best = f", best {100 * np.nanmax(values):.2f} %" if np.isfinite(values).any() else ""
        axes.plot(hours, values, marker="o", markersize=3, label=f"{name}{best}")
    _style(axes, "mean IoU on the validation frames")
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.grid(axis="y", color=_GRID)
    axes.set_xlim(left=0)
    axes.set_xlabel("hours of training", color=INK)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, labelcolor="linecolor")
    return figure


def confusion_matrix(confusion: ConfusionMatrix, title: str) -> Figure:
    """Share of each true class by predicted class; counts below."""
    counts = confusion.counts
    of_class = counts.sum(1, keepdims=True)
    shares = np.divide(counts, of_class, out=np.zeros(counts.shape), where=of_class > 0)
    figure = Figure(figsize=(7.2, 6.9), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap=_BLUES, vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        colour = "white" if shares[row, column] > 0.55 else INK
        share = f"{100 * shares[row, column]:.1f} %" if of_class[row] else "–"
        axes.text(column, row - 0.06, share, ha="center", va="center", color=colour, fontsize=16)
        pixels = _PIXELS(float(counts[row, column]))
        axes.text(column, row + 0.17, pixels, ha="center", va="center", color=colour, fontsize=9)
    _style(axes, f"{title}\nshare of each true class by predicted class")
    axes.set_xticks(range(len(LABELS)), LABELS)
    axes.set_yticks(range(len(LABELS)), LABELS, rotation=90, va="center")
    axes.tick_params(length=0)
    axes.set_xlabel("predicted", color=FAINT, labelpad=10)
    axes.set_ylabel("truth", color=FAINT, labelpad=10)
    axes.spines[:].set_visible(False)
    return figure


def conditions(accuracy: Accuracy) -> Figure:
    """IoU of each class and their mean by day and night; the mean with its interval by recording.

    A single recording has no interval.
    """
    parts = accuracy.by_condition()
    figure = Figure(figsize=(8.4, 4.8), layout="constrained")
    axes = figure.subplots()
    groups = ["mean", *LABELS]
    height = 0.8 / len(parts)
    has_interval = False
    for index, (condition, part) in enumerate(parts.items()):
        values = np.array([part.total.mean_iou(), *part.total.iou()])
        places = np.arange(len(groups)) + (index - (len(parts) - 1) / 2) * height
        name = (
            f"{condition}: {_plural(len(part.frames), 'frame')}, {_plural(len(part.recordings), 'recording')}"
        )
        colour = CONDITION_COLOURS[condition]
        axes.barh(places, np.nan_to_num(values), 0.92 * height, color=colour, label=name)
        ends = np.nan_to_num(values)
        low, high = part.mean_iou_interval()
        if len(part.recordings) > 1 and np.isfinite([low, high]).all():
            has_interval = True
            reach = [[max(0.0, values[0] - low)], [max(0.0, high - values[0])]]
            axes.errorbar(values[0], places[0], xerr=reach, color=INK, capsize=4, linewidth=1.3)
            ends[0] = max(ends[0], high)
        for end, value, place in zip(ends, values, places, strict=True):
            text = f"{100 * value:.1f} %" if np.isfinite(value) else "does not occur"
            axes.text(end + 0.012, place, text, va="center", color=INK, fontsize=10)
    line = f"the line is the {100 * CONFIDENCE:.0f} % interval by recording"
    _style(axes, f"IoU by condition; {line if has_interval else 'a single recording has no interval'}")
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.grid(axis="x", color=_GRID)
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel(f"night: frames with a mean luma below {NIGHT_BELOW_LUMA:g} of 255", color=FAINT)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=INK)
    return figure


def _line(axes: Axes, history: Sequence[dict[str, float]], key: str, label: str, **style: Any) -> None:
    values = [float(entry.get(key, np.nan)) for entry in history]
    if np.isfinite(values).any():
        # A dot per epoch while there are few: a run of one epoch is a point, not a line.
        marker = "o" if len(history) <= 40 else None
        axes.plot(range(1, len(values) + 1), values, label=label, marker=marker, markersize=3, **style)


def _mark_best(axes: Axes, config: dict[str, Any], history: Sequence[dict[str, float]]) -> None:
    best = best_epoch(config, history)
    if best is None:
        return
    place = (best + 1, history[best].get("val_mean_iou", np.nan))
    axes.plot(*place, "o", markersize=9, markerfacecolor="none", color=INK)
    axes.annotate(
        f"best: {100 * place[1]:.2f} %, epoch {best + 1}",
        place,
        xytext=(0, 11),
        textcoords="offset points",
        ha="right" if best > len(history) / 2 else "left",
        color=INK,
    )


def _shade_stages(
    axes: Axes, config: dict[str, Any], history: Sequence[dict[str, float]], names: bool
) -> None:
    """Draw a faint band behind every second stage, and the stages' names."""
    stages = [int(entry.get("stage", 0)) for entry in history]
    starts = [index for index, stage in enumerate(stages) if index == 0 or stage != stages[index - 1]]
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(stages)
        if number % 2:
            axes.axvspan(start + 0.5, end + 0.5, color="#f4f4f4", zorder=0, linewidth=0)
        if names:
            settings = config.get("stages", [])
            known = settings[stages[start]] if stages[start] < len(settings) else {}
            wh = known.get("input_wh")
            axes.annotate(
                f"stage {stages[start] + 1}" + (f"\n{wh[0]}x{wh[1]}" if wh else ""),
                ((start + end + 1) / 2, 0.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                va="bottom",
                color=FAINT,
                fontsize=9,
            )


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#bbbbbb")
    axes.tick_params(colors=INK, color="#bbbbbb")
    axes.set_axisbelow(True)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
