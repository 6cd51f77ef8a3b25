"""The plots: what they show, what is left out, and that their texts do not cover each other."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text

from bench.quantiles import quantile
from bench.report.data import ModelFile
from bench.report.plots import Plot, constant_rates, pareto, pareto_front, plots
from bench.report.rows import SHARES, STAGES, AccuracyFigures, Latency, Offline, Rate, Row, Spread, Stages

PNG_START = b"\x89PNG\r\n"


def spread(value: float) -> Spread:
    return Spread(value, value, value, 3)


def latency(p50_ms: float, frames: int = 500) -> Latency:
    pooled_ms = list(p50_ms * np.random.default_rng(0).lognormal(0, 0.1, frames))
    return Latency({it: quantile(pooled_ms, it) for it in SHARES}, max(pooled_ms), frames, 3, pooled_ms)


def row(model: str = "rt_s", p50_ms: float = 4.0, mean_iou: float = 0.77, **changes: Any) -> Row:
    two = (0.87, (0.86, 0.88))
    told = AccuracyFigures("measured on test", 147, 87, mean_iou, (0.74, 0.8), {}, *two, {})
    stages = Stages(
        {name: spread(2.0) for name in STAGES},
        spread(9.0),
        {"class_map": spread(200.0)},
        cores=2,
        frames=300,
    )
    offline = Offline("class_map", spread(180.0), 600, spread(8.8), *[None] * 9)
    rates = [Rate(rate_hz, None, latency(p50_ms), quantile([], 0.5), 0, None, 3) for rate_hz in (15.0, 30.0)]
    file = ModelFile("1" * 64, 4_000_000, "fp32", (640, 384))
    plain = Row(
        *(model, "onnx", "cpu", file, None, None, latency(p50_ms), {}, None, None, None),
        *(rates, None, [offline], [], stages, told),
    )
    return replace(plain, **changes)


def eight(same_place: bool) -> list[Row]:
    """Eight models by three engines; all in one place, or spread over the plot."""
    places = np.random.default_rng(3)
    return [
        row(
            f"network_{n}-int8",
            10.0 if same_place else float(places.uniform(3, 40)),
            0.78 if same_place else float(places.uniform(0.76, 0.8)),
            engine=engine,
        )
        for n in range(8)
        for engine in ("onnx", "openvino", "openvino-f32")
    ]


def texts_of(plot: Plot) -> list[str]:
    return [it.get_text() for it in plot.figure.findobj(Text)]


@pytest.mark.parametrize(("same_place", "rows"), [(False, 24), (True, 8)])
def test_names_of_eight_models_cover_neither_each_other_nor_the_frame(same_place: bool, rows: int) -> None:
    plot = pareto(eight(same_place)[:: 24 // rows])

    assert plot is not None
    FigureCanvasAgg(plot.figure).draw()
    labels = [it for it in plot.figure.findobj(Annotation) if isinstance(it, Annotation)]
    boxes = [Text.get_window_extent(label) for label in labels]
    inside = plot.figure.axes[0].get_window_extent()
    assert len(boxes) == rows
    assert not [(one, other) for one, other in combinations(boxes, 2) if one.overlaps(other)]
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 for box in boxes)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(5.0, 0.7), (9.0, 0.8), (7.0, 0.6)], [(5.0, 0.7), (9.0, 0.8)]),
        ([(5.0, 0.7), (5.0, 0.75)], [(5.0, 0.75)]),
        ([(5.0, 0.8), (6.0, 0.8)], [(5.0, 0.8)]),
        ([], []),
    ],
)
def test_front_holds_what_no_other_beats(
    points: list[tuple[float, float]], front: list[tuple[float, float]]
) -> None:
    assert pareto_front(points) == front


def test_few_frames_give_a_marked_p50() -> None:
    mixed = pareto([row(), row("rt_m", single=latency(9.0, frames=100))])
    few = pareto([row("rt_m", single=latency(9.0, frames=100))])

    assert mixed is not None
    assert few is not None
    assert "hollow: p50, too few frames for p99" in texts_of(mixed)
    assert "p50 latency, ms, one frame after the other" in texts_of(few)


def test_mark_s_area_grows_with_the_file() -> None:
    small, large = row("a"), row("b", file=ModelFile("1" * 64, 40_000_000, "fp32", (640, 384)))

    plot = pareto([small, large])

    assert plot is not None
    areas = [it.get_sizes()[0] for it in plot.figure.axes[0].collections]  # type: ignore[attr-defined]
    assert areas[1] > 5 * areas[0]


def test_network_without_a_mean_of_three_has_no_point() -> None:
    accuracy = replace(row().accuracy, mean_iou=None)  # type: ignore[type-var]

    assert pareto([row(accuracy=accuracy)]) is None


def test_every_plot_is_drawn_as_svg_and_as_png() -> None:
    drawn = plots([row(), row("rt_m", 9.0, 0.78)])

    assert [plot.name for plot in drawn] == ["pareto", "latency", "stage_cost", "rates"]
    for plot in drawn:
        ElementTree.fromstring(plot.svg())
        assert plot.png().startswith(PNG_START)


def test_ids_of_several_plots_on_one_page_are_their_own() -> None:
    svgs = [plot.svg() for plot in plots([row()])]

    ids = [re.findall(r'\bid="([^"]+)"', svg) for svg in svgs]
    used = [re.findall(r'(?:url\(#|href="#)([^")]+)', svg) for svg in svgs]

    assert not [1 for one, other in combinations(ids, 2) if set(one) & set(other)]
    assert all(set(them) <= set(own) for them, own in zip(used, ids, strict=True))


def test_same_rows_give_the_same_picture() -> None:
    (one, other) = (pareto([row()]) for _ in range(2))

    assert one is not None
    assert other is not None
    assert one.svg() == other.svg()


def test_nothing_measured_draws_nothing() -> None:
    empty = row(single=None, accuracy=None, stages=None, rates=[], offline=[])

    assert plots([empty]) == plots([]) == []


def test_model_s_name_is_no_markup() -> None:
    drawn = plots([row("a$b$<c>&d")])

    assert ">a$b$&lt;c&gt;&amp;d</text>" in drawn[0].svg()


def test_rate_that_was_not_held_is_hollow_and_a_stalled_one_left_out() -> None:
    (held, lost) = row().rates
    stalled = replace(held, rate_hz=99.0, stall={"stage": "predict", "ms": 200.0, "every_s": 10.0})

    plot = constant_rates([row(rates=[held, replace(lost, held=1), stalled])])

    assert plot is not None
    marks = [it for it in plot.figure.axes[0].lines if it.get_marker() == "o"]
    assert [(it.get_xdata()[0], it.get_markerfacecolor() == "white") for it in marks] == [  # type: ignore[index]
        (15.0, False),
        (30.0, True),
    ]
