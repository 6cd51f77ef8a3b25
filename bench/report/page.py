"""The report as one HTML file that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.report.data import Report, Result, busy_verdict
from bench.report.rows import Row, rows_of
from bench.report.table import NONE, Table, as_markdown, label, number, place, quantile_of, share, tables
from perception.system.set_aside import write_outputs

if TYPE_CHECKING:
    from bench.report.plots import Plot

NO_PLOTS: Final = "no plots: matplotlib is not installed; pip install 'drivable[bench]'"

PAGE_FILES: Final = ("report.html", "report.md", "pareto.png", "latency.png", "stage_cost.png", "rates.png")

SCENARIOS: Final = {
    "single_stream": "The next frame is handed over when the last one is done: how long a frame takes that "
    "waits for nothing.",
    "constant_rate": "Frames come by the clock, whether the node keeps up or not, as from a camera; a late "
    "frame is timed from when it was due.",
    "offline": "A recording is worked off as fast as it goes, from the file to class maps or to an overlay "
    "video.",
    "baselines": "The same recording and the same network in loops that others write.",
    "stage_cost": "Every stage alone, to know what a frame costs at least.",
    "streams": "Several recordings at once, one process each, which share the cores.",
    "accuracy": "Every labelled frame through the node's own path, compared with its label pixel by pixel.",
}
"""What a scenario means, in a sentence."""
PLOTS_OF: Final = {
    "single_stream": "latency",
    "constant_rate": "rates",
    "stage_cost": "stage_cost",
    "accuracy": "pareto",
}
"""Which plot stands below which table."""
PUBLISHED: Final = (
    ("FCN-ResNet50", 0.6956, 133),
    ("UNet", 0.6544, 118),
    ("PSPNet-ResNet50", 0.7549, 187),
    ("DeepLabV3+-ResNet50", 0.7305, 154),
    ("SegFormer MiT-B3", 0.7707, 170),
)
"""Name, mean IoU and MB of weights of the five networks of the published study, on the drivable area of
BDD100K at 320x180; measured by others."""

_ALLOWED: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #5b6570; --back: #f6f7f9; --card: #fff;
  --line: #dde1e6; --mark: #0b62a4; --warn: #fff3d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a2abb5; --back: #14171a;
  --card: #1d2125; --line: #353b42; --mark: #7fbdf0; --warn: #4a3b12; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px }
h1 { margin: 0 0 4px; font-size: 26px } h2 { margin: 44px 0 2px; font-size: 19px }
h3 { margin: 22px 0 4px; font-size: 15px }
p { margin: 4px 0 10px; max-width: 92ch } .soft { color: var(--soft); font-size: 13px; max-width: 110ch }
code, pre { font-family: ui-monospace, monospace; font-size: 12.5px; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0; font-size: 14px }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 14px 0; font-size: 14px }
a { color: var(--mark) }
.warn { background: var(--warn); padding: 8px 12px; border-radius: 6px; max-width: none }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  margin: 10px 0 6px }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums }
th, td { padding: 5px 11px; text-align: right; white-space: nowrap }
th { color: var(--soft); font-weight: 600; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--card) }
tr + tr.first td { border-top: 1px solid var(--line) }
td.words { text-align: left; white-space: normal; min-width: 22ch }
figure { margin: 16px 0; padding: 12px; background: #fff; border: 1px solid var(--line); border-radius: 8px;
  overflow-x: auto }
figure svg { display: block; width: 100%; min-width: 620px; max-width: 900px; height: auto; margin: 0 auto }
figcaption { color: #4d565f; font-size: 13px; max-width: 82ch; margin: 4px auto 0 }
figcaption b { color: #1d2126 }
details { border-top: 1px solid var(--line); padding: 6px 0 } summary { cursor: pointer }
pre { white-space: pre-wrap; max-height: 420px; overflow: auto; background: var(--card); padding: 10px;
  border: 1px solid var(--line); border-radius: 6px }
@media (max-width: 600px) { main { padding: 18px 12px 40px } h1 { font-size: 22px }
  dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: 6px } th, td { padding: 4px 8px } }
"""


def plots_of(report: Report) -> tuple[list[Plot], list[str]]:
    """The plots, and a line that says why there are none where matplotlib is not installed."""
    try:
        from bench.report.plots import plots
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return [], [NO_PLOTS]
    return plots(rows_of(report)), []


def write_page(report: Report, folder: Path, *, overwrite: bool = False) -> list[str]:
    """`report.html`; for a README its tables as `report.md`, and every plot as a PNG.

    Args:
        overwrite: the files that are there are an earlier state of this report; else they are set aside.

    Returns:
        What there is to say about it: one line where plots are missing.

    Raises:
        OSError: if they cannot be written.
    """
    drawn, said = plots_of(report)
    contents = {
        folder / "report.html": page(report, drawn).encode(),
        folder / "report.md": as_markdown(report).encode(),
        **{folder / f"{plot.name}.png": plot.png() for plot in drawn},
    }
    write_outputs(contents, overwrite=overwrite, waits_for_disk=False)
    return said


def page(report: Report, drawn: Sequence[Plot] | None = None) -> str:
    """The whole file as text.

    Args:
        drawn: the plots, where they are at hand already.
    """
    said: list[str] = []
    if drawn is None:
        drawn, said = plots_of(report)
    made = tables(report)
    by_name = {plot.name: plot for plot in drawn}
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_ALLOWED}">',
        f"<title>drivable-bench: {escape(place(report))}</title>",
        f"<style>{_STYLE}</style></head><body><main>",
        *_head(report),
        *(f'<p class="warn">{escape(line)}</p>' for line in said),
        *_links(made),
    ]
    if "pareto" in by_name:
        parts.append(_figure(by_name["pareto"]))
    for table in made:
        parts += _section(table, report)
        plot = by_name.get(PLOTS_OF.get(table.scenario, ""))
        if plot is not None and plot.name != "pareto":
            parts.append(_figure(plot))
    parts += [*_published(rows_of(report)), *_raw(report), "</main></body></html>"]
    return "\n".join(parts) + "\n"


def _head(report: Report) -> Iterator[str]:
    yield "<h1>drivable-bench</h1>"
    yield f'<p class="soft">{escape(place(report))}</p>'
    if report.is_partial:
        yield '<p class="warn">Partial: this run has not come to its end.</p>'
    if (said := busy_verdict(report)) is not None:
        yield f'<p class="warn">{escape(said)}</p>'
    told = {
        "command": f"<code>{escape(report.command)}</code>",
        "measured": escape(f"{report.started} to {report.ended}"),
        "machine": escape(_pairs(report.machine)),
        "versions": escape(_pairs(report.versions)),
        "load": escape(f"{_json(report.load.before)} before, {_load_during(report.load.during)}"),
    }
    yield "<dl>" + "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in told.items()) + "</dl>"
    if report.missing:
        lines = "".join(f"<li>{escape(it.title)}: {escape(it.reason)}</li>" for it in report.missing)
        yield f"<p>Not measured:</p><ul>{lines}</ul>"


def _links(made: Sequence[Table]) -> Iterator[str]:
    links = [(table.scenario, table.title) for table in made]
    links += [("published", "Beside published results"), ("raw", "Every number")]
    yield "<nav>" + "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title in links) + "</nav>"


def _section(table: Table, report: Report) -> Iterator[str]:
    yield f'<section id="{table.scenario}"><h2>{escape(table.title)}</h2>'
    yield f"<p>{escape(SCENARIOS[table.scenario])}</p>"
    yield _html(table.columns, table.rows)
    yield f'<p class="soft">{escape(table.note)}</p></section>'


def _html(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a line above the first row of every name."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = []
    for above, row in zip([None, *rows], rows, strict=False):
        is_first = above is None or above[0] != row[0]
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in (row[0] if is_first else "", *row[1:]))
        body.append(f'<tr class="first">{cells}</tr>' if is_first else f"<tr>{cells}</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(body)}</table></div>'


def _figure(plot: Plot) -> str:
    svg = plot.svg().replace("<svg", f'<svg role="img" aria-label="{escape(plot.title, quote=True)}"', 1)
    caption = f"<b>{escape(plot.title)}.</b> {escape(plot.caption)}"
    return f'<figure id="plot-{plot.name}">{svg}<figcaption>{caption}</figcaption></figure>'


def _published(rows: Sequence[Row]) -> Iterator[str]:
    """The study's five networks and ours; each model once, whatever ran it."""
    ours = {row.name: row for row in reversed(rows) if row.accuracy is not None}
    columns = ["network", "mean IoU %", "weights MB", "p50 ms here", "frames", "where from"]
    told = [
        [name, share(mean_iou), str(size_mb), NONE, NONE, "published by others"]
        for name, mean_iou, size_mb in PUBLISHED
    ]
    for row in reversed(ours.values()):
        assert row.accuracy is not None
        told.append(
            [
                label(row),
                share(row.accuracy.mean_iou, row.accuracy.interval),
                number(row.size_mb),
                quantile_of(row.single, 0.5, with_interval=False) if row.single else NONE,
                f"{row.accuracy.frames:,}",
                row.accuracy.origin,
            ]
        )
    yield '<section id="published"><h2>Beside published results</h2>'
    yield (
        "<p>Five networks of a published study of BDD100K's drivable area: mean IoU of three classes, at "
        "320x180. Published by others, on another split, and not measured here: they tell where ours stand, "
        "not which is better.</p>"
    )
    yield _html(columns, told) + "</section>"


def _raw(report: Report) -> Iterator[str]:
    """Everything that the tables were made of, folded away."""
    yield '<section id="raw"><h2>Every number</h2>'
    yield "<p>All values of all rounds, as in <code>report.json</code>.</p>"
    head = {
        "config": report.config,
        "models": {name: vars(it) for name, it in report.models.items()},
        "source_sha256": report.source_sha256,
        "load": vars(report.load),
    }
    yield f"<details><summary>settings, models, load</summary><pre>{_pretty(head)}</pre></details>"
    groups: dict[str, list[Result]] = {}
    for result in report.results:
        groups.setdefault(result.task.key, []).append(result)
    for group in groups.values():
        rounds = f"{len(group)} round{'s' * (len(group) != 1)}"
        lines = "\n".join(
            f"round {it.round}, at {it.started_unix_s:.0f} s: {_json(_rounded(it.values))}" for it in group
        )
        yield (
            f"<details><summary>{escape(group[0].task.title)}, {rounds}</summary>"
            f"<pre>{escape(lines)}</pre></details>"
        )
    yield "</section>"


def _pairs(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)


def _load_during(samples: Sequence[Any]) -> str:
    known = [float(it) for it in samples if isinstance(it, int | float)]
    if not known:
        return "unknown during the run"
    return f"{min(known):.2f} to {max(known):.2f} during the run ({len(known)} samples)"


def _rounded(value: Any) -> Any:
    """Numbers to six figures: no clock is better, and the page stays small."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {name: _rounded(it) for name, it in value.items()}
    return [_rounded(it) for it in value] if isinstance(value, list | tuple) else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _pretty(value: Any) -> str:
    return escape(json.dumps(value, indent=1, ensure_ascii=False, default=str))
