"""What the built-in drive says of itself in metres, against its own class maps; and metres against it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perception.labels import DIRECT
from perception.scene.estimator import SceneEstimator
from perception.scene.metres import Measured
from perception.synthetic.truth import DriveTruth

WH = (640, 360)
RATE_HZ = 30.0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_middle_of_the_lane_is_where_the_class_map_has_it(seed: int) -> None:
    truth = DriveTruth("day", WH, RATE_HZ, seed)
    calibration = truth.calibration()

    _, class_map = truth.renderer.render(0)
    true = truth.of(0)
    mount = calibration.mount
    assert mount is not None
    now = type(mount)(mount.height_m, pitch_rad=true.pitch_rad, roll_rad=mount.roll_rad)
    x = 9.0
    u, v = calibration.image_of(np.array([[x, true.centre_at(x)]]), now)[0]
    row = np.flatnonzero(class_map[round(v)] == DIRECT)

    assert true.ahead_m > x
    middle = (row[0] + row[-1]) / 2
    focal = calibration.intrinsics.focal_px[0]
    assert abs(middle - u) * x / focal < 0.06


def test_mount_can_be_wrong_by_an_error_that_is_given() -> None:
    truth = DriveTruth("day", WH, RATE_HZ, 1)

    right, wrong = truth.calibration().mount, truth.calibration(0.01, -0.02).mount

    assert right is not None
    assert wrong is not None
    assert (wrong.pitch_rad - right.pitch_rad, wrong.yaw_rad - right.yaw_rad) == (0.01, -0.02)


@pytest.mark.parametrize("scene", ["day", "night", "rain"])
def test_metres_of_a_rendered_drive_are_right(scene: str) -> None:
    truth = DriveTruth(scene, WH, RATE_HZ, 2_000_001)
    estimator = SceneEstimator(truth.calibration(), drawn_inside_px=Measured(0.0, 0.3))
    offsets, pitches = [], []
    for frame in range(120):
        _, class_map = truth.renderer.render(frame)
        metres = estimator(class_map, WH, round(frame * 1e9 / RATE_HZ))
        true = truth.of(frame)
        pitches.append(abs(metres.mount.mount.pitch_rad - true.pitch_rad))
        if metres.lane is not None:
            offsets.append(abs(metres.lane.centre_at(10.0).value - true.centre_at(10.0)))

    assert len(offsets) > 90
    assert np.quantile(offsets, 0.9) <= 0.1
    assert math.degrees(float(np.median(pitches))) <= 0.15
