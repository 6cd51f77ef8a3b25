"""The report's files: charts, sheets, and report.json with all figures.

`report.json` contains, with shares from 0 to 1 and null for missing values:

- `model`, `config`: the network's name and all settings of the run.
- `network`: its `parameters`, its `size_mib`, and the `device` it was trained on.
- `history`: one entry per epoch: `stage` and `epoch` from 0, `loss`, `val_mean_iou`, and except in
  older runs `val_loss`, `val_iou_<class>`, `learning_rate`, `seconds`.
- `best_epoch`: the entry of the epoch in `best.pt`, the best of the last stage.
- `labels`: the classes, in the order of every matrix's rows and columns.
- `validation`: the best network on the validation frames. `frames` and `recordings` are counts;
  `mean_iou`; `mean_iou_interval` [low, high] of `confidence`, by recording, null for a single recording,
  whose interval would have no width; `iou` by class; `confusion` in pixels, a row per true class and a
  column per predicted class.
- `conditions`: the same for the frames of `day` and `night`, if there are any.
- `night_below_luma`: the mean luma that separates them.
- `drivable_or_not`: the same with direct and alternative as one class.
- `frames`: `name`, `recording`, `condition` and `mean_iou` of each validation frame, over the classes
  that occur in it.
- `best`, `worst`: names of the frames on the two sheets, best and worst first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from perception.labels import LABELS
from perception.metrics.segmentation import CONFIDENCE, NIGHT_BELOW_LUMA, Accuracy
from perception.system.atomic_file import write_atomically
from perception.system.json_text import json_text
from train.report.charts import best_epoch, conditions, confusion_matrix, curves, to_png
from train.report.frames import Gathered, PredictedFrame, gather
from train.report.sheets import sheet

SHOWN: Final = 8
TWO_LABELS: Final = ("drivable", "background")


class ReportError(ValueError):
    """A report cannot be written; the checkpoints are intact."""


def write_report(
    folder: Path,
    config: dict[str, Any],
    history: Sequence[dict[str, float]],
    predicted: Iterable[PredictedFrame],
    network: dict[str, Any] | None = None,
) -> None:
    """Write `report.json` and the PNG files `curves`, `confusion`, `conditions`, `best` and `worst`.

    Args:
        folder: created if needed; the files of an earlier report are replaced.
        config: the settings of the run, as plain values.
        history: one entry per epoch; those of older runs may lack some figures.
        predicted: the validation frames with the best network's predictions. They are consumed one by
            one, and no more than `2 * SHOWN` pictures are kept.
        network: value of `network` in report.json.

    Raises:
        ReportError: if there are no frames, or a file cannot be written.
    """
    try:
        gathered = gather(predicted, SHOWN)
    except ValueError as error:
        raise ReportError(f"{folder}: no report: {error}") from error
    accuracy = gathered.accuracy
    title = f"mean IoU {100 * accuracy.total.mean_iou():.2f} % on {len(accuracy.frames):,} validation frames"
    charts = {
        "curves": curves(config, history),
        "confusion": confusion_matrix(accuracy.total, title),
        "conditions": conditions(accuracy),
        "best": sheet(gathered.best, "Best frames"),
        "worst": sheet(gathered.worst, "Worst frames"),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in charts.items():
            write_atomically(folder / f"{name}.png", to_png(figure))
        figures = _numbers(config, history, gathered) | {"network": network}
        write_atomically(folder / "report.json", json_text(figures, indent=1).encode())
    except OSError as error:
        raise ReportError(f"{folder}: the report cannot be written: {error.strerror}") from error


def _numbers(
    config: dict[str, Any], history: Sequence[dict[str, float]], gathered: Gathered
) -> dict[str, Any]:
    accuracy = gathered.accuracy
    best = best_epoch(config, history)
    return {
        "model": config.get("model"),
        "config": config,
        "history": list(history),
        "best_epoch": None if best is None else history[best],
        "labels": LABELS,
        "validation": _figures(accuracy, LABELS),
        "conditions": {name: _figures(part, LABELS) for name, part in accuracy.by_condition().items()},
        "night_below_luma": NIGHT_BELOW_LUMA,
        "drivable_or_not": _figures(accuracy.drivable_or_not(), TWO_LABELS),
        "frames": [asdict(score) for score in gathered.scores],
        "best": [score.name for score, _ in gathered.best],
        "worst": [score.name for score, _ in gathered.worst],
    }


def _figures(accuracy: Accuracy, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "frames": len(accuracy.frames),
        "recordings": len(accuracy.recordings),
        "mean_iou": accuracy.total.mean_iou(),
        "mean_iou_interval": accuracy.mean_iou_interval() if len(accuracy.recordings) > 1 else None,
        "confidence": CONFIDENCE,
        "iou": dict(zip(labels, accuracy.total.iou().tolist(), strict=True)),
        "confusion": accuracy.total.counts.tolist(),
    }
