"""The report's page: one file, of which nothing is fetched and in which no text becomes markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from bench.report.data import Missing, ModelFile, Report, Result
from bench.report.page import page, write_page
from bench.report.plots import plots
from bench.report.rows import rows_of
from bench.report.text import as_markdown, as_text
from bench.task import Task

METER: dict[str, Any] = {
    "wall_s": 3.0, "cpu_s": 5.4, "busy_cores": 1.8, "steal_s": 0.0, "other_cpu_s": 0.1,
    "peak_memory_mb": 210.0, "watts": None,
}  # fmt: skip
SINGLE = METER | {"latencies_ms": [4.0, 5.0] * 250, "stage_ms": {"infer": 3.0}, "frames": 500}
OFFLINE = METER | {"to": "class_map", "fps": 123.456, "frames": 600, "cpu_ms_per_frame": 9.0}
VOID = {"meta", "br", "use", "path"}


class Page(HTMLParser):
    """What a browser would find in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report(model: str = "rt_s", **changes: Any) -> Report:
    card = {"split": "test", "frames": 147, "recordings": 87, "mean_iou": 0.7706, "interval": [0.74, 0.8]}
    values: dict[str, Any] = {
        "command": "drivable-bench --models '[rt_s]'",
        "config": {"rounds": 2},
        "machine": {"cpu": "a CPU", "cores": 2, "gpu": None},
        "versions": {"drivable": "0.4.0"},
        "commit": "abc1234567",
        "started": "2026-03-01T10:00:00+00:00",
        "ended": "2026-03-01T10:05:00+00:00",
        "results": [
            Result(Task("single_stream", model), 0, 5.0, SINGLE),
            *(Result(Task("offline", model), number, 5.0, OFFLINE) for number in range(2)),
        ],
        "missing": [Missing("cuda", "no GPU")],
        "models": {model: ModelFile("1" * 64, 3_800_000, "fp32", (640, 384), card)},
    }
    return Report(**values | changes)


def test_page_is_whole_and_says_what_was_measured_on_what() -> None:
    found = Page(page(report(), []))

    assert found.open == []
    for text in (
        "a CPU, 2 cores, commit abc1234567",
        "drivable-bench --models '[rt_s]'",
        "2026-03-01T10:00:00+00:00 to 2026-03-01T10:05:00+00:00",
        "cuda: no GPU",
        "Latency, one frame after the other",
        "77.06 (74.0–80.0)",
        "card (test)",
        "Whether a model holds 30 Hz here was not measured",
        "single stream, 1 round",
        "offline, 2 rounds",
        "123.456",
    ):
        assert text in found.text


def drawn_page(measured: Report) -> str:
    return page(measured, plots(rows_of(measured)))


def test_page_fetches_nothing() -> None:
    text = drawn_page(report())
    found = Page(text)

    assert not {"script", "link", "img", "iframe", "image"} & {tag for tag, _ in found.tags}
    links = [
        value
        for _, attrs in found.tags
        for name, value in attrs.items()
        if name in ("href", "src", "xlink:href")
    ]
    assert all(value and value.startswith("#") for value in links)
    assert not re.findall(r"@import|url\((?!#)", text)


def test_every_link_leads_to_a_place_on_the_page() -> None:
    found = Page(page(report(), []))

    ids = {attrs.get("id") for _, attrs in found.tags}
    assert {attrs["href"] for tag, attrs in found.tags if tag == "a"} <= {f"#{it}" for it in ids}


def test_no_text_becomes_markup() -> None:
    evil = "<script>alert('x')&\""

    text = page(
        report(
            model=evil,
            command=evil,
            commit=evil,
            machine={"cpu": evil},
            versions={evil: evil},
            config={evil: evil},
            missing=[Missing(evil, evil)],
        ),
        [],
    )

    found = Page(text)
    assert "script" not in {tag for tag, _ in found.tags}
    assert found.open == []
    assert text.count("&lt;script&gt;") > 8


def test_partial_report_says_so() -> None:
    assert "Partial: this run has not finished" in page(report(is_partial=True), [])
    assert "Partial" not in page(report(), [])


def test_machine_that_was_too_busy_is_named_on_page_and_terminal() -> None:
    busy = Result(Task("single_stream", "rt_s"), 0, 5.0, SINGLE | {"other_cpu_s": 3.0})
    measured = report(results=[busy], machine={"cores": 1, "all_cores": 2})

    for text in (page(measured, []), " ".join(as_text(measured)), as_markdown(measured)):
        assert "other programs had up to 50% of the cores meanwhile" in text.replace("\n", " ")
    assert "too busy" not in page(report(), []) + " ".join(as_text(report()))


def test_published_networks_are_marked_as_measured_by_others() -> None:
    found = Page(page(report(), []))

    for name, mean_iou in (("FCN-ResNet50", "69.56"), ("UNet", "65.44"), ("SegFormer MiT-B3", "77.07")):
        assert {name, mean_iou} <= set(found.texts)
    assert found.texts.count("published by others") == 5
    assert "another split, and not measured here" in found.text


def test_empty_report_makes_a_page_too() -> None:
    found = Page(drawn_page(report(results=[], models={})))

    assert found.open == []
    assert "Every number" in found.text


def test_plots_lie_beside_the_page(tmp_path: Path) -> None:
    write_page(report(), tmp_path)

    assert {file.name for file in tmp_path.iterdir()} == {
        "report.html",
        "report.md",
        "pareto.png",
        "latency.png",
    }
    assert (tmp_path / "report.html").read_text().count("<figure") == 2
