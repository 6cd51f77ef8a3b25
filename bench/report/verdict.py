"""The report in one line: which models keep up with a camera here, and which of them is best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.report.format import number
from bench.report.rows import Row

CAMERA_HZ: Final = 30.0


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
    return next((it.latency.quantile(0.5).value for it in measured if len(it)), None)
