"""`drivable-train table`: a table of the networks of a folder of runs, from their reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perception.cli_config import parse
from perception.labels import LABELS
from perception.system.atomic_file import write_atomically
from perception.system.json_text import why_unreadable

REPORT = Path("report") / "report.json"


@dataclass(frozen=True)
class TableConfig:
    """Settings of `drivable-train table`."""

    runs: str = "runs"
    """Folder that drivable-train wrote to."""
    models: list[str] = field(default_factory=list)
    """Networks in the order of the rows; without any, all that have a report, best first."""
    curves: str | None = None
    """PNG file for the curves of all these runs: mean IoU on the validation frames by hours of training."""


def run(arguments: list[str], say: Callable[[str], None]) -> None:
    """Print a Markdown table of the validation figures of each network's best checkpoint.

    Raises:
        ValueError: if the arguments cannot be used, there is no report, or one cannot be read.
    """
    config = parse(TableConfig, "drivable-train table", "Compare trained networks.", arguments)
    root = Path(config.runs)
    files = (
        [root / name / REPORT for name in config.models]
        if config.models
        else sorted(root.glob(f"*/{REPORT}"))
    )
    if not files:
        raise ValueError(f"{root}: holds no report; drivable-train writes one when a run ends")
    reports = [_read(file) for file in files]
    if not config.models:
        reports.sort(key=lambda report: report["validation"]["mean_iou"], reverse=True)
    columns = ["network", "mean IoU", *LABELS, "parameters", "size", "encoder", "epochs", "time", "device"]
    say(f"| {' | '.join(columns)} |")
    say("|---" * len(columns) + "|")
    for report in reports:
        say(_row(report))
    if config.curves:
        _draw(Path(config.curves), reports)


def _draw(file: Path, reports: list[dict[str, Any]]) -> None:
    from train.report.charts import compared, to_png  # matplotlib, which takes most of a second

    try:
        write_atomically(file, to_png(compared({_name(report): report["history"] for report in reports})))
    except OSError as error:
        raise ValueError(f"{file}: cannot be written: {error.strerror}") from error


def _name(report: dict[str, Any]) -> str:
    return str(report["config"].get("name") or report["model"])


def _read(file: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(file.read_text())
    except OSError as error:
        raise ValueError(f"{file}: no report ({error.strerror}); train this network first") from error
    except (ValueError, RecursionError) as error:  # not text, not JSON, or nested too deep
        raise ValueError(f"{file}: not a report of drivable-train: {why_unreadable(error)}") from error
    return report


def _row(report: dict[str, Any]) -> str:
    config, network, figures = report["config"], report["network"], report["validation"]
    wanted = sum(stage["epochs"] for stage in config["stages"])
    done = len(report["history"])
    weights = config.get("weights") or config["encoder_weights"]
    hours = sum(entry["seconds"] for entry in report["history"]) / 3600
    cells = [
        f"`{_name(report)}`",
        f"**{100 * figures['mean_iou']:.2f} %**",
        *(f"{100 * figures['iou'][label]:.2f}" for label in LABELS),
        f"{network['parameters'] / 1e6:.2f} M",
        f"{network['size_mib']:.1f} MiB",
        Path(weights).name if weights else "random",
        f"{done}" if done == wanted else f"{done} of {wanted}",
        f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min",
        network["device"],
    ]
    return f"| {' | '.join(cells)} |"
