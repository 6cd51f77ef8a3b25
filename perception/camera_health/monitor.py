"""Whether the camera sees the road: one judge per camera, fed with the look of every frame in order."""

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
"""Blocks beside the road, which daylight reaches and headlights hardly do."""


@dataclass(frozen=True)
class HealthSettings:
    """When a picture is poor or no view of the road at all. Luma runs from 0 (black) to 255 (white)."""

    enabled: bool = True
    """Judge the camera at all; without it the state is ok, and degraded only where the decoder says so."""
    alarm_after_s: float = 0.3
    """A fault is told when it has lasted for this time since the last frame without it."""
    frozen_after_s: float = 0.4
    """The same for a picture that repeats itself to the bit."""
    alarm_frames: int = 2
    """Frames in a row that must show a fault before it is told: one may be a glitch or shown twice."""
    clear_after_s: float = 1.0
    """A fault that was told stands until frames have been free of it for this time."""
    view_structure: float = 8.0
    """A picture with light on it is no view of the road below this structure; 0 never tells it."""
    part_structure: float = 4.8
    """A half is flat below this structure, and so is a dark picture; 0 tells no half covered."""
    lit_luma: float = 45.0
    """A flat half brighter than this on the mean is covered: there is light, and nothing in it."""
    day_luma: float = 50.0
    """A flat dark half is covered if the opposite one is brighter than this all over: it is day there."""
    black_luma: float = 25.0
    """A flat dark picture is black if not even its brightest block has this luma."""
    dark_luma: float = 12.0
    """It is too dark if the brightest block of a picture is darker; the road may be seen down to this."""
    glare_share: float = 0.35
    """It is glare if more than this share of the picture is as good as white; 1 never tells it."""
    veil_luma: float = 100.0
    """It is fog, or a fogged lens, if less than a hundredth of the picture is darker; 255 never tells it."""
    sharpness: float = 0.48
    """It is blurred if fine detail over coarse detail is below this; 0 never tells it."""

    def __post_init__(self) -> None:
        """Refuse values that no camera can be judged by; raises ValueError."""
        for setting in fields(self):
            value = getattr(self, setting.name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{setting.name} is {value}; it must be 0 or more, and finite")
        if self.alarm_frames < 1:
            raise ValueError(f"alarm_frames is {self.alarm_frames}; it must be 1 or more")
        if self.glare_share > 1:
            raise ValueError(f"glare_share is {self.glare_share}; a share is at most 1")


class CameraHealthMonitor:
    """The state of one camera, from the looks of its frames.

    Args:
        settings: thresholds and times.
        may_freeze: whether pictures follow each other in time, so that equal ones are a fault, and what one
            lacks that those before it had shown may be covered; in a folder of images they do not.
    """

    def __init__(self, settings: HealthSettings, may_freeze: bool = True) -> None:
        self._settings, self._may_freeze = settings, may_freeze
        self._blocked = self._alarm(settings.alarm_after_s)
        self._blocked_reason = ""
        self._frozen = self._alarm(settings.frozen_after_s)
        # what a decoder says of a frame is no guess: it is told at once, and of images of each alone
        self._damaged = _Alarm(0.0, 1, settings.clear_after_s if may_freeze else 0.0)
        self._poor: dict[str, _Alarm] = {}
        self._covers = CoverWatch(settings.part_structure)
        self._last_fingerprint: int | None = None
        self._last_ns = 0

    def assess(
        self, stats: ImageStats | None, time_ns: int, is_damaged: bool
    ) -> tuple[CameraState, str | None]:
        """The state after one more frame, and the reason where it is not ok.

        Args:
            look: of this frame; None where nobody looked, and only damage can be told.
            time_ns: the frame's own time. If it went back, faults that were not told yet begin anew.
            is_damaged: whether decoder or driver say that parts of the picture are not what the camera saw.
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
    """Why nothing of the road can be seen in a frame; None where something can, or where nobody can tell."""
    if stats.structure is None or stats.structure >= settings.view_structure:
        return None
    if stats.saturated_share > 0.5:
        return "white"
    if stats.block_luma.mean() > settings.lit_luma:
        return "covered"
    if stats.structure >= settings.part_structure and not _is_even(stats):
        return None  # a network still sees the road in it
    return "black" if stats.brightest_luma < settings.black_luma else "dark"


def _is_even(stats: ImageStats) -> bool:
    """Whether all blocks have much the same structure: noise of a sensor that gets no light."""
    assert stats.block_structure is not None  # it has structure
    blocks = np.sort(stats.block_structure, axis=None)
    return bool(blocks[blocks.size // 10] > 0.45 * blocks[blocks.size * 19 // 20])


def poor_view(
    stats: ImageStats, settings: HealthSettings, lost_parts: Collection[str] = ()
) -> dict[str, bool]:
    """What a frame suffers from, the worst first: every reason, and whether it holds.

    Args:
        lost_parts: halves that at once stopped showing what they had shown.
    """
    is_covered = {
        part: part in lost_parts or covers_light(stats, part, settings) for part in stats.part_structure
    }
    # what spoils all of the picture stands before what it does to the halves
    return {
        "dark": is_dark(stats, settings),
        "fogged": stats.darkest_luma > settings.veil_luma,
        "blurred": stats.sharpness is not None and stats.sharpness < settings.sharpness,
        **{f"{part} half covered": holds for part, holds in is_covered.items()},
        "glare": stats.saturated_share > settings.glare_share,
    }


def is_dark(stats: ImageStats, settings: HealthSettings) -> bool:
    """Whether nothing can be seen where the road is, for lack of light."""
    if stats.brightest_luma < settings.dark_luma:
        return True
    return (
        stats.part_structure.get("bottom", math.inf) < settings.part_structure
        and stats.block_luma[PARTS["bottom"]].mean() <= settings.lit_luma
    )


def covers_light(stats: ImageStats, part: str, settings: HealthSettings) -> bool:
    """Whether a flat half hides light that must be there, which darkness does not."""
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
    """Whether the light on the road ends left of the middle at once, which that of headlights never does."""
    road = luma[PARTS["bottom"]]
    row = road[int(np.argmax(road[:, 9]))]
    return bool(row[9] >= lit_luma and row[6] < row[9] / 4)


class _Alarm:
    """Hysteresis in time: raised by a fault that lasts, lowered after a time without it."""

    def __init__(self, after_s: float, after_frames: int, clear_after_s: float) -> None:
        self.is_raised = False
        self._after_ns, self._clear_after_ns = round(after_s * 1e9), round(clear_after_s * 1e9)
        self._after_frames = after_frames
        self._faulty_frames = 0
        self._free_ns: int | None = None
        self._faulty_ns = 0

    def update(self, is_faulty: bool, time_ns: int) -> None:
        """Take in one more frame. A fault counts from the last frame without it: it began after that one."""
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
        """Count from `time_ns`, which may lie before all that came so far; what was raised stays."""
        self._free_ns, self._faulty_frames, self._faulty_ns = None, 0, time_ns
