"""The report in one line, on a terminal, and as Markdown for a README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Final

from bench.quantiles import quantile
from bench.report.data import Report, busy_verdict
from bench.report.format import aligned, number
from bench.report.rows import CAMERA_HZ, Row, rows_of
from bench.report.table import Table, tables
from perception.system.redaction import redacted_line

WIDTH: Final = 110
"""Columns of a terminal."""
SHORT: Final = {"alternative": "alt.", "background": "backgr.", "boundary": "border", "calibration": "calib."}
"""Words of headers that a terminal has no room for."""


def as_text(report: Report) -> list[str]:
    """Lines for a terminal, `WIDTH` columns at most but for the last, which names the command."""
    rows = rows_of(report)
    lines: list[str] = []
    for table in tables(rows):
        lines += [*_text(table), ""]
    lines += [f"not measured: {it.title}: {it.reason}" for it in report.missing]
    for remark in (busy_verdict(report), verdict(rows) if rows else None):
        lines += wrap(remark, WIDTH) if remark else []
    return [*lines, f"{place(report)}: {report.command}"]


def as_markdown(report: Report) -> str:
    """The verdict, then each table with its note, machine, commit and command."""
    rows = rows_of(report)
    blocks = [f"**{_escaped(verdict(rows))}**\n"] if rows else []
    origin = f"{_escaped(place(report))}: `{redacted_line(report.command).replace('`', chr(39))}`"
    for table in tables(rows):
        head, *body = (
            f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in (table.columns, *table.rows)
        )
        rule = "|---|" + "---:|" * (len(table.columns) - 1)
        title, note = f"**{_escaped(table.title)}**", f"{_escaped(table.note)}  "
        blocks.append("\n".join([title, "", head, rule, *body, "", note, origin, ""]))
    if (busy := busy_verdict(report)) is not None:
        blocks.append(f"**{_escaped(busy)}**\n")
    return "\n".join(blocks)


def verdict(rows: Sequence[Row]) -> str:
    """The fastest and the most accurate of the models that hold `CAMERA_HZ` on this machine."""
    holds = [(row, row.holds(CAMERA_HZ)) for row in rows]
    keeping_up = [row for row, is_held in holds if is_held]
    if not keeping_up:
        if any(is_held is False for _, is_held in holds):
            return f"No model holds {CAMERA_HZ:g} Hz here."
        return f"Whether a model holds {CAMERA_HZ:g} Hz here was not measured: --scenarios '[constant_rate]'."
    timed = [(ms, row) for row in keeping_up if (ms := _p50_ms(row)) is not None]
    rated = [(iou, row) for row in keeping_up if row.accuracy and (iou := row.accuracy.mean_iou) is not None]
    best = []
    if timed:
        ms, row = min(timed, key=lambda it: it[0])
        best.append(f"fastest {row.label} ({number(ms)} ms a frame, p50)")
    if rated:
        iou, row = max(rated, key=lambda it: it[0])
        best.append(f"most accurate {row.label} (mean IoU {100 * iou:.2f} %)")
    count = f"{len(keeping_up)} of {len(rows)} hold {CAMERA_HZ:g} Hz here"
    return f"{count}: {'; '.join(best) or ', '.join(row.label for row in keeping_up)}."


def _p50_ms(row: Row) -> float | None:
    """Of one frame after the other; where that was not measured, of the slowest camera."""
    measured = [row.rounds("single_stream"), *row.rates]
    return next((quantile(it.latencies_ms, 0.5).value for it in measured if len(it)), None)


def place(report: Report) -> str:
    """Machine and commit in words."""
    machine = report.machine
    cores = f"{machine['cores']} cores" if machine.get("cores") else None
    memory = f"{machine['memory_gb']:g} GB" if machine.get("memory_gb") else None
    facts = [machine.get("cpu"), cores, memory, machine.get("gpu"), machine.get("os")]
    commit = f"commit {report.commit or 'unknown'}"
    partial = "partial: the run has not finished" if report.is_partial else None
    return ", ".join(str(it) for it in (*facts, commit, partial) if it)


def _text(table: Table) -> list[str]:
    """A column is as wide as its cells and the longest word of its header, which may take several lines."""
    columns = [re.sub(r"\w+", lambda word: SHORT.get(word[0], word[0]), name) for name in table.columns]
    widths = [
        max(len(text) for text in (*(row[place] for row in table.rows), *name.split()))
        for place, name in enumerate(columns)
    ]
    narrow = min(widths[0], max(10, WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1)))
    labels = {row[0] for row in table.rows}
    if len({_shortened(it, narrow) for it in labels}) == len(labels):  # else rather too wide than alike
        widths[0] = narrow
    heads = [wrap(name, width)[::-1] for name, width in zip(columns, widths, strict=True)]
    head = list(zip_longest(*heads, fillvalue=""))[::-1]
    rows = [(_shortened(first, widths[0]), *others) for first, *others in table.rows]
    return [table.title, *aligned([*head, *rows]), *wrap(table.note, WIDTH)]


def _shortened(name: str, width: int) -> str:
    """The model's name is cut, for the rows differ by the engine behind it."""
    if len(name) <= width:
        return name
    model, _, engine = name.partition(" ")
    return f"{model[: max(1, width - len(engine) - 2)]}… {engine}"[:width]


def _escaped(text: str) -> str:
    """As Markdown shows it and runs nothing: no HTML, no link, no image, no cell or line of its own."""
    plain = redacted_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"[\\`*\[\]|]", r"\\\g<0>", plain)
