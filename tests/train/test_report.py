"""The report of a run: its files, and figures that follow from the frames."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, IGNORE
from train.report import PredictedFrame, ReportError, best_epoch, write_report
from train.report.charts import conditions, curves
from train.report.frames import gather

ROOT = Path(__file__).parents[2]
PICTURES = ["best.png", "conditions.png", "confusion.png", "curves.png", "worst.png"]
FILES = sorted([*PICTURES, "report.json"])
CONFIG: dict[str, Any] = {
    "model": "rt_m",
    "stages": [{"input_wh": (320, 192), "epochs": 2}, {"input_wh": (640, 384), "epochs": 2}],
    "choose_by": "mean_iou",
}


def entry(stage: int, epoch: int, mean_iou: float, **more: float) -> dict[str, float]:
    return {"stage": stage, "epoch": epoch, "loss": 1.0 - mean_iou, "val_mean_iou": mean_iou, **more}


HISTORY = [
    entry(0, 0, 0.6, val_loss=0.5, val_iou_direct=0.6, val_iou_alternative=0.3, val_iou_background=0.9),
    entry(0, 1, 0.8, val_loss=0.4, learning_rate=1e-3, seconds=12.0),
    entry(1, 0, 0.75),
    entry(1, 1, 0.7, val_loss=0.2),
]


def seen(name: str, wrong_rows: int, level: int = 200, recording: str = "a") -> PredictedFrame:
    """20 rows of 10: direct, alternative and background columns; `wrong_rows` taken for background."""
    truth = np.full((20, 10), BACKGROUND, np.uint8)
    truth[:, :4], truth[:, 4:6] = DIRECT, ALTERNATIVE
    predicted = truth.copy()
    predicted[:wrong_rows] = BACKGROUND
    return PredictedFrame(name, recording, np.full((20, 40, 3), level, np.uint8), truth, predicted)


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_every_file_is_written_and_every_picture_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "report"

    write_report(folder, CONFIG, HISTORY, [seen(f"{wrong}", wrong) for wrong in range(3)])

    assert sorted(file.name for file in folder.iterdir()) == FILES
    for name in PICTURES:
        picture = cv2.imread(str(folder / name))
        assert picture is not None
        assert min(picture.shape[:2]) > 200
        assert picture.std() > 5  # something is drawn


def test_numbers_are_those_of_a_count_by_hand(tmp_path: Path) -> None:
    frames = [seen("x", 0, 200, "a"), seen("y", 10, 20, "b")]

    write_report(tmp_path, CONFIG, HISTORY, iter(frames))

    report = report_of(tmp_path)
    direct, alternative, background = 120 / 160, 60 / 80, 160 / (160 + 60)
    validation = report["validation"]
    assert report["labels"] == ["direct", "alternative", "background"]
    assert validation["confusion"] == [[120, 0, 40], [0, 60, 20], [0, 0, 160]]
    assert validation["iou"] == pytest.approx(
        {"direct": direct, "alternative": alternative, "background": background}
    )
    assert validation["mean_iou"] == pytest.approx((direct + alternative + background) / 3)
    assert (validation["frames"], validation["recordings"], validation["confidence"]) == (2, 2, 0.95)
    of_y = (0.5 + 0.5 + 80 / 140) / 3
    assert validation["mean_iou_interval"] == pytest.approx([of_y, 1.0])
    assert report["conditions"]["day"]["mean_iou"] == 1.0
    assert report["conditions"]["night"]["mean_iou"] == pytest.approx(of_y)
    assert report["conditions"]["night"]["confusion"] == [[40, 0, 40], [0, 20, 20], [0, 0, 80]]
    assert report["drivable_or_not"]["confusion"] == [[180, 60], [0, 160]]
    assert report["drivable_or_not"]["iou"] == pytest.approx({"drivable": 180 / 240, "background": 160 / 220})
    assert report["frames"] == [
        {"name": "x", "recording": "a", "condition": "day", "mean_iou": 1.0},
        {"name": "y", "recording": "b", "condition": "night", "mean_iou": pytest.approx(of_y)},
    ]
    assert (report["best"], report["worst"]) == (["x", "y"], ["y", "x"])
    assert (report["model"], report["night_below_luma"]) == ("rt_m", 60)
    assert report["config"]["stages"][0]["input_wh"] == [320, 192]
    assert report["history"] == HISTORY
    assert report["best_epoch"] == HISTORY[2]


@pytest.mark.parametrize(("recordings", "has_interval"), [("aa", False), ("ab", True)])
def test_one_recording_alone_has_no_interval(recordings: str, has_interval: bool, tmp_path: Path) -> None:
    frames = [seen(f"{order}", 5 * order, recording=recording) for order, recording in enumerate(recordings)]

    write_report(tmp_path, CONFIG, HISTORY, frames)
    (axes,) = conditions(gather(frames, shown=1).accuracy).axes

    assert (report_of(tmp_path)["validation"]["mean_iou_interval"] is not None) == has_interval
    assert any(isinstance(bars, ErrorbarContainer) for bars in axes.containers) == has_interval
    title = axes.get_title(loc="left")
    assert ("the line is the 95 % interval" if has_interval else "a single recording has no") in title


@pytest.mark.parametrize(
    ("name", "called"), [("my_roads", "my_roads (rt_m)"), ("rt_m", "rt_m"), (None, "rt_m")]
)
def test_curves_are_called_as_the_run_is(name: str | None, called: str) -> None:
    assert curves({**CONFIG, "name": name}, HISTORY).get_suptitle() == f"{called}: 4 epochs"


def test_best_and_worst_frames_are_those_with_the_highest_and_lowest_mean_iou() -> None:
    order = np.random.default_rng(0).permutation(20)

    gathered = gather((seen(f"{wrong}", int(wrong)) for wrong in order), shown=4)

    assert [one[0].name for one in gathered.best] == ["0", "1", "2", "3"]
    assert [one[1].name for one in gathered.worst] == ["19", "18", "17", "16"]
    assert [score.name for score in gathered.scores] == [f"{wrong}" for wrong in order]


def test_first_of_equal_frames_is_shown() -> None:
    gathered = gather((seen(f"{index}", 5) for index in range(6)), shown=2)

    assert [one[0].name for one in (*gathered.best, *gathered.worst)] == ["0", "1", "0", "1"]


def test_pictures_of_the_frames_between_are_let_go() -> None:
    pictures: list[weakref.ref[np.ndarray]] = []
    most = 0

    def frames() -> Iterator[PredictedFrame]:
        nonlocal most
        for index in range(40):
            frame = seen(f"{index}", index % 20)
            pictures.append(weakref.ref(frame.image_bgr))
            yield frame
            most = max(most, sum(picture() is not None for picture in pictures))

    gathered = gather(frames(), shown=3)

    assert len(gathered.scores) == 40
    assert most <= 2 * 3 + 2  # and the one that is looked at, and the next


def test_frame_without_a_counted_pixel_is_neither_best_nor_worst(tmp_path: Path) -> None:
    blank = seen("blank", 0)
    blank.truth[:] = IGNORE

    write_report(tmp_path, CONFIG, HISTORY, [seen("x", 3), blank])

    report = report_of(tmp_path)
    assert report["frames"][1]["mean_iou"] is None
    assert report["best"] == report["worst"] == ["x"]


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("config", "history"),
    [
        ({}, []),
        ({"model": "rt_s", "stages": []}, [entry(0, 0, 0.5)]),
        (CONFIG, [{"stage": 0, "epoch": 0, "loss": 1.0, "val_mean_iou": float("nan")}]),
        (CONFIG, [{"stage": 5, "epoch": 0}]),
        (CONFIG, [entry(index // 30, index % 30, index / 100, val_loss=0.1) for index in range(90)]),
    ],
)
def test_history_and_config_of_any_version_will_do(
    config: dict[str, Any], history: list[dict[str, float]], tmp_path: Path
) -> None:
    write_report(tmp_path, config, history, [seen("x", 1)])

    assert sorted(file.name for file in tmp_path.iterdir()) == FILES
    assert len(report_of(tmp_path)["history"]) == len(history)


def test_names_of_files_are_no_formulas_and_may_be_long(tmp_path: Path) -> None:
    write_report(tmp_path, CONFIG, HISTORY, [seen("price $5\\frac{ of $6", 1), seen("long" * 40, 2)])

    assert (tmp_path / "best.png").is_file()


def test_report_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    write_report(tmp_path, CONFIG, HISTORY, [seen("x", 1)])
    before = (tmp_path / "worst.png").read_bytes()

    write_report(tmp_path, CONFIG, HISTORY, [seen("y", 9)])

    assert report_of(tmp_path)["worst"] == ["y"]
    assert (tmp_path / "worst.png").read_bytes() != before


def test_no_frames_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"report: no report: no frames"):
        write_report(tmp_path / "report", CONFIG, HISTORY, [])

    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ReportError, match=r"file/report: the report cannot be written: Not a directory"):
        write_report(tmp_path / "file" / "report", CONFIG, HISTORY, [seen("x", 1)])


@pytest.mark.parametrize(
    ("choose_by", "history", "best"),
    [
        ("mean_iou", HISTORY, 2),
        ("loss", HISTORY, 3),
        ("mean_iou", HISTORY[:2], 1),
        ("loss", HISTORY[2:3], None),
        ("mean_iou", [], None),
        ("mean_iou", [entry(0, 0, 0.5), entry(0, 1, 0.5)], 0),
    ],
)
def test_best_epoch_is_the_one_chosen_in_the_last_stage(
    choose_by: str, history: list[dict[str, float]], best: int | None
) -> None:
    assert best_epoch({"choose_by": choose_by}, history) == best


def test_report_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import train.report"

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
