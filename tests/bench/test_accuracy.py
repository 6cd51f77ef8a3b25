"""`drivable-bench accuracy`: its table, its choice of frames, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.scenarios.accuracy import evenly
from perception.inference.engines import OnnxEngine
from perception.inference.predictor import Predictor
from perception.inference.zoo import DEFAULT_MODEL, model_file
from perception.metrics.segmentation import measure_accuracy
from train.data.layouts import open_frames

RunAccuracy = Callable[..., list[str]]


@pytest.fixture
def run_accuracy(data: Path, capsys: pytest.CaptureFixture[str]) -> RunAccuracy:
    """A function that runs the command on split val and gives the rows it printed."""

    def run(*arguments: str) -> list[str]:
        status = main(["accuracy", "--data", str(data), "--split", "val", *arguments])
        assert status == 0
        return capsys.readouterr().out.splitlines()

    return run


def row_of(rows: list[str], name: str) -> list[str]:
    (row,) = [row for row in rows if row.startswith(f"{name} ")]
    return row.removeprefix(name).split()


def test_table_says_what_was_measured(data: Path, run_accuracy: RunAccuracy) -> None:
    rows = run_accuracy()

    predict = Predictor(OnnxEngine(model_file(DEFAULT_MODEL), "cpu"))
    measured = measure_accuracy(predict, open_frames(data, "val"))
    low, high = measured.mean_iou_interval()
    assert rows[0] == f"{DEFAULT_MODEL} on split val, 4 frames of 3 recordings"
    assert row_of(rows, "mean IoU")[0] == f"{100 * measured.total.mean_iou():.2f}"
    assert rows[1].endswith(f"95 % interval by recording {100 * low:.2f} to {100 * high:.2f} %")
    for name, iou in zip(("direct", "alternative", "background"), measured.total.iou(), strict=True):
        assert row_of(rows, name) == [f"{100 * iou:.2f}", "%"]
    parts = measured.by_condition()
    assert row_of(rows, "day")[0] == f"{100 * parts['day'].total.mean_iou():.2f}"
    assert any(row.endswith("1 frame of 1 recording, mean luma from 60 up") for row in rows)
    assert row_of(rows, "night")[0] == f"{100 * parts['night'].total.mean_iou():.2f}"
    assert any(row.endswith("3 frames of 2 recordings, mean luma below 60") for row in rows)
    two = measured.drivable_or_not().total.mean_iou()
    assert row_of(rows, "two classes")[0] == f"{100 * two:.2f}"
    assert row_of(rows, "outlines")[0] == f"{100 * measured.mean_boundary_iou():.2f}"
    assert row_of(rows, "confidence")[0] == f"{100 * measured.calibration_error():.2f}"
    assert len(rows) == 10


def test_peer_is_measured_on_the_same_frames_in_two_classes(
    run_accuracy: RunAccuracy, red_is_drivable: Path
) -> None:
    rows = run_accuracy("--peer", str(red_is_drivable))

    ours = float(row_of(rows, "two classes")[0])
    assert "drivable or not, on the same frames" in rows
    mean, low, _, high, drivable, day, night, lead = row_of(rows, "red")[:8]
    assert {mean, low, high, drivable, day, night} == {"100.00"}
    assert float(lead) == pytest.approx(ours - 100, abs=0.011)


@pytest.mark.parametrize("as_list", [False, True])
def test_every_peer_that_is_named_stands_in_the_table(
    run_accuracy: RunAccuracy, red_is_drivable: Path, tmp_path: Path, as_list: bool
) -> None:
    other = shutil.copy(red_is_drivable, tmp_path / "second.onnx")
    separate = ("--peer", str(red_is_drivable), f"--peer={other}")

    rows = run_accuracy(*(("--peer", f"[{red_is_drivable}, {other}]") if as_list else separate))

    assert row_of(rows, "red")[0] == row_of(rows, "second")[0] == "100.00"


def test_only_measures_on_the_frames_with_a_value(run_accuracy: RunAccuracy) -> None:
    rows = run_accuracy("--only", "weather=rain")

    assert rows[0] == f"{DEFAULT_MODEL} on split val, weather=rain, 2 frames of 2 recordings"


def test_one_recording_alone_has_no_interval(run_accuracy: RunAccuracy, red_is_drivable: Path) -> None:
    rows = run_accuracy("--only", "weather=dry", "--peer", str(red_is_drivable))

    assert rows[0].endswith("1 frame of 1 recording")
    assert rows[1].endswith("%   no interval: one recording says nothing about others")
    assert not any(" to " in row for row in rows[1:])
    assert row_of(rows, "two classes")[-3:] == ["drivable", "or", "not"]


def test_built_in_road_is_measured_without_a_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accuracy", "--synthetic-frames", "7"]) == 0

    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == f"{DEFAULT_MODEL} on the built-in road, 7 frames of 7 recordings"
    assert float(row_of(rows, "mean IoU")[0]) > 85


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (
            ["--only", "wether=rain"],
            2,
            "--only wether=rain: {data}/index.csv has no column wether; it has: id, split, weather",
        ),
        (
            ["--only", "weather=fog"],
            2,
            "no frame of split val has it; known values of weather: dry, rain, snow",
        ),
        (["--only", "rain"], 2, "--only rain: write it as COLUMN=VALUE, such as bdd_split=val"),
        (["--only", "=rain"], 2, "write it as COLUMN=VALUE"),
        (["--split", "vla"], 1, "no frames in split 'vla'; it has: "),
        (
            ["--peer", "nowhere.onnx"],
            1,
            "nowhere.onnx: no such model file, and no shipped model of that name",
        ),
        (["--layout", "bddd"], 1, "bddd: no such layout"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    expected: int,
    message: str,
    data: Path,
    only_error_line: Callable[[str], str],
) -> None:
    status = main(["accuracy", "--data", str(data), "--split", "val", *arguments])

    assert status == expected
    assert message.format(data=data) in only_error_line("drivable-bench")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "weather=rain"], "--only chooses among the frames of a data set; name one with --data"),
        (["--synthetic-frames", "0"], "--synthetic-frames must be at least 1, not 0"),
    ],
)
def test_settings_that_need_others_say_which(
    arguments: list[str], message: str, only_error_line: Callable[[str], str]
) -> None:
    assert main(["accuracy", *arguments]) == 2

    assert message in only_error_line("drivable-bench")


@pytest.mark.parametrize(
    ("count", "at_most", "chosen"),
    [
        (3, 5, [0, 1, 2]),
        (3, 3, [0, 1, 2]),
        (6, 3, [0, 2, 4]),
        (7, 3, [0, 2, 4]),
        (5, 4, [0, 1, 2, 3]),
        (9, 1, [0]),
    ],
)
def test_few_of_many_are_spread_evenly(count: int, at_most: int, chosen: list[int]) -> None:
    assert list(evenly(count, at_most)) == chosen
