"""Pitch by the direction of travel: that of rendered roads, and not made up where nothing moves."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.labels import LABELS_OF_TWO
from perception.scene import travel
from perception.scene.estimator import SceneEstimator
from perception.scene.metres import Measured
from perception.scene.mount_filter import MountFilter
from perception.scene.travel import EVERY_S, TravelWatch
from perception.synthetic.truth import DriveTruth

WH, RATE_HZ, SEED = (640, 360), 10.0, 2_000_000
Image = NDArray[np.uint8]
Drives = dict[str, tuple[DriveTruth, list[Image], list[Image]]]
"""By the scene: the truth, pictures and class maps."""


@pytest.fixture(scope="module")
def drives() -> Drives:
    """Ten seconds in each scene."""
    made = {}
    for scene in ("day", "night", "rain"):
        truth = DriveTruth(scene, WH, RATE_HZ, SEED)
        frames = [truth.renderer.render(number) for number in range(100)]
        made[scene] = truth, [image for image, _ in frames], [classes for _, classes in frames]
    return made


def watch_of(truth: DriveTruth, mount_error_rad: float = 0.0) -> TravelWatch:
    calibration = truth.calibration(mount_error_rad)
    assert calibration.mount is not None
    return TravelWatch(calibration.intrinsics, calibration.mount)


def seen(
    watch: TravelWatch, pictures: list[Image], ignored: NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, Measured]]:
    for number, picture in enumerate(pictures):
        found = watch.see(lambda picture=picture: picture, round(number * 1e9 / RATE_HZ), 0.0, ignored)  # type: ignore[misc]
        if found is not None:
            yield number, found


@pytest.mark.parametrize("scene", ["day", "night", "rain"])
@pytest.mark.parametrize("mount_error_deg", [0.0, 1.0])
def test_pitch_is_that_of_the_road(scene: str, mount_error_deg: float, drives: Drives) -> None:
    truth, pictures, _ = drives[scene]
    wrong = math.radians(mount_error_deg)

    found = list(seen(watch_of(truth, wrong), pictures))

    errors = [
        math.degrees(pitch.value + wrong - (truth.of(number).pitch_rad + truth.of(number - 1).pitch_rad) / 2)
        for number, pitch in found
    ]
    assert len(found) >= 14
    assert abs(np.median(errors)) < 0.3
    assert np.quantile(np.abs(errors), 0.9) < 0.6
    assert all(0 < math.degrees(pitch.sigma) <= 0.5 for _, pitch in found)


def test_standing_vehicle_tells_nothing(
    drives: Drives,
) -> None:
    truth, pictures, _ = drives["day"]

    assert list(seen(watch_of(truth), 20 * pictures[:1])) == []


def test_what_is_ignored_is_not_followed(drives: Drives) -> None:
    truth, pictures, _ = drives["day"]
    bonnet = cv2.resize(
        np.random.default_rng(1).integers(0, 255, (20, 80, 3), np.uint8),
        (WH[0], 160),
        interpolation=cv2.INTER_NEAREST,
    )
    covered = [np.concatenate([picture[:200], np.asarray(bonnet, np.uint8)]) for picture in pictures]
    ignored = np.zeros((36, 64), np.bool_)
    ignored[19:] = True

    watches = [watch_of(truth) for _ in range(2)]
    without, with_it = list(seen(watches[0], covered)), list(seen(watches[1], covered, ignored))

    assert without == []
    assert len(with_it) >= 10
    assert abs(np.median([math.degrees(pitch.value) for _, pitch in with_it])) < 0.4


def test_two_pictures_are_looked_at_each_half_second(
    drives: Drives,
) -> None:
    truth, pictures, _ = drives["day"]
    watch, looked = watch_of(truth), []
    for number in range(60):  # 30 Hz

        def picture(number: int = number) -> Image:
            looked.append(number)
            return pictures[number // 3]

        watch.see(picture, round(number * 1e9 / 30), 0.0)

    assert EVERY_S == 0.5
    assert looked == [0, 3, 15, 18, 30, 33, 45, 48]


def test_once_enough_was_seen_pictures_are_looked_at_less_often(
    drives: Drives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(travel, "SEEN_OFTEN", 4)
    truth, pictures, _ = drives["day"]

    numbers = [number for number, _ in seen(watch_of(truth), pictures)]

    apart_s = np.diff(numbers) / RATE_HZ
    assert apart_s[:4] == pytest.approx(EVERY_S, abs=0.11)
    assert apart_s[4:] == pytest.approx(travel.LATER_S, abs=0.11)
    assert len(apart_s) > 5


def test_pair_that_is_too_far_apart_is_none(
    drives: Drives,
) -> None:
    truth, pictures, _ = drives["day"]
    watch = watch_of(truth)

    found = [watch.see(lambda at=at: pictures[4 * at], at * 400_000_000, 0.0) for at in range(10)]  # type: ignore[misc]

    assert found == [None] * 10


def test_pitch_is_learnt_where_no_lane_is_seen(
    drives: Drives,
) -> None:
    truth, pictures, classes = drives["day"]
    wrong = math.radians(1.0)
    estimator = SceneEstimator(truth.calibration(wrong))

    for number, (picture, class_map) in enumerate(zip(pictures, classes, strict=True)):
        two = (class_map > 0).view(np.uint8)
        estimator(
            two,
            WH,
            round(number * 1e9 / RATE_HZ),
            labels=LABELS_OF_TWO,
            picture=lambda picture=picture: picture,  # type: ignore[misc]
        )

    learnt = estimator.learnt
    assert abs(math.degrees(learnt.pitch_rad + wrong)) < 0.6  # it began with 1.0
    assert abs(learnt.pitch_rad + wrong) < 3 * learnt.pitch_sigma_rad


def test_direction_of_travel_that_cannot_be_changes_nothing() -> None:
    mount = DriveTruth("day", WH, RATE_HZ, SEED).calibration().mount
    assert mount is not None
    filter_ = MountFilter(mount)
    filter_.advance(0)
    before = filter_.pitch

    filter_.see_travel(Measured(math.radians(3.0), math.radians(0.1)))
    after = filter_.pitch
    filter_.see_travel(Measured(math.radians(0.3), math.radians(0.1)))

    assert after == before
    assert 0 < filter_.pitch.value < math.radians(0.3)
    assert filter_.pitch.sigma < before.sigma


def test_travel_alone_never_makes_the_mount_surer_than_its_own_error() -> None:
    mount = DriveTruth("day", WH, RATE_HZ, SEED).calibration().mount
    assert mount is not None
    filter_ = MountFilter(mount)
    for half_second in range(200):
        filter_.advance(half_second * 500_000_000)
        filter_.see_travel(Measured(0.0, math.radians(0.1)))
        if half_second == 100:
            filter_.forget_spring()

    assert math.degrees(filter_.learnt.pitch_sigma_rad) > 0.1
