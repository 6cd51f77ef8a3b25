"""The camera's pose as it is learnt while driving: pitch by the frame, and slowly what the mount is.

What a lane says of pitch is that of the mount, which hardly changes, what the car does on its springs, which
is gone within half a second, and an error that stays alike for seconds, as borders are drawn wrong. What the
direction of travel says has an error of its own, which stays alike for minutes: a Kalman filter of the four.
Yaw, height and roll are learnt slowly. What is learnt is the difference from the calibration's mount, within
limits: for pitch and yaw those of openpilot's calibrationd.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perception.scene.calibration import (
    HEIGHT_LIMITS_M,
    PITCH_LIMIT_RAD,
    ROLL_LIMIT_RAD,
    YAW_LIMIT_RAD,
    Mount,
)
from perception.scene.metres import Measured, MountEstimate

PITCH_LIMITS_RAD: Final = (math.radians(-8.5), math.radians(5.2))
"""From the calibration's mount; openpilot has −5.2° to 8.5°, with nose up positive."""
YAW_LIMITS_RAD: Final = (math.radians(-4.0), math.radians(4.0))
ROLL_LIMITS_RAD: Final = (math.radians(-3.0), math.radians(3.0))
HEIGHT_RATIO_LIMITS: Final = (0.6, 1.6)

SPRING_SIGMA_RAD: Final = 0.0025
SPRING_S: Final = 0.3
"""Pitch of a car on its springs, and for how long it stays alike."""
DRIFT_RAD_PER_ROOT_S: Final = 5e-5
"""How far a mount's pitch moves by itself, as load and tank change: 0.17° in an hour."""
HELD_FOR_S: Final = 5.0
"""For how long a lane's errors stay alike: of what is measured meanwhile, the slow numbers believe one."""
PITCH_HELD_FOR_S: Final = 30.0
"""The same of pitch, whose errors are those of a network in one light and on one road."""
NEW_ERROR_SHARE: Final = 0.8
"""Of the sigma of a measured pitch, the error that is another one in every frame of a drive, beside what
stays alike: a vehicle that hides the lane, or a shadow on it, moves its borders more than a fit knows of."""
TRAVEL_ERROR_SIGMA_RAD: Final = math.radians(0.25)
TRAVEL_HELD_FOR_S: Final = 120.0
"""How wrong the direction of travel is as a pitch, and for how long that stays alike."""
TRAVEL_SIGMA_RAD: Final = math.radians(0.2)
"""What is another error each time."""
LEAST_PITCH_SIGMA_RAD: Final = 7e-4
"""Of the mount's pitch: no lane tells more, however long it is looked at."""
HEADING_SIGMA_RAD: Final = 0.012
HEADING_HELD_FOR_S: Final = 5.0
"""How far a driver's heading is from the lane's, and for how long."""
WORST_TRAVEL_SIGMAS: Final = 3.0
_BY_LANE, _BY_TRAVEL = np.array([1.0, 1.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, 1.0])
"""What is measured, of the pitches of mount and springs and the errors of lane and travel."""
STRAIGHT_PER_M: Final = 1 / 400
"""Bends sharper than this teach no yaw."""


@dataclass(frozen=True)
class Learnt:
    """Differences from the calibration's mount, and how sure they are."""

    pitch_rad: float = 0.0
    pitch_sigma_rad: float = math.radians(0.3)
    yaw_rad: float = 0.0
    yaw_sigma_rad: float = math.radians(0.3)
    roll_rad: float = 0.0
    roll_sigma_rad: float = math.radians(0.3)
    height_ratio: float = 1.0
    height_ratio_sigma: float = 0.02

    def as_dict(self) -> dict[str, float]:
        """For a file."""
        return asdict(self)

    @property
    def is_possible(self) -> bool:
        """Whether every value is a number within its limits, and every sigma above 0."""
        values = self.as_dict()
        low, high = PITCH_LIMITS_RAD
        return (
            all(isinstance(it, int | float) and math.isfinite(it) for it in values.values())
            and all(value > 0 for name, value in values.items() if name.endswith(("sigma", "sigma_rad")))
            and low <= self.pitch_rad <= high
            and YAW_LIMITS_RAD[0] <= self.yaw_rad <= YAW_LIMITS_RAD[1]
            and ROLL_LIMITS_RAD[0] <= self.roll_rad <= ROLL_LIMITS_RAD[1]
            and HEIGHT_RATIO_LIMITS[0] <= self.height_ratio <= HEIGHT_RATIO_LIMITS[1]
        )


class MountFilter:
    """Follows the pose of one camera.

    Args:
        mount: the calibration's.
        learnt: what an earlier run knew.
        follows: frames follow each other in time.
    """

    def __init__(self, mount: Mount, learnt: Learnt | None = None, *, follows: bool = True) -> None:
        self._mount = mount
        self._new_error_share = NEW_ERROR_SHARE if follows else 0.0
        known = learnt or Learnt()
        self._state = np.array([known.pitch_rad, 0.0, 0.0, 0.0])
        self._covariance = np.diag(
            [known.pitch_sigma_rad**2, SPRING_SIGMA_RAD**2, 0.0, TRAVEL_ERROR_SIGMA_RAD**2]
        )
        self._error_sigma_rad: float | None = None
        self.yaw = Measured(known.yaw_rad, known.yaw_sigma_rad)
        """Beyond that of the calibration's mount, in radians, as roll."""
        self.roll = Measured(known.roll_rad, known.roll_sigma_rad)
        self.height_ratio = Measured(known.height_ratio, known.height_ratio_sigma)
        """Height over that of the calibration's mount."""
        self._time_ns: int | None = None
        self._is_followed = False
        self._frame_s = 0.0

    def forget_spring(self) -> None:
        """After a gap: only what was learnt slowly is still known."""
        self._state[1:3] = 0.0
        self._covariance[1:3] = self._covariance[:, 1:3] = 0.0
        self._covariance[1, 1] = SPRING_SIGMA_RAD**2
        self._time_ns = self._error_sigma_rad = None

    def advance(self, time_ns: int) -> None:
        """To the time of the next frame."""
        passed_s = 0.0 if self._time_ns is None else max(0.0, (time_ns - self._time_ns) / 1e9)
        self._time_ns, self._frame_s, self._is_followed = time_ns, passed_s, False
        spring, error, travel = (
            math.exp(-passed_s / held_for_s) for held_for_s in (SPRING_S, PITCH_HELD_FOR_S, TRAVEL_HELD_FOR_S)
        )
        kept = np.array([1.0, spring, error, travel])
        self._state *= kept
        self._covariance *= np.outer(kept, kept)
        self._covariance[0, 0] += DRIFT_RAD_PER_ROOT_S**2 * passed_s
        self._covariance[1, 1] += (1 - spring**2) * SPRING_SIGMA_RAD**2
        self._covariance[2, 2] += (1 - error**2) * (self._error_sigma_rad or 0.0) ** 2
        self._covariance[3, 3] += (1 - travel**2) * TRAVEL_ERROR_SIGMA_RAD**2

    @property
    def learnt(self) -> Learnt:
        """What is known of the mount by now."""
        pitch = float(self._state[0]), math.sqrt(self._covariance[0, 0])
        return Learnt(*pitch, *self.yaw, *self.roll, *self.height_ratio)

    @property
    def pitch(self) -> Measured:
        """Beyond that of the calibration's mount, in radians."""
        variance = float(self._covariance[:2, :2].sum())
        return Measured(float(self._state[0] + self._state[1]), math.sqrt(max(variance, 1e-10)))

    def see_pitch(self, seen: Measured) -> None:
        """A pitch beyond the mount's that was measured in this frame, by itself: without what is expected."""
        if self._error_sigma_rad is None:
            self._covariance[2, 2] = seen.sigma**2
        self._error_sigma_rad = seen.sigma
        self._see(_BY_LANE, Measured(seen.value, self._new_error_share * seen.sigma))
        self._is_followed = True

    def see_travel(self, seen: Measured) -> None:
        """A pitch beyond the mount's by the direction of travel; one that cannot be is left out."""
        seen = Measured(seen.value, math.hypot(seen.sigma, TRAVEL_SIGMA_RAD))
        spread = math.sqrt(_BY_TRAVEL @ self._covariance @ _BY_TRAVEL + seen.sigma**2)
        if abs(seen.value - _BY_TRAVEL @ self._state) <= WORST_TRAVEL_SIGMAS * spread:
            self._see(_BY_TRAVEL, seen)

    def _see(self, parts: NDArray[np.float64], seen: Measured) -> None:
        """A sum of parts of the state was measured."""
        together = self._covariance @ parts
        gain = together / (parts @ together + seen.sigma**2)
        self._state += gain * (seen.value - parts @ self._state)
        self._covariance = self._covariance - np.outer(gain, together)
        self._covariance[0, 0] = max(self._covariance[0, 0], LEAST_PITCH_SIGMA_RAD**2)
        self._state[0] = min(max(self._state[0], PITCH_LIMITS_RAD[0]), PITCH_LIMITS_RAD[1])

    def see_heading(self, seen: Measured, curvature_per_m: float) -> None:
        """Heading of the lane against the mount's forward axis: over time the vehicle's own is 0."""
        if abs(curvature_per_m) > STRAIGHT_PER_M:
            return
        noise = math.hypot(seen.sigma, HEADING_SIGMA_RAD)
        self.yaw = self._slowly(self.yaw, Measured(-seen.value, noise), HEADING_HELD_FOR_S, YAW_LIMITS_RAD)

    def see_height_ratio(self, seen: Measured) -> None:
        """Height against the calibration's, from a lane whose width is known."""
        self.height_ratio = self._slowly(self.height_ratio, seen, HELD_FOR_S, HEIGHT_RATIO_LIMITS)

    def see_roll(self, seen: Measured) -> None:
        """Roll beyond the mount's, from lanes that are equally wide."""
        self.roll = self._slowly(self.roll, seen, HELD_FOR_S, ROLL_LIMITS_RAD)

    def _slowly(
        self, known: Measured, seen: Measured, held_for_s: float, limits: tuple[float, float]
    ) -> Measured:
        gain = known.sigma**2 / (known.sigma**2 + self._held(held_for_s) * seen.sigma**2)
        value = known.value + gain * (seen.value - known.value)
        return Measured(min(max(value, limits[0]), limits[1]), known.sigma * math.sqrt(1 - gain))

    def _held(self, held_for_s: float) -> float:
        """How many frames say the same, if their errors stay alike for so long."""
        return max(1.0, held_for_s / self._frame_s) if self._frame_s > 1e-3 else 1.0

    def estimate(self) -> MountEstimate:
        """The pose in this frame."""
        pitch, height_ratio, mount = self.pitch, self.height_ratio, self._mount
        now = replace(
            mount,
            height_m=min(max(mount.height_m * height_ratio.value, HEIGHT_LIMITS_M[0]), HEIGHT_LIMITS_M[1]),
            pitch_rad=_within(mount.pitch_rad + pitch.value, PITCH_LIMIT_RAD),
            yaw_rad=_within(mount.yaw_rad + self.yaw.value, YAW_LIMIT_RAD),
            roll_rad=_within(mount.roll_rad + self.roll.value, ROLL_LIMIT_RAD),
        )
        return MountEstimate(
            mount=now,
            pitch_sigma_rad=pitch.sigma,
            yaw_sigma_rad=self.yaw.sigma,
            roll_sigma_rad=self.roll.sigma,
            height_sigma_m=now.height_m * height_ratio.sigma,
            is_followed=self._is_followed,
        )


def _within(angle_rad: float, limit_rad: float) -> float:
    return min(max(angle_rad, -limit_rad), limit_rad)
