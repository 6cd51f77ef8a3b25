"""The health monitor of a camera: its state from the image statistics of its frames, in order."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.camera_health.cover_watch import CoverWatch
from perception.camera_health.image_stats import OPPOSITE, PARTS
from perception.frame import CameraState, ImageStats

VERGES: Final = (np.s_[5:7, :3], np.s_[5:7, -3:])
"""Blocks beside the road, lit by daylight but hardly by headlights."""

CLIPPED_SHARE: Final = 0.1
"""Share of nearly white pixels from which a picture that is bright everywhere is overexposed, not fogged."""


@dataclass(frozen=True)
class HealthSettings:
    """Thresholds for degraded and blocked views. Luma is from 0 (black) to 255 (white)."""

    enabled: bool = True
    """Check the pictures; without it the state is ok, or degraded if the decoder reports damage."""
    alarm_after_s: float = 0.3
    """A fault is reported after it has lasted this long since the last frame without it."""
    frozen_after_s: float = 0.4
    """The same for a picture that repeats bit for bit."""
    alarm_frames: int = 2
    """A fault is reported after this many frames in a row; a single one may be a glitch or repeated."""
    clear_after_s: float = 1.0
    """A reported fault is cleared after this long without it."""
    view_structure: float = 8.0
    """A lit picture below this structure is no view of the road; 0 turns it off."""
    part_structure: float = 4.8
    """A half below this structure is flat, and so is a dark picture; 0 turns off covered halves."""
    lit_luma: float = 45.0
    """A flat half with a higher mean is covered: there is light, but nothing to see."""
    day_luma: float = 50.0
    """A flat dark half is covered if the opposite half is brighter than this everywhere: it is day."""
    black_luma: float = 25.0
    """A flat dark picture is black if its brightest block is below this."""
    dark_luma: float = 12.0
    """A picture is too dark if its brightest block is below this; above it the road may be visible."""
    glare_share: float = 0.35
    """Glare if more than this share of the picture is nearly white; 1 turns it off."""
    veil_luma: float = 100.0
    """Fogged or overexposed if less than a hundredth of the picture is darker; 255 turns both off."""
    sharpness: float = 0.48
    """Blurred if the ratio of fine to coarse detail is below this; 0 turns it off."""

    def __post_init__(self) -> None:
        """Validate the settings; raises ValueError."""
        for setting in fields(self):
            value = getattr(self, setting.name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{setting.name} is {value}; it must be 0 or more, and finite")
        if self.alarm_frames < 1:
            raise ValueError(f"alarm_frames is {self.alarm_frames}; it must be 1 or more")
        if self.glare_share > 1:
            raise ValueError(f"glare_share is {self.glare_share}; a share is at most 1")


class CameraHealthMonitor:
    """The state of one camera, from the statistics of its frames.

    Args:
        settings: thresholds and times.
        may_freeze: whether pictures are consecutive in time, so that equal ones are a fault and vanished
            structure may be a cover; not in a folder of images.
    """

    def __init__(self, settings: HealthSettings, may_freeze: bool = True) -> None:
        self._settings, self._may_freeze = settings, may_freeze
        self._blocked = self._alarm(settings.alarm_after_s)
        self._blocked_reason = ""
        self._frozen = self._alarm(settings.frozen_after_s)
        # a decoder's report is certain, so it counts at once, and for each image of a folder by itself
        self._damaged = _Alarm(0.0, 1, settings.clear_after_s if may_freeze else 0.0)
        self._poor: dict[str, _Alarm] = {}
        self._covers = CoverWatch(settings.part_structure)
        self._last_fingerprint: int | None = None
        self._last_ns = 0

    def assess(
        self, stats: ImageStats | None, time_ns: int, is_damaged: bool
    ) -> tuple[CameraState, str | None]:
        """The state after one more frame, and the reason if it is not ok.

        Args:
            stats: of this frame; None if not measured, then only damage counts.
            time_ns: the frame's own time. If it went back, faults not yet reported start over.
            is_damaged: whether decoder or driver report that parts of the picture are damaged.
        """
        if time_ns < self._last_ns:
            self._last_fingerprint = None
            self._covers.restart()
            for alarm in (self._blocked, self._frozen, self._damaged, *self._poor.values()):
                alarm.restart(time_ns)
        self._damaged.update(is_damaged, time_ns)
        if self._settings.enabled and stats is not None:
            is_repeated = stats.fingerprint == self._last_fingerprint and time_ns > self._last_ns
            self._last_fingerprint = stats.fingerprint
            self._update(stats, is_repeated and self._may_freeze, time_ns)
        self._last_ns = time_ns
        if self._blocked.is_raised:
            return CameraState.BLOCKED, self._blocked_reason
        if self._frozen.is_raised:
            return CameraState.FROZEN, "same picture again"
        if self._damaged.is_raised:
            return CameraState.DEGRADED, "damaged"
        for reason, alarm in self._poor.items():
            if alarm.is_raised:
                return CameraState.DEGRADED, reason
        return CameraState.OK, None

    def _update(self, stats: ImageStats, is_repeated: bool, time_ns: int) -> None:
        blocked_reason = no_view(stats, self._settings)
        self._blocked_reason = blocked_reason or self._blocked_reason
        self._blocked.update(blocked_reason is not None, time_ns)
        self._frozen.update(is_repeated, time_ns)
        lost_parts = self._covers.lost_parts(stats, time_ns) if self._may_freeze else set[str]()
        for reason, is_poor in poor_view(stats, self._settings, lost_parts).items():
            if reason not in self._poor:
                self._poor[reason] = self._alarm(self._settings.alarm_after_s)
            self._poor[reason].update(is_poor, time_ns)

    def _alarm(self, after_s: float) -> _Alarm:
        return _Alarm(after_s, self._settings.alarm_frames, self._settings.clear_after_s)


def no_view(stats: ImageStats, settings: HealthSettings) -> str | None:
    """Why the road is not visible in a frame; None if it may be, or if that is unknown."""
    if stats.structure is None or stats.structure >= settings.view_structure:
        return None
    if stats.saturated_share > 0.5:
        return "white"
    if stats.block_luma.mean() > settings.lit_luma:
        return "covered"
    if stats.structure >= settings.part_structure and not _is_even(stats):
        return None  # a network still finds the road in it
    return "black" if stats.brightest_luma < settings.black_luma else "dark"


def _is_even(stats: ImageStats) -> bool:
    """Whether all blocks have about the same structure: noise of a sensor without light."""
    assert stats.block_structure is not None  # it has structure
    blocks = np.sort(stats.block_structure, axis=None)
    return bool(blocks[blocks.size // 10] > 0.45 * blocks[blocks.size * 19 // 20])


def poor_view(
    stats: ImageStats, settings: HealthSettings, lost_parts: Collection[str] = ()
) -> dict[str, bool]:
    """Every reason for a degraded view, the worst first, and whether it applies.

    Args:
        lost_parts: halves that suddenly lost their view.
    """
    is_covered = {
        part: part in lost_parts or covers_light(stats, part, settings) for part in stats.part_structure
    }
    is_bright = stats.darkest_luma > settings.veil_luma
    is_clipped = stats.saturated_share > CLIPPED_SHARE
    # reasons for the whole picture come before those for halves, which they may cause
    return {
        "dark": is_dark(stats, settings),
        "overexposed": is_bright and is_clipped,
        "fogged": is_bright and not is_clipped,
        "blurred": stats.sharpness is not None and stats.sharpness < settings.sharpness,
        **{f"{part} half covered": holds for part, holds in is_covered.items()},
        "glare": stats.saturated_share > settings.glare_share,
    }


def is_dark(stats: ImageStats, settings: HealthSettings) -> bool:
    """Whether it is too dark to see the road."""
    if stats.brightest_luma < settings.dark_luma:
        return True
    return (
        stats.part_structure.get("bottom", math.inf) < settings.part_structure
        and stats.block_luma[PARTS["bottom"]].mean() <= settings.lit_luma
    )


def covers_light(stats: ImageStats, part: str, settings: HealthSettings) -> bool:
    """Whether a flat half is covered rather than dark."""
    luma = stats.block_luma
    if stats.part_structure[part] >= settings.part_structure:
        return False
    if luma[PARTS[part]].mean() > settings.lit_luma:
        return True
    if part == "top":
        return all(np.median(luma[verge]) > settings.day_luma for verge in VERGES)
    if np.median(luma[PARTS[OPPOSITE[part]]]) > settings.day_luma:
        return True
    return part != "bottom" and _cuts_off(luma if part == "left" else luma[:, ::-1], settings.black_luma)


def _cuts_off(luma: NDArray[np.float32], lit_luma: float) -> bool:
    """Whether the light on the road ends abruptly left of the middle, which that of headlights never does."""
    road = luma[PARTS["bottom"]]
    row = road[int(np.argmax(road[:, 9]))]
    return bool(row[9] >= lit_luma and row[6] < row[9] / 4)


class _Alarm:
    """Hysteresis in time: raised by a lasting fault, cleared after a time without it."""

    def __init__(self, after_s: float, after_frames: int, clear_after_s: float) -> None:
        self.is_raised = False
        self._after_ns, self._clear_after_ns = round(after_s * 1e9), round(clear_after_s * 1e9)
        self._after_frames = after_frames
        self._faulty_frames = 0
        self._free_ns: int | None = None
        self._faulty_ns = 0

    def update(self, is_faulty: bool, time_ns: int) -> None:
        """Process one more frame. A fault counts from the last frame without it."""
        if not is_faulty:
            self._free_ns, self._faulty_frames = time_ns, 0
            if time_ns - self._faulty_ns >= self._clear_after_ns:
                self.is_raised = False
            return
        if self._free_ns is None:
            self._free_ns = time_ns
        self._faulty_ns = time_ns
        self._faulty_frames += 1
        if self._faulty_frames >= self._after_frames and time_ns - self._free_ns >= self._after_ns:
            self.is_raised = True

    def restart(self, time_ns: int) -> None:
        """Count from `time_ns`, which may be earlier than before; a raised alarm stays."""
        self._free_ns, self._faulty_frames, self._faulty_ns = None, 0, time_ns
