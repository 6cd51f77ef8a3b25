"""The table of trained networks, from the reports of their runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from train.cli import main


def report(runs: Path, name: str, mean_iou: float, epochs_done: int = 2, weights: str | None = None) -> None:
    folder = runs / name / "report"
    folder.mkdir(parents=True)
    content = {
        "model": name,
        "config": {"stages": [{"epochs": 2}], "encoder_weights": weights},
        "history": [{"seconds": 90.0}] * epochs_done,
        "network": {"parameters": 1_230_000, "size_mib": 4.7, "device": "2 x CPU"},
        "validation": {
            "mean_iou": mean_iou,
            "iou": {"direct": 0.7, "alternative": 0.5, "background": 0.9},
        },
    }
    (folder / "report.json").write_text(json.dumps(content))


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["table", "--runs", *arguments]) == 0
    return capsys.readouterr().out.splitlines()[2:]


def test_best_network_comes_first_with_all_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tmp_path, "small", 0.61)
    report(tmp_path, "large", 0.72, epochs_done=1, weights="/weights/resnet.pth")

    assert rows(capsys, str(tmp_path)) == [
        "| `large` | **72.00 %** | 70.00 | 50.00 | 90.00 | 1.23 M | 4.7 MiB | resnet.pth | 1 of 2 | 2 min "
        "| 2 x CPU |",
        "| `small` | **61.00 %** | 70.00 | 50.00 | 90.00 | 1.23 M | 4.7 MiB | random | 2 | 3 min | 2 x CPU |",
    ]


def test_curves_of_all_runs_are_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        report(tmp_path, name, 0.6)
        file = tmp_path / name / "report" / "report.json"
        content = json.loads(file.read_text())
        content["history"] = [{"seconds": 90.0, "val_mean_iou": share} for share in (0.5, 0.6)]
        file.write_text(json.dumps(content))

    rows(capsys, str(tmp_path), "--curves", str(tmp_path / "curves.png"))

    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape == (660, 1100, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_named_networks_keep_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, mean_iou in (("a", 0.6), ("b", 0.7), ("c", 0.8)):
        report(tmp_path, name, mean_iou)

    found = rows(capsys, str(tmp_path), "--models", "[b, a]")

    assert [row.split("`")[1] for row in found] == ["b", "a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "none"], "none: holds no report"),
        (["--runs", ".", "--models", "[absent]"], "absent/report/report.json: no report"),
        (["--runs", ".", "--models", "[torn]"], "torn/report/report.json: not a report of drivable-train"),
        (["--runs", ".", "--models", "[deep]"], "deep/report/report.json: not a report of drivable-train"),
    ],
)
def test_missing_and_torn_reports_are_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_error_line: Callable[[str], str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn" / "report").mkdir(parents=True)
    (tmp_path / "torn" / "report" / "report.json").write_text("{")
    (tmp_path / "deep" / "report").mkdir(parents=True)
    (tmp_path / "deep" / "report" / "report.json").write_text(99_999 * "[")

    assert main(["table", *arguments]) == 1
    assert message in only_error_line("drivable-train")
