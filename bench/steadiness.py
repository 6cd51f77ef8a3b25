"""How steady the masks of a drive are, with smoothing in time off and on, and what that costs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.config import SteadinessConfig
from bench.drives import RATE_HZ, ROAD_SEED, Drive, frame_of, recorded, rendered, scene_of
from bench.engines import open_engine
from bench.report.format import aligned, counted
from perception.cli_config import SettingsError
from perception.frame import Frame, Prediction
from perception.inference.engines import Engine
from perception.inference.predictor import Predictor
from perception.inference.zoo import model_file
from perception.labels import BACKGROUND, LABELS_OF_TWO
from perception.metrics.confusion_matrix import ConfusionMatrix
from perception.metrics.segmentation import row_of_two
from perception.metrics.steadiness import FlowMeter, Steadiness, lag_frames
from perception.refine.steady import STEADY, SteadySettings
from perception.sources.source import SourceInfo
from perception.synthetic import DriveRenderer
from perception.system.process import tune_process
from perception.system.redaction import redacted_url

EVENT_WH: Final = (640, 360)
EVENTS: Final = 40
"""An obstacle appears on the road, and disappears, in turns."""
EVENT_FRAMES: Final = 15
"""From one to the next."""
OBSTACLE_M: Final = 10.0

Image = NDArray[np.uint8]


class OffAndOn:
    """One network, whose masks are made of each frame alone, and of several."""

    def __init__(self, engine: Engine, settings: SteadySettings, info: SourceInfo) -> None:
        self.labels = engine.contract.labels
        self._off, self._left = Predictor(engine), Predictor(engine, leaves_mask=True)
        self._on = STEADY.build(settings, info)
        self.smoothing_ms: list[float] = []

    def __call__(self, frame: Frame) -> tuple[Prediction, Prediction]:
        """Without smoothing, and with it."""
        off, on = self._off(frame), self._on(self._left(frame))
        self.smoothing_ms.append(on.stage_ns["steady"] / 1e6)
        return off, on


@dataclass
class Lags:
    """By how many frames smoothing shows an area later than each frame alone does."""

    appears: list[int] = field(default_factory=list)
    disappears: list[int] = field(default_factory=list)
    unseen: int = 0
    """Changes that a frame alone does not show before the next."""


@dataclass
class Measured:
    """Of one source and one network; each pair is without smoothing, and with it."""

    steadiness: tuple[Steadiness, Steadiness]
    truth: tuple[ConfusionMatrix, ConfusionMatrix]
    """Empty of recordings."""
    smoothing_ms: list[float]
    lags: Lags | None = None


def run(config: SteadinessConfig) -> tuple[list[str], int]:
    """A table for each source and model: changes along the flow and pixel by pixel, mean IoU, lag and cost.

    Raises:
        SettingsError: if a source has no frames that follow each other in time.
    """
    tune_process()
    rows: list[str] = []
    for model in config.models:
        engine = open_engine(config.engine, model_file(model))
        for source in config.sources:
            scene = scene_of(source)
            drive = rendered(scene, config.frames) if scene else recorded(source, config.frames)
            measured = measure(drive, OffAndOn(engine, config.steady, drive.info))
            frames = len(measured.smoothing_ms)
            if frames < 2:
                raise SettingsError(f"{redacted_url(source)}: steadiness needs 2 frames, and it has {frames}")
            if scene:
                measured.lags = measure_lags(OffAndOn(engine, config.steady, drive.info), scene)
            extent = f"{counted(frames, 'frame')} in {measured.steadiness[0].duration_s:.1f} s"
            rows += ["", f"{redacted_url(source)}, {Path(model).stem}, {extent}", *table(measured)]
    return rows[1:], 0


def measure(drive: Drive, both: OffAndOn) -> Measured:
    """Every frame of the drive with the one before, at the frames' full size."""
    labels, meter = both.labels, FlowMeter()
    steadiness = Steadiness(labels), Steadiness(labels)
    truths = ConfusionMatrix(len(labels)), ConfusionMatrix(len(labels))
    before: tuple[Image, list[Image], int] | None = None
    for frame, truth in drive.frames:
        maps = [it.class_map_at(frame.frame_wh) for it in both(frame)]
        grey = np.asarray(cv2.cvtColor(frame.image_bgr, cv2.COLOR_BGR2GRAY), np.uint8)
        if before is not None and before[0].shape == grey.shape:
            flow = meter.between(before[0], grey)
            for it, was, now in zip(steadiness, before[1], maps, strict=True):
                it.add(was, now, flow, (frame.time_ns - before[2]) / 1e9)
        if truth is not None:
            for confusion, now in zip(truths, maps, strict=True):
                pair = (row_of_two(truth), row_of_two(now)) if labels == LABELS_OF_TWO else (truth, now)
                confusion.add(*pair)
        before = grey, maps, frame.time_ns
    return Measured(steadiness, truths, both.smoothing_ms)


def measure_lags(both: OffAndOn, scene: str) -> Lags:
    """When an obstacle that appears in our lane at once, and disappears, shows without smoothing and with it.

    It counts for the area whose true class changes, of which at least half has to follow.
    """

    def stands_ahead_m(time_s: float) -> float | None:
        return OBSTACLE_M if round(time_s * RATE_HZ) // EVENT_FRAMES % 2 else None

    renderer = DriveRenderer(scene, EVENT_WH, RATE_HZ, ROAD_SEED, stands_ahead_m)
    lags, before = Lags(), None
    for event in range(EVENTS + 1):
        truths: list[NDArray[np.bool_]] = []
        found: tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]]] = [], []
        for index in range(event * EVENT_FRAMES, (event + 1) * EVENT_FRAMES):
            image_bgr, truth = renderer.render(index)
            truths.append(truth != BACKGROUND)
            for maps, prediction in zip(found, both(frame_of(image_bgr, index)), strict=True):
                maps.append(prediction.class_map_at(EVENT_WH) != BACKGROUND)
        if before is not None:
            _note(lags, before, truths[0], found)
        before = truths[-1]
    return lags


def _note(
    lags: Lags,
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    found: Sequence[Sequence[NDArray[np.bool_]]],
) -> None:
    gained, lost = after & ~before, before & ~after
    appears = int(gained.sum()) > int(lost.sum())
    off, on = (lag_frames(gained if appears else lost, appears, maps) for maps in found)
    if off is None:
        lags.unseen += 1
    else:
        (lags.appears if appears else lags.disappears).append((EVENT_FRAMES if on is None else on) - off)


def table(measured: Measured) -> list[str]:
    """Its lines."""
    off, on = measured.steadiness
    rows = [["", "off", "on", ""]]
    for name, one, other, digits in (
        ("change along the flow, %", 100 * off.change, 100 * on.change, 3),
        ("in the worst hundredth of frames, %", 100 * off.worst_change, 100 * on.worst_change, 2),
        ("flips a pixel and second", off.flips_hz, on.flips_hz, 3),
    ):
        less = f"{100 * (other / one - 1):+.0f} %" if one else ""
        rows.append([name, f"{one:.{digits}f}", f"{other:.{digits}f}", less])
    shares = [("temporal consistency, %", off.consistency, on.consistency)]
    if measured.truth[0].counts.any():
        shares.append(("mean IoU, %", measured.truth[0].mean_iou(), measured.truth[1].mean_iou()))
    for name, one, other in shares:
        rows.append([name, f"{100 * one:.2f}", f"{100 * other:.2f}", f"{100 * (other - one):+.2f}"])
    lags = measured.lags
    for name, frames in (("appears", lags.appears), ("disappears", lags.disappears)) if lags else ():
        if frames:
            later = [
                f"{statistics.median(frames):g}",
                f"at most {max(frames)}: {max(frames) / RATE_HZ * 1e3:.0f} ms",
            ]
            rows.append([f"area that {name} is later by frames, {len(frames)} times", "", *later])
    p50_ms, p99_ms = np.quantile(measured.smoothing_ms, [0.5, 0.99])
    rows.append(["smoothing a frame, ms", "", f"{p50_ms:.2f}", f"p99 {p99_ms:.2f}"])
    unseen = [f"{counted(lags.unseen, 'change')} not seen off either"] if lags and lags.unseen else []
    return [*aligned(rows), *unseen]
