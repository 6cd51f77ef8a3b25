"""What is learnt of a mount, and within which limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perception.scene.calibration import Mount
from perception.scene.metres import Measured
from perception.scene.mount_filter import Learnt, MountFilter

FRAME_NS = 33_333_333


def drive(pitches_rad: list[float], sigma_rad: float = 0.002) -> MountFilter:
    mount = MountFilter(Mount(1.4))
    for frame, pitch_rad in enumerate(pitches_rad):
        mount.advance(frame * FRAME_NS)
        mount.see_pitch(Measured(pitch_rad, sigma_rad))
    return mount


def test_constant_pitch_is_learnt_as_the_mounts() -> None:
    mount = drive([0.008] * 1800)

    assert mount.learnt.pitch_rad == pytest.approx(0.008, abs=0.0008)
    assert mount.pitch.value == pytest.approx(0.008, abs=0.0008)


def test_bump_is_followed_at_once_and_hardly_learnt() -> None:
    mount = drive([0.0] * 1800 + [0.008] * 6)

    assert mount.pitch.value > 0.004
    assert abs(mount.learnt.pitch_rad) < 0.001


def test_pitch_is_limited_to_what_a_mount_can_move() -> None:
    assert drive([0.5] * 3000).learnt.pitch_rad <= math.radians(5.2)
    assert drive([-0.5] * 3000).learnt.pitch_rad >= math.radians(-8.5)


def test_noise_leaves_a_sigma_that_holds() -> None:
    rng = np.random.default_rng(1)
    errors, sigmas = [], []
    mount = MountFilter(Mount(1.4))
    for frame in range(900):
        mount.advance(frame * FRAME_NS)
        mount.see_pitch(Measured(0.004 + float(rng.normal(0, 0.002)), 0.002))
        if frame > 300:
            errors.append(abs(mount.pitch.value - 0.004))
            sigmas.append(mount.pitch.sigma)

    inside = np.mean(np.array(errors) <= 2 * np.array(sigmas))
    assert inside > 0.9
    assert np.median(errors) < 0.0015


def test_heading_of_the_lane_teaches_yaw_on_straight_roads_only() -> None:
    straight, bend = MountFilter(Mount(1.4)), MountFilter(Mount(1.4))
    for frame in range(1800):
        for mount, curvature in ((straight, 0.0), (bend, 0.01)):
            mount.advance(frame * FRAME_NS)
            mount.see_heading(Measured(-0.01, 0.002), curvature)

    assert straight.learnt.yaw_rad == pytest.approx(0.01, abs=0.004)  # a lane to the right: we look left
    assert bend.learnt.yaw_rad == 0.0


def test_estimate_is_the_mount_with_what_was_learnt() -> None:
    learnt = Learnt(pitch_rad=0.01, yaw_rad=-0.02, roll_rad=0.003, height_ratio=1.1)

    now = MountFilter(Mount(1.4, pitch_rad=0.02, forward_m=1.5), learnt).estimate().mount

    assert (now.height_m, now.pitch_rad) == pytest.approx((1.54, 0.03))
    assert (now.yaw_rad, now.roll_rad, now.forward_m) == (-0.02, 0.003, 1.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pitch_rad": 1.0},
        {"yaw_rad": math.nan},
        {"height_ratio": 3.0},
        {"pitch_sigma_rad": 0.0},
        {"roll_rad": "x"},
    ],
)
def test_impossible_values_are_known_as_such(wrong: dict[str, object]) -> None:
    assert Learnt().is_possible
    assert not Learnt(**wrong).is_possible  # type: ignore[arg-type]
