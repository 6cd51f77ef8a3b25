"""Figures as texts, the same on the terminal, in Markdown and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.quantiles import quantile
from bench.report.rows import Spread

NONE: Final = "–"


def number(value: float | None) -> str:
    """Three figures: 0.42, 18.4, 197."""
    if value is None:
        return NONE
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f}"


def quantile_of(values: Sequence[float], share: float, with_interval: bool = True) -> str:
    """ "18.4 (18.1–18.9)", or how many frames are missing; nothing where there is none at all."""
    if not values:
        return NONE
    found = quantile(values, share)
    if found.value is None:
        return f"+{found.missing:,} frames"
    if not with_interval or found.low is None or found.high is None:
        return number(found.value)
    return f"{number(found.value)} ({number(found.low)}–{number(found.high)})"


def spread(it: Spread | None, with_range: bool = True, zero: str = "0.00") -> str:
    """ "197 (190–201)"; of one round the number alone."""
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
    """ "1.73x", or "1.73x (1.70–1.80)"."""
    if it is None:
        return NONE
    ratio = f"{it.median:.2f}x"
    return f"{ratio} ({it.low:.2f}–{it.high:.2f})" if with_range and it.rounds > 1 else ratio


def share(value: float | None, interval: tuple[float, float] | None = None) -> str:
    """ "78.06 (74.6–81.3)", in percent."""
    if value is None:
        return NONE
    percents = f"{100 * value:.2f}"
    return percents if interval is None else f"{percents} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right, two blanks between."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def counted(count: int, noun: str) -> str:
    """ "1 round", "2 rounds"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
