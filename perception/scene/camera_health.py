"""Whether the camera sees the road: one judge per camera, fed with the look of every frame in order."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from perception.frame import CameraLook, CameraState


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
    """The whole picture is no view of the road below this structure; 0 never tells it."""
    part_structure: float = 4.8
    """A half of the picture is covered below this structure; 0 never tells it."""
    night_sky_luma: float = 30.0
    """A top half darker than this over a dark road may be a night sky, which has next to no structure."""
    night_road_luma: float = 45.0
    """The road is dark if the bottom half is darker than this."""
    night_sky_structure: float = 2.0
    """Such a night sky counts as covered only below this structure."""
    dark_luma: float = 25.0
    """It is too dark if not even the brightest block of the picture has this luma; by night lamps do."""
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


class CameraJudge:
    """The state of one camera, from the looks of its frames.

    Args:
        settings: thresholds and times.
        may_freeze: whether equal pictures are a fault; in a folder of images they are not.
    """

    def __init__(self, settings: HealthSettings, may_freeze: bool = True) -> None:
        self._settings, self._may_freeze = settings, may_freeze
        self._blocked = self._alarm(settings.alarm_after_s)
        self._blocked_reason = ""
        self._frozen = self._alarm(settings.frozen_after_s)
        # what a decoder says of a frame is no guess: it is told at once
        self._damaged = _Alarm(0.0, 1, settings.clear_after_s)
        self._poor: dict[str, _Alarm] = {}
        self._last_fingerprint: int | None = None
        self._last_ns = 0

    def judge(
        self, look: CameraLook | None, time_ns: int, is_damaged: bool
    ) -> tuple[CameraState, str | None]:
        """The state after one more frame, and the reason where it is not ok.

        Args:
            look: of this frame; None where nobody looked, and only damage can be told.
            time_ns: the frame's own time. If it went back, faults that were not told yet begin anew.
            is_damaged: whether decoder or driver say that parts of the picture are not what the camera saw.
        """
        if time_ns < self._last_ns:
            self._last_fingerprint = None
            for alarm in (self._blocked, self._frozen, self._damaged, *self._poor.values()):
                alarm.restart(time_ns)
        self._damaged.update(is_damaged, time_ns)
        if self._settings.enabled and look is not None:
            is_repeated = look.fingerprint == self._last_fingerprint and time_ns > self._last_ns
            self._last_fingerprint = look.fingerprint
            self._update(look, is_repeated and self._may_freeze, time_ns)
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

    def _update(self, look: CameraLook, is_repeated: bool, time_ns: int) -> None:
        blocked_reason = no_view(look, self._settings)
        self._blocked_reason = blocked_reason or self._blocked_reason
        self._blocked.update(blocked_reason is not None, time_ns)
        self._frozen.update(is_repeated, time_ns)
        for reason, is_poor in poor_view(look, self._settings).items():
            if reason not in self._poor:
                self._poor[reason] = self._alarm(self._settings.alarm_after_s)
            self._poor[reason].update(is_poor, time_ns)

    def _alarm(self, after_s: float) -> _Alarm:
        return _Alarm(after_s, self._settings.alarm_frames, self._settings.clear_after_s)


def no_view(look: CameraLook, settings: HealthSettings) -> str | None:
    """Why nothing of the road can be seen in a frame; None where something can, or where nobody can tell."""
    if look.structure is None or look.structure >= settings.view_structure:
        return None
    if look.brightest_luma < settings.dark_luma:
        return "black"
    return "white" if look.saturated_share > 0.5 else "covered"


def poor_view(look: CameraLook, settings: HealthSettings) -> dict[str, bool]:
    """What a frame suffers from, the worst first: every reason, and whether it holds."""
    is_covered = {
        part: structure < settings.part_structure for part, structure in look.part_structure.items()
    }
    is_night = look.sky_luma < settings.night_sky_luma and look.road_luma < settings.night_road_luma
    if is_night and look.part_structure:
        is_covered["top"] = look.part_structure["top"] < settings.night_sky_structure
    # what spoils all of the picture stands before what it does to the halves
    return {
        "dark": look.brightest_luma < settings.dark_luma,
        "fogged": look.darkest_luma > settings.veil_luma,
        "blurred": look.sharpness is not None and look.sharpness < settings.sharpness,
        **{f"{part} half covered": is_flat for part, is_flat in is_covered.items()},
        "glare": look.saturated_share > settings.glare_share,
    }


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
