"""What is known in metres of real roads whose lanes and dashes are as the law has them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from dashes import dash_period
from lines import Line

from perception.calibrate.cli import main as calibrate
from perception.frame import Frame
from perception.inference.engines import OnnxEngine
from perception.inference.predictor import Predictor
from perception.inference.zoo import model_file
from perception.scene.calibration import Calibration
from perception.scene.calibration_file import load_calibration
from perception.scene.estimator import SceneEstimator

SHARED: Final = Path(__file__).parents[4] / "shared"
BOARDS: Final = SHARED / "data/chessboards_1280x720"
LANE_M, PERIOD_M = 3.66, 14.63
"""A lane of 12 feet, and dashes every 48 feet, which is what is painted here: dashes of the federal manual's
40 feet (12.19 m) in lanes of the same pictures would need lanes of 3.0 m."""
WITHIN: Final = 0.05


@dataclass
class Seen:
    """Of one recording."""

    widths_m: list[float] = field(default_factory=list)
    periods_m: list[float] = field(default_factory=list)
    frames: int = 0


@cache
def mounted() -> Calibration:
    """Intrinsics from the boards, and the mount from one picture of a straight road, by the commands."""
    with tempfile.TemporaryDirectory() as folder:
        camera, road = Path(folder) / "camera.yaml", Path(folder) / "mounted.yaml"
        boards = ["--corners", "9x6"]
        picture = [str(camera), str(BOARDS / "straight_lines1.jpg"), "--lane_width", str(LANE_M)]
        with redirect_stdout(sys.stderr):
            status = calibrate([str(BOARDS / "calibration*.jpg"), *boards, "--out", str(camera)])
            status = status or calibrate(["mount", *picture, "--out", str(road)])
        if status:
            raise RuntimeError(f"drivable-calibrate ended with status {status}")
        return load_calibration(road)


def frames_of(file: Path) -> Iterator[Frame]:
    """Pictures of a file, a thirtieth of a second apart by its own clock."""
    if file.suffix == ".jpg":
        yield Frame("road", 0, 0, 0, np.asarray(cv2.imread(str(file)), np.uint8), "0")
        return
    video = cv2.VideoCapture(str(file))
    rate_hz = video.get(cv2.CAP_PROP_FPS) or 25.0
    number = 0
    while True:
        is_read, image = video.read()
        if not is_read:
            return
        time_ns = round(number * 1e9 / rate_hz)
        yield Frame("road", number, time_ns, time_ns, np.asarray(image, np.uint8), str(number))
        number += 1


def measured(file: Path, model: str = "rt_m-int8") -> Seen:
    """Lane width by the network and dash period by the pixels, frame by frame."""
    predict = Predictor(OnnxEngine(model_file(model), "cpu", 1))
    estimator = SceneEstimator(mounted(), follows=file.suffix != ".jpg")
    seen = Seen()
    for frame in frames_of(file):
        metres = estimator(
            predict(frame).class_map,
            frame.frame_wh,
            frame.time_ns,
            picture=lambda frame=frame: frame.image_bgr,  # type: ignore[misc]
        )
        seen.frames += 1
        if (lane := metres.lane) is None:
            continue
        seen.widths_m.append(lane.width_m.value)
        periods = []
        for side in (0.5, -0.5):
            shift, (offset, heading, curvature) = side * LANE_M, lane.coefficients
            border = lambda x, s=shift, o=offset, h=heading, c=curvature: o + s + h * x + c / 2 * x * x  # noqa: E731
            periods.append(dash_period(frame.image_bgr, metres.image_of, border))
        seen.periods_m += [it for it in periods if it is not None]
    return seen


def real_road(name: str) -> Line:
    """Lane width and dash period of one recording."""
    file = (BOARDS if name.endswith(".jpg") else SHARED / "videos") / name
    seen = measured(file)
    checks, words = {}, [f"{len(seen.widths_m)} of {seen.frames} frames with a lane"]
    for what, values, true in (("lane", seen.widths_m, LANE_M), ("dashes", seen.periods_m, PERIOD_M)):
        median = float(np.median(values)) if values else float("nan")
        error = median / true - 1
        words.append(f"{what} {median:.2f} m ({100 * error:+.1f} %, {len(values)} measured)")
        checks[what] = abs(error) <= WITHIN
    asked = f"lane {LANE_M} m and dashes every {PERIOD_M} m within {100 * WITHIN:.0f} %, median"
    return Line.of_checks(f"{name}: metres", asked, "; ".join(words), checks)


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    name: lambda name=name: real_road(name)  # type: ignore[misc]
    for name in ("straight_lines2.jpg", "highway_1280x720.mp4", "highway_shadows_1280x720.mp4")
}
