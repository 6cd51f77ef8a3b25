"""A real unlit road by night, and covers of many kinds drawn over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from lines import Line
from numpy.typing import NDArray

from perception.camera_health.image_stats import image_stats_of
from perception.camera_health.monitor import CameraHealthMonitor, HealthSettings
from perception.frame import CameraState, Frame
from perception.imaging.yuv import Yuv420
from perception.sources.source import EndOfSource
from perception.sources.video import VideoSource

CLIP: Final = Path(__file__).parents[4] / "shared" / "faults" / "unlit_road_at_night_960x540.mp4"
LOOKS_EVERY: Final = 3
ALARM_S: Final = 0.5
FOUND_SHARE: Final = 0.95
VISIBLE_STRUCTURE: Final = 4.8
VISIBLE_BLOCKS: Final = 6
"""Something was visible under a cover if so many of the 16x9 blocks there showed structure for a second."""

Plane = NDArray[np.float32]

SIDES: Final = {
    "left": (0, 0, 0.5, 1),
    "right": (0.5, 0, 1, 1),
    "top": (0, 0, 1, 0.5),
    "bottom": (0, 0.5, 1, 1),
}
LUMAS: Final = {"black": 8, "dark": 16, "brown": 55, "grey": 125, "skin": 150}
SOFT_EDGES: Final = (0.0, 0.012, 0.03)
"""Sigma of a cover's edge, as a share of the picture's width."""


@dataclass(frozen=True)
class Cover:
    """Something over one side of the picture."""

    kind: str
    side: str
    colour: str
    soft: float

    def drawn(self, shape_hw: tuple[int, int]) -> tuple[Plane, Plane]:
        """(H, W) how much of it covers each pixel, and its luma."""
        height, width = shape_hw
        random = np.random.default_rng(len(self.kind + self.side + self.colour))
        luma = np.full(shape_hw, LUMAS[self.colour], np.float32)
        mask = np.zeros(shape_hw, np.float32)
        left, top, right, bottom = SIDES[self.side]
        mask[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = 1
        if self.kind == "mud":  # with holes, and lighter and darker
            mask *= _blotches(random, shape_hw, width / 25) > -1.3
            luma *= 1 + 0.15 * _blotches(random, shape_hw, width / 80)
        elif self.kind == "hand":
            mask[:] = 0
            middle = ((left + right) / 2, (top + bottom) / 2)
            middle = tuple(0.5 + 1.45 * (at - 0.5) for at in middle)
            axes = (0.36, 0.8) if self.side in ("left", "right") else (0.8, 0.42)
            centre = (round(middle[0] * width), round(middle[1] * height))
            lengths = (round(axes[0] * width), round(axes[1] * height))
            cv2.ellipse(mask, centre, lengths, float(random.uniform(-10, 10)), 0, 360, (1,), -1)
            luma *= np.linspace(0.8, 1.2, width, dtype=np.float32)
        if self.soft:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), self.soft * width), np.float32)
        return mask, luma * (219 / 255) + 16


COVERS: Final = [
    Cover(kind, side, colour, soft)
    for kind, colours in {
        "tape": tuple(LUMAS),
        "mud": ("dark", "brown", "grey"),
        "hand": ("dark", "brown", "skin"),
    }.items()
    for side in SIDES
    for colour in colours
    for soft in SOFT_EDGES
]


def _blotches(random: np.random.Generator, shape_hw: tuple[int, int], sigma_px: float) -> Plane:
    blotches = cv2.GaussianBlur(random.standard_normal(shape_hw, np.float32), (0, 0), sigma_px)
    return np.asarray(blotches / blotches.std(), np.float32)


def _frames() -> Iterator[Frame]:
    source = VideoSource(CLIP)
    source.open()
    with suppress(EndOfSource):
        while True:
            yield source.read()


def _covered(frame: Frame, mask: Plane, luma: Plane, random: np.random.Generator) -> Frame:
    assert isinstance(frame.pixels, Yuv420)
    noise = random.standard_normal(mask.shape, np.float32)
    drawn = frame.pixels.y * (1 - mask) + luma * mask + noise
    return replace(frame, pixels=replace(frame.pixels, y=drawn.clip(0, 255).astype(np.uint8)))


def _is_visible(frames: list[Frame], mask: Plane) -> bool:
    """Whether a cover takes something away."""
    structures = [image_stats_of(frame).block_structure for frame in frames]
    steady = np.quantile(np.stack([it for it in structures if it is not None]), 0.25, axis=0)
    under = cv2.resize(mask, steady.shape[::-1], interpolation=cv2.INTER_AREA) > 0.6
    return bool(np.count_nonzero((steady >= VISIBLE_STRUCTURE) & under) >= VISIBLE_BLOCKS)


def _is_found(frames: list[Frame], first: int, mask: Plane, luma: Plane) -> bool:
    """Whether every frame that shows the cover for longer than `ALARM_S` is not ok."""
    monitor, random = CameraHealthMonitor(HealthSettings()), np.random.default_rng(0)
    due_ns = frames[first].time_ns + ALARM_S * 1e9
    for number, frame in enumerate(frames):
        seen = _covered(frame, mask, luma, random) if number >= first else frame
        state, _ = monitor.assess(image_stats_of(seen), seen.time_ns, seen.is_damaged)
        if state is CameraState.OK and frame.time_ns >= due_ns:
            return False
    return True


def _covers(what: str, covers: list[Cover], starts_s: tuple[float, ...]) -> Line:
    frames = list(_frames())[::LOOKS_EVERY]
    found, missed = 0, list[str]()
    for cover in covers:
        mask, luma = cover.drawn(frames[0].frame_wh[::-1])
        for start_s in starts_s:
            first = next(number for number, frame in enumerate(frames) if frame.time_ns >= start_s * 1e9)
            if not _is_visible(frames[max(0, first - 10) : max(first, 10)], mask):
                continue
            if _is_found(frames, first, mask, luma):
                found += 1
            else:
                missed.append(f"{cover.colour} {cover.kind} {cover.side} from {start_s:g} s")
    total = found + len(missed)
    seen = f"{found} of {total} where anything had been visible under them"
    asked = f"reported <= {ALARM_S:g} s, for as long as they stay: {FOUND_SHARE:.0%}"
    return Line(
        what, asked, seen + (f"; not {missed[0]}" if missed else ""), found >= FOUND_SHARE * total > 0
    )


def covers_in_a_drive() -> Line:
    """Covers that come while the clip runs."""
    return _covers("covers that come over an unlit road (tape, mud, hand)", COVERS, (0.8, 1.5, 2.0))


def covers_at_start() -> Line:
    """Tape that is there from the first frame."""
    tape = [cover for cover in COVERS if cover.kind == "tape"]
    return _covers("tape over an unlit road from the first frame", tape, (0.0,))


def unlit_road() -> Line:
    """The clip as it is, looked at as a recording and as a live source."""
    bad, total = 0, 0
    for every in (1, LOOKS_EVERY):
        monitor = CameraHealthMonitor(HealthSettings())
        for frame in list(_frames())[::every]:
            state, _ = monitor.assess(image_stats_of(frame), frame.time_ns, frame.is_damaged)
            bad, total = bad + (state is not CameraState.OK), total + 1
    return Line(
        "a real unlit road: no alarm", "<= 2 % of frames", f"{bad} of {total} frames", bad <= 0.02 * total
    )
