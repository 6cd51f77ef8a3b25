"""The plots: what they show, what is left out, and that they can be read on a narrow screen."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from bench.engines import EngineName
from bench.report.data import ModelFile, Result
from bench.report.plots import Plot, constant_rates, distributions, pareto, pareto_front, plots, stage_bars
from bench.report.rows import Row
from bench.task import ScenarioName, Task

PNG_START = b"\x89PNG\r\n"
CARD = {"split": "test", "frames": 147, "recordings": 87, "mean_iou": 0.77, "interval": [0.74, 0.8]}


def latencies(p50_ms: float, frames: int = 500) -> list[float]:
    return list(p50_ms * np.random.default_rng(0).lognormal(0, 0.1, frames))


def row(
    model: str = "rt_s",
    p50_ms: float = 4.0,
    *,
    frames: int = 500,
    lost_hz: float = 0.0,
    stall: Any = None,
    size_bytes: int = 4_000_000,
    engine: EngineName = "onnx",
    without: tuple[ScenarioName, ...] = (),
    **card: Any,
) -> Row:
    """Of a model that was measured in three rounds; at `lost_hz`, one of them was not held."""
    results: list[Result] = []

    def add(scenario: ScenarioName, number: int, **values: Any) -> None:
        if scenario not in without:
            results.append(Result(Task(scenario, model, engine), number, 0.0, values))

    for number in range(3):
        add("single_stream", number, latencies_ms=latencies(p50_ms, frames // 3 + 1))
        for rate_hz in (15.0, 30.0):
            is_lost = rate_hz == lost_hz and number == 1
            add(
                *("constant_rate", number),
                **{"rate_hz": rate_hz, "latencies_ms": latencies(p50_ms, 200), "held": not is_lost},
                stall=stall,
            )
        cost_ms = {name: 2.0 for name in ("decode", "preprocess", "infer", "postprocess", "overlay")}
        add("stage_cost", number, cpu_ms=cost_ms, steps_cpu_ms=cost_ms)
        add("offline", number, to="class_map", fps=180.0, cpu_ms_per_frame=8.0 + number)
    file = ModelFile("1" * 64, size_bytes, "fp32", (640, 384), CARD | card)
    return Row(model, engine, "cpu", file, results)


def drawn_texts(figure: Figure) -> list[Text]:
    """Without the labels of ticks that lie outside of their axis."""
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [it.label1 for it in axis.get_major_ticks() if low <= it.get_loc() <= high]
    return [it for it in texts if it.get_visible() and it.get_text().strip()]


def texts_of(plot: Plot) -> list[str]:
    return [it.get_text() for it in plot.figure.findobj(Text)]


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
    mixed = pareto([row(), row("rt_m", 9.0, frames=100)])
    few = pareto([row("rt_m", 9.0, frames=100)])

    assert mixed is not None
    assert few is not None
    assert "hollow: p50, too few frames for p99" in texts_of(mixed)
    assert "p50 latency, ms, one frame after the other" in texts_of(few)


def test_mark_s_area_grows_with_the_file() -> None:
    plot = pareto([row("a"), row("b", size_bytes=40_000_000)])

    assert plot is not None
    areas = [it.get_sizes()[0] for it in plot.figure.axes[0].findobj(PathCollection)]  # type: ignore[attr-defined]
    assert areas[1] > 5 * areas[0]


def test_points_have_the_arms_of_their_intervals() -> None:
    plot = pareto([row()])

    assert plot is not None
    arms = [it.get_segments()[0] for it in plot.figure.axes[0].findobj(LineCollection)]  # type: ignore[attr-defined]
    (x_low, y), (x_high, _) = next(it for it in arms if it[0][1] == it[1][1])
    (_, y_low), (_, y_high) = next(it for it in arms if it[0][0] == it[1][0])
    assert y == 0.77
    assert (y_low, y_high) == pytest.approx((0.74, 0.8))
    assert x_low < np.quantile(latencies(4.0, 167), 0.99) < x_high


def test_accuracy_of_one_recording_alone_has_no_arms() -> None:
    plot = pareto([row(interval=[None, None])])

    assert plot is not None
    assert len(plot.figure.axes[0].findobj(LineCollection)) == 1  # the latency's


def test_network_without_a_mean_of_three_has_no_point() -> None:
    assert pareto([row(mean_iou=None)]) is None


def test_every_plot_is_drawn_as_svg_and_as_png() -> None:
    drawn = plots([row(), row("rt_m", 9.0)])

    assert [plot.name for plot in drawn] == ["pareto", "latency", "stage_cost", "rates"]
    for plot in drawn:
        ElementTree.fromstring(plot.svg())
        assert plot.png().startswith(PNG_START)


def test_plots_of_eight_models_by_three_engines_fit_a_phone() -> None:
    """Nothing reaches beyond 400 px at the size that it is drawn in, and no text covers another's."""
    engines: list[EngineName] = ["onnx", "openvino", "openvino-f32"]
    rows = [row(f"network_{n}-int8", 3.0 + 2 * n, engine=engine) for n in range(8) for engine in engines]

    for plot in plots(rows):
        canvas = FigureCanvasAgg(plot.figure)
        canvas.draw()
        width_px = plot.figure.get_figwidth() * 72
        texts = drawn_texts(plot.figure)
        boxes = [it.get_window_extent() for it in texts]
        inside = plot.figure.bbox
        assert width_px <= 400
        assert min(float(it.get_fontsize()) for it in texts) >= 9
        assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


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
    empty = row(without=("single_stream", "constant_rate", "stage_cost", "offline"))

    assert plots([empty]) == plots([]) == []


def test_model_s_name_is_no_markup() -> None:
    drawn = plots([row("a$b$<c>&d")])

    assert ">a$b$&lt;c&gt;&amp;d</text>" in drawn[0].svg()


def test_distribution_marks_the_quantiles_that_the_sample_holds() -> None:
    def marks(frames: int) -> list[float]:
        plot = distributions([row(frames=frames)])
        assert plot is not None
        points = [it for it in plot.figure.axes[0].lines if it.get_marker() == "o"]
        return [round(float(it.get_ydata()[0]), 2) for it in points]  # type: ignore[index]

    assert marks(500) == [0.5, 0.01]
    assert marks(100) == [0.5]


def test_pipeline_s_cost_has_the_range_over_its_rounds() -> None:
    plot = stage_bars([row()])

    assert plot is not None
    (arms,) = (it.get_segments()[0] for it in plot.figure.axes[0].findobj(LineCollection))  # type: ignore[attr-defined]
    assert [x for x, _ in arms] == [8.0, 10.0]


def test_rate_that_was_not_held_is_hollow() -> None:
    plot = constant_rates([row(lost_hz=30.0)])

    assert plot is not None
    marks = [it for it in plot.figure.axes[0].lines if it.get_marker() == "o"]
    assert [(it.get_xdata()[0], it.get_markerfacecolor() == "white") for it in marks] == [  # type: ignore[index]
        (15.0, False),
        (30.0, True),
    ]


def test_stalled_rates_are_left_out() -> None:
    assert constant_rates([row(stall={"stage": "predict", "ms": 200.0, "every_s": 10.0})]) is None
