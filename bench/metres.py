"""Metres against the truth of the built-in road, and whether the sigmas are right."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.config import MetresConfig
from bench.drives import RATE_HZ, ROAD_SEED
from bench.engines import open_engine
from bench.report.format import aligned
from perception.cli_config import SettingsError
from perception.frame import Frame
from perception.inference.predictor import Predictor
from perception.inference.zoo import model_file
from perception.scene.estimator import SceneEstimator
from perception.scene.lane_fit import AS_NETWORKS_DRAW
from perception.scene.metres import Measured, Metres
from perception.synthetic.truth import DriveTruth, FrameTruth
from perception.synthetic.world import SCENES
from perception.system.process import tune_process

FRAME_WH: Final = (640, 360)
LEARNING_S: Final = 3.0
"""Of each drive, before anything counts."""
EXACTLY: Final = Measured(0.0, 0.3)
"""How far inside a lane the renderer's class maps have its borders."""
OFFSET_AT_M: Final = 10.0
NEAR_M: Final = 20.0
GIVEN_TO_M: Final = 30.0


@dataclass(frozen=True)
class Compared:
    """One frame against the truth; None where nothing was given, or nothing is true."""

    scene: str
    drive: int
    offset: tuple[float, float] | None
    """Error of the lane's middle 10 m ahead, and its sigma, in metres."""
    ahead: tuple[float, float, float] | None
    """Error of the distance to the vehicle ahead, its sigma, and the true distance, in metres."""
    pitch: tuple[float, float]
    """Error and sigma, in radians."""
    true_ahead_m: float
    is_vehicle: bool
    is_changing: bool
    width: tuple[float, float] | None
    """Error of the lane's width, and its sigma, in metres."""
    cost_s: float
    is_marked: bool
    """The lane's borders are painted; otherwise nobody can see where the outer one is."""


def run(config: MetresConfig) -> tuple[list[str], int]:
    """Rows of a table: one a scene, of roads with painted borders, and one of the others.

    Raises:
        SettingsError: if a scene is not known.
    """
    tune_process()
    known = sorted(set(SCENES) - {"mixed"})
    if unknown := [it for it in config.scenes if it not in known]:
        raise SettingsError(f"{unknown[0]} is no scene of the built-in road; known: {', '.join(known)}")
    predict = None if config.exact else Predictor(open_engine("onnx", model_file(config.model)))
    frames: list[Compared] = []
    for scene in config.scenes:
        for drive in range(config.drives):
            frames += _drive(config, scene, drive, predict)
    what = "exact class maps" if config.exact else config.model
    head = (
        f"{what}, {config.drives} roads a scene, {config.duration_s:g} s each at {RATE_HZ:g} Hz; "
        f"the mount's pitch and yaw are {config.mount_error_deg:g}° wrong at the start"
    )
    return [head, *aligned(_table(config, frames))], 0


def _drive(config: MetresConfig, scene: str, drive: int, predict: Predictor | None) -> Iterator[Compared]:
    truth = DriveTruth(scene, FRAME_WH, RATE_HZ, ROAD_SEED + drive)
    wrong = math.radians(config.mount_error_deg)
    inside_px = EXACTLY if predict is None else AS_NETWORKS_DRAW
    estimator = SceneEstimator(truth.calibration(wrong, -wrong), drawn_inside_px=inside_px)
    for frame_id in range(round((LEARNING_S + config.duration_s) * RATE_HZ)):
        image_bgr, class_map = truth.renderer.render(frame_id)
        time_ns = round(frame_id * 1e9 / RATE_HZ)
        if predict is not None:
            class_map = predict(Frame("road", frame_id, time_ns, time_ns, image_bgr, str(frame_id))).class_map
        started = time.perf_counter()
        metres = estimator(class_map, FRAME_WH, time_ns, picture=lambda image=image_bgr: image)  # type: ignore[misc]
        cost_s = time.perf_counter() - started
        if frame_id >= LEARNING_S * RATE_HZ:
            yield _compared(scene, drive, metres, truth.of(frame_id), wrong, cost_s)


def _compared(
    scene: str, drive: int, metres: Metres, true: FrameTruth, wrong_rad: float, cost_s: float
) -> Compared:
    offset = width = ahead = None
    if metres.lane is not None and metres.lane.valid_to_m >= OFFSET_AT_M:
        centre = metres.lane.centre_at(OFFSET_AT_M)
        offset = centre.value - true.centre_at(OFFSET_AT_M), centre.sigma
        width = metres.lane.width_m.value - true.lane_width_m, metres.lane.width_m.sigma
    given: Measured | None = metres.distance_ahead_m
    if given is not None and true.is_vehicle and not metres.is_ahead_open:
        ahead = given.value - true.ahead_m, given.sigma, true.ahead_m
    pitch_rad = metres.mount.mount.pitch_rad - true.pitch_rad
    return Compared(
        scene, drive, offset, ahead, (pitch_rad, metres.mount.pitch_sigma_rad), true.ahead_m, true.is_vehicle,
        true.is_changing, width, cost_s, true.is_marked,
    )  # fmt: skip


def _table(config: MetresConfig, frames: list[Compared]) -> list[list[str]]:
    columns = [
        "", "frames", "offset at 10 m, m: p50", "p90", "in 2σ, %", "given, %", "ahead to 20 m, %: p50", "p90",
        "in 2σ, %", "given to 30 m, %", "pitch, °: p50", "p90", "in 2σ, %", "cost, ms",
    ]  # fmt: skip
    marked = [it for it in frames if it.is_marked]
    parts = {scene: [it for it in marked if it.scene == scene] for scene in config.scenes}
    parts |= {"all": marked, "unmarked roads": [it for it in frames if not it.is_marked]}
    return [columns, *([name, str(len(part)), *_figures(part)] for name, part in parts.items() if part)]


def _figures(frames: list[Compared]) -> list[str]:
    offsets = np.array([it.offset for it in frames if it.offset is not None]).reshape(-1, 2)
    aheads = np.array([it.ahead for it in frames if it.ahead is not None]).reshape(-1, 3)
    near = aheads[aheads[:, 2] <= NEAR_M]
    relative = 100 * np.abs(near[:, 0]) / near[:, 2]
    to_30 = [it for it in frames if it.is_vehicle and it.true_ahead_m <= GIVEN_TO_M]
    given = [it for it in to_30 if it.ahead is not None]
    pitches = np.array([it.pitch for it in frames]).reshape(-1, 2)
    degrees = np.degrees(np.abs(pitches[:, 0]))
    seen = aheads[aheads[:, 2] <= GIVEN_TO_M]
    return [
        *_quantiles(np.abs(offsets[:, 0]), "{:.3f}"),
        _inside(offsets),
        _share(len(offsets), len(frames)),
        *_quantiles(relative, "{:.1f}"),
        _inside(seen),
        _share(len(given), len(to_30)),
        *_quantiles(degrees, "{:.3f}"),
        _inside(pitches),
        f"{1000 * float(np.median([it.cost_s for it in frames])):.2f}",
    ]


def _quantiles(values: NDArray[np.float64], form: str) -> list[str]:
    if not len(values):
        return ["", ""]
    return [form.format(float(np.quantile(values, share))) for share in (0.5, 0.9)]


def _inside(pairs: NDArray[np.float64]) -> str:
    """Share of errors of at most two sigmas."""
    return _share(int(np.count_nonzero(np.abs(pairs[:, 0]) <= 2 * pairs[:, 1])), len(pairs))


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f}" if of else ""
