"""Steady masks: the network's output smoothed in time, and small islands and pin-holes removed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.frame import Frame, NetworkOutput, Prediction
from perception.imaging.letterbox import Letterbox
from perception.imaging.yuv import Yuv420
from perception.inference.confidence import confidence_of
from perception.inference.ood import certainty_of
from perception.inference.predictor import class_shares, postprocess, working_planes
from perception.refine.kind import RefineKind, RefineStep
from perception.scene.smoothing import Margins, Pace, Smoother, logits_of, margins_of, without_specks
from perception.sources.isolated.freshness import PERIODS_UNTIL_STALE
from perception.sources.source import SourceInfo

LONGEST_S: Final = 0.0805
"""Drivable area that appears is shown at most 80 ms late; the rest is for stamps in whole ticks."""
MOST_CARRIED_S: Final = 0.3
"""Nothing older is used, at whatever rate the source gives its frames."""
UNSURE: Final = 1.5
"""A pin-hole is filled where the margin of background is below this everywhere: a probability of 0.82."""
THUMBNAIL_WH: Final = (32, 18)
SAMPLED_ROWS: Final = 90
NOISE_LUMA: Final = 4.0
"""Added to the contrast of two pictures, so that noise in the dark is no difference."""


@dataclass(frozen=True)
class SteadySettings:
    """Smoothing of masks in time; not of images in a folder, nor of single pictures."""

    enabled: bool = True
    """Smooth the masks of videos and live sources: drivable area that is lost is lost at once, by the second
    frame at the latest; what appears waits up to 80 ms."""
    rise_ms: float = 100.0
    """Time constant of drivable area that appears, and of the change between its classes."""
    fall_ms: float = 40.0
    """Time constant of drivable area that is lost."""
    sure: float = 2.0
    """Background with a margin of logits above this is shown at once; 2 is a probability of 0.88."""
    cut: float = 0.3
    """A picture that differs more from the last one starts over; 0 is the same, 0.6 unrelated."""
    island_share: float = 0.002
    """Islands and pin-holes below this share of the picture are removed (460 pixels of 640x360); 0 keeps
    them."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        for name in ("rise_ms", "fall_ms", "cut"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0, and finite")
        for name, most in (("sure", math.inf), ("island_share", 0.05)):
            if not 0 <= getattr(self, name) <= most:
                limit = "0 or more" if most == math.inf else f"from 0 to {most:g}"
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {limit}")


def smooths(settings: SteadySettings, info: SourceInfo) -> bool:
    """Whether masks of this source are smoothed: its frames follow each other in time."""
    return settings.enabled and info.is_in_sequence


class Steady:
    """Refine step: class map, shares, confidence and certainty of what the network found in several frames.

    Nothing is carried over frames without a mask, an outage, time that goes back, another size or a cut.
    """

    def __init__(self, settings: SteadySettings, info: SourceInfo) -> None:
        self._settings, self._period_ns = settings, 1e9 / info.rate_hz
        pace = Pace(settings.rise_ms / 1e3, settings.fall_ms / 1e3, LONGEST_S, settings.sure)
        self._smoother = Smoother(pace)
        self._last: _LastFrame | None = None
        self._planes: tuple[Letterbox, NDArray[np.float32]] | None = None

    def __call__(self, prediction: Prediction) -> Prediction:
        """The prediction with its mask made; without `network_output`, which nobody needs any more.

        Raises:
            ValueError: if it does not have that; `Predictor` gives it where asked to.
        """
        output = prediction.network_output
        if output is None:
            raise ValueError("steady: the prediction carries no network output")
        started_ns = time.monotonic_ns()
        margins = margins_of(output.logits)
        if prediction.has_mask:
            margins = self._smoothed(margins, _LastFrame.of(prediction.frame, output.box))
        else:
            self._last = None
        if self._settings.island_share:
            least_cells = self._settings.island_share * _cells_of_frame(output)
            margins = without_specks(margins, least_cells, UNSURE)
        smoothed_ns = time.monotonic_ns()
        logits, box, labels = logits_of(margins), output.box, prediction.labels
        if self._planes is None or self._planes[0] != box:
            self._planes = box, working_planes(box)
        class_map = postprocess(logits, box, self._planes[1])
        confidence = confidence_of(logits, box)
        stage_ns = dict(prediction.stage_ns)
        certainty = certainty_of(confidence, class_map, labels, prediction.doubt_quantiles)
        stage_ns["steady"] = smoothed_ns - started_ns
        stage_ns["postprocess"] = stage_ns.get("postprocess", 0) + time.monotonic_ns() - smoothed_ns
        return replace(
            prediction,
            class_map=class_map,
            shares=class_shares(class_map, labels),
            confidence=confidence,
            certainty=certainty,
            stage_ns=stage_ns,
            network_output=None,
        )

    def _smoothed(self, margins: Margins, now: _LastFrame) -> Margins:
        elapsed_ns = 0
        if self._last is not None and self._goes_on(self._last, now):
            elapsed_ns = now.time_ns - self._last.time_ns
        else:
            self._smoother.reset()
        self._last = now
        return self._smoother(margins, elapsed_ns / 1e9)

    def _goes_on(self, last: _LastFrame, now: _LastFrame) -> bool:
        """Whether one frame shows the same drive as the last, a moment later."""
        frames, elapsed_ns = now.frame_id - last.frame_id, now.time_ns - last.time_ns
        if frames < 1 or elapsed_ns < 0 or now.box != last.box:
            return False
        if elapsed_ns > min(MOST_CARRIED_S * 1e9, PERIODS_UNTIL_STALE * self._period_ns * frames):
            return False
        return difference(now.small, last.small) <= self._settings.cut


class _LastFrame(NamedTuple):
    """What is kept of a frame; not its pixels, which a source may be waiting for."""

    frame_id: int
    time_ns: int
    box: Letterbox
    small: NDArray[np.float32]

    @classmethod
    def of(cls, frame: Frame, box: Letterbox) -> Self:
        return cls(frame.frame_id, frame.time_ns, box, thumbnail_of(frame.pixels))


def thumbnail_of(pixels: NDArray[np.uint8] | Yuv420) -> NDArray[np.float32]:
    """(18, 32) float32 means of luma (of green, in BGR) over about 90 rows of a frame, without their mean."""
    plane = pixels.y if isinstance(pixels, Yuv420) else pixels[..., 1]
    step = max(1, plane.shape[0] // SAMPLED_ROWS)
    sampled = np.ascontiguousarray(plane[::step, ::step])
    small = np.asarray(cv2.resize(sampled, THUMBNAIL_WH, interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(small - small.mean(), np.float32)


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How much two pictures differ relative to their contrast, whatever their brightness; 0 is the same.

    Args:
        one, other: of `thumbnail_of`.
    """
    contrast = float(np.sqrt(np.vdot(one, one) / one.size) + np.sqrt(np.vdot(other, other) / other.size))
    return float(np.abs(one - other).mean()) / (contrast + NOISE_LUMA)


def _cells_of_frame(output: NetworkOutput) -> float:
    """How many cells of the logits the frame covers."""
    (width, height), (content_w, content_h) = output.box.input_wh, output.box.content_wh
    return float(output.logits[0].size * content_w * content_h / (width * height))


def _build(settings: SteadySettings, info: SourceInfo) -> RefineStep:
    return Steady(settings, info) if smooths(settings, info) else _as_it_is


def _as_it_is(prediction: Prediction) -> Prediction:
    return prediction


STEADY: Final = RefineKind(
    settings=SteadySettings, group="steady", build=_build, is_on=lambda settings: settings.enabled
)
