"""The report as one HTML file that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.report.data import Report, Result, busy_verdict
from bench.report.format import counted, number, quantile_of, share
from bench.report.plots import Plot, plots
from bench.report.rows import Row, rows_of
from bench.report.table import tables
from bench.report.text import as_markdown, place, verdict
from perception.system.set_aside import write_outputs

PAGE_FILES: Final = (
    *("report.html", "report.md"),
    *("pareto.png", "latency.png", "stage_cost.png", "rates.png"),
)
_TEMPLATES: Final = Environment(
    loader=PackageLoader("bench.report", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(report: Report, folder: Path, *, overwrite: bool = False) -> None:
    """`report.html`; for a README its tables as `report.md`, and every plot as a PNG.

    Args:
        overwrite: the files that are there are an earlier state of this report; else they are set aside.

    Raises:
        OSError: if they cannot be written.
    """
    drawn = plots(rows_of(report))
    contents = {
        folder / "report.html": page(report, drawn).encode(),
        folder / "report.md": as_markdown(report).encode(),
        **{folder / f"{plot.name}.png": plot.png() for plot in drawn},
    }
    write_outputs(contents, overwrite=overwrite, waits_for_disk=False)


def page(report: Report, drawn: Sequence[Plot]) -> str:
    """The whole file as text.

    Args:
        drawn: the plots.
    """
    rows = rows_of(report)
    settings = {
        "config": report.config,
        "models": {name: asdict(it) for name, it in report.models.items()},
        "source_sha256": report.source_sha256,
        "load": asdict(report.load),
    }
    return _TEMPLATES.get_template("page.html.jinja").render(
        report=report,
        place=place(report),
        verdict=verdict(rows) if rows else None,
        busy=busy_verdict(report),
        tables=tables(rows),
        plots=drawn,
        ours=list(_ours(rows)),
        settings=json.dumps(settings, indent=1, ensure_ascii=False),
        results=_by_task(report.results),
        rounded=lambda values: json.dumps(_rounded(values), ensure_ascii=False),
        counted=counted,
    )


def _ours(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Cells for the table of the published networks; each model once, whatever ran it."""
    by_name = {row.name: row for row in reversed(rows) if row.accuracy}
    for row in reversed(by_name.values()):
        accuracy = row.accuracy
        assert accuracy is not None
        p50 = quantile_of(row.rounds("single_stream").latencies_ms, 0.5, with_interval=False)
        iou, frames = share(accuracy.mean_iou, accuracy.interval), f"{accuracy.values['frames']:,}"
        yield [row.label, iou, number(row.size_mb), p50, frames, accuracy.origin]


def _by_task(results: Sequence[Result]) -> list[list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.task.key, []).append(result)
    return list(groups.values())


def _rounded(value: Any) -> Any:
    """Numbers to six figures: no clock is better, and the page stays small."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {name: _rounded(it) for name, it in value.items()}
    return [_rounded(it) for it in value] if isinstance(value, list | tuple) else value
