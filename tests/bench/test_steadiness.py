"""`drivable-bench steadiness`: each source with each model, without smoothing and with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import drives
from bench.cli import main
from bench.config import SteadinessConfig
from bench.drives import recorded, rendered
from bench.steadiness import Lags, Measured, OffAndOn, measure, measure_lags, run, table
from perception.inference.engines import OnnxEngine
from perception.inference.zoo import model_file
from perception.metrics.confusion_matrix import ConfusionMatrix
from perception.metrics.steadiness import Steadiness
from perception.refine.steady import SteadySettings
from perception.synthetic import DriveRenderer

MODEL = "rt_s-int8"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drives, "ROAD_WH", (320, 180))
    monkeypatch.setattr("bench.steadiness.EVENTS", 2)


def figures(rows: list[str], name: str) -> list[float]:
    """The numbers in the line of that name."""
    (line,) = (row for row in rows if row.startswith(name))
    return [float(it) for it in re.findall(r"[-+]?\d+\.?\d*", line.removeprefix(name))]


def test_a_rendered_drive_is_steadier_with_smoothing_and_has_truth_lag_and_cost(small: None) -> None:
    rows, status = run(SteadinessConfig(sources=["synthetic:city"], models=[MODEL], frames=20))

    assert status == 0
    assert rows[0] == f"synthetic:city, {MODEL}, 20 frames in 0.6 s"
    assert rows[1].split() == ["off", "on"]
    for name in ("change along the flow, %", "flips a pixel and second"):
        off, on, less = figures(rows, name)
        assert on < off
        assert less == pytest.approx(100 * (on / off - 1), abs=2)
    off, on, gain = figures(rows, "temporal consistency, %")
    assert gain == pytest.approx(on - off, abs=0.02)
    assert gain > 0
    off, on, gain = figures(rows, "mean IoU, %")
    assert 50 < off < 100
    assert abs(gain) < 3
    assert figures(rows, "smoothing a frame, ms")[0] > 0


def test_a_recording_has_no_truth_and_no_lag(
    make_clip: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(frames=5, wh=(160, 96), rate_hz=25)

    assert main(["steadiness", "--sources", f"[{clip}]", "--models", f"[{MODEL}]", "--frames", "4"]) == 0

    said = capsys.readouterr().out
    assert f"{clip}, {MODEL}, 4 frames in 0.1 s" in said
    assert "temporal consistency" in said
    assert "mean IoU" not in said
    assert "area that" not in said


def test_every_source_has_a_table_with_every_model(small: None) -> None:
    sources = ["synthetic:day", "synthetic:night"]

    rows, _ = run(SteadinessConfig(sources=sources, models=[MODEL], frames=2))

    assert [row.split(",")[0] for row in rows if MODEL in row] == sources


def test_smoothing_is_as_the_settings_have_it(small: None) -> None:
    engine = OnnxEngine(model_file(MODEL), "cpu", 1)
    changes = []
    for slow_ms in (1.0, 100.0):
        drive = rendered("city", 12)
        settings = SteadySettings(rise_ms=slow_ms, fall_ms=slow_ms, sure=0, island_share=0)
        off, on = measure(drive, OffAndOn(engine, settings, drive.info)).steadiness
        changes.append(on.flips_hz / off.flips_hz)

    assert changes[0] > changes[1]


def test_lag_is_that_of_an_obstacle_in_our_lane(small: None) -> None:
    engine = OnnxEngine(model_file("rt_m-int8"), "cpu", 1)
    drive = rendered("day", 1)

    lags = measure_lags(OffAndOn(engine, SteadySettings(), drive.info), "day")

    assert len(lags.appears) + len(lags.disappears) + lags.unseen == 2
    assert all(it <= 2 for it in lags.appears)
    assert all(it <= 1 for it in lags.disappears)


def test_obstacle_ends_our_lane_while_it_stands_there() -> None:
    drives_with = [DriveRenderer("day", (320, 180), stands_ahead_m=it) for it in (None, lambda time_s: 10.0)]
    pictures, truths = zip(*(drive.render(30) for drive in drives_with), strict=True)

    direct = [int((truth == 0).sum()) for truth in truths]
    assert 0 < direct[1] < 0.9 * direct[0]
    assert np.mean(cv2.absdiff(*pictures).max(2) > 10) > 0.01


def test_table_tells_lag_in_frames_and_milliseconds_and_what_was_not_seen() -> None:
    empty = ConfusionMatrix(3)
    measured = Measured(
        (Steadiness(), Steadiness()), (empty, empty), [0.1, 0.2, 0.3], Lags([1, 2, 2], [0, 1, 0], 3)
    )

    rows = table(measured)

    assert any(re.match(r"area that appears .* 2 +at most 2: 67 ms$", row) for row in rows)
    assert any(re.match(r"area that disappears .* 0 +at most 1: 33 ms$", row) for row in rows)
    assert rows[-1] == "3 changes not seen off either"


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["--sources", "[nothing.mp4]"], 1, "nothing.mp4"),
        (["--sources", "[synthetic:moon]"], 1, "synthetic:moon: unknown scene; known: day"),
        (["--sources", "[]"], 2, "name at least one of models and one of sources"),
        (["--models", "[nothing]"], 1, "nothing: no such model file"),
        (["--frames", "1"], 2, "steadiness needs 2 or more"),
        (["--no-steady"], 2, "measured off and on anyway"),
        (["--sources", "[IMAGES]"], 2, "do not follow each other in time"),
        (["--sources", "[ONE]"], 2, "do not follow each other in time"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    status: int,
    reason: str,
    tmp_path: Path,
    make_clip: Callable[..., Path],
    only_error_line: Callable[[str], str],
) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), np.full((36, 64, 3), 90, np.uint8))
    places = {"IMAGES": str(tmp_path), "ONE": str(make_clip(frames=1))}
    given = [re.sub("IMAGES|ONE", lambda found: places[found[0]], it) for it in arguments]

    assert main(["steadiness", *given]) == status

    assert reason in only_error_line("drivable-bench")


def test_recording_is_closed_at_its_end(make_clip: Callable[..., Path]) -> None:
    drive = recorded(str(make_clip(frames=3)), 10)

    assert len(list(drive.frames)) == 3
    assert list(drive.frames) == []
