"""Steadiness of class maps: what changes along the flow, pixel by pixel, and how late an area shows."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT, DRIVABLE, LABELS_OF_TWO
from perception.metrics.steadiness import FlowMeter, OpticalFlow, Steadiness, lag_frames

SHAPE = (96, 128)


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    """(96, 160) grey with detail of some pixels."""
    noise = np.random.default_rng(0).integers(0, 255, (24, 40), np.uint8)
    return np.asarray(cv2.resize(noise, (160, 96), interpolation=cv2.INTER_CUBIC), np.uint8)


def still() -> OpticalFlow:
    height, width = SHAPE
    place = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    return OpticalFlow(place, np.ones(SHAPE, bool))


def class_map(edge_px: int, first: int = DIRECT) -> np.ndarray:
    """The first class left of a column, background right of it."""
    made = np.full(SHAPE, BACKGROUND, np.uint8)
    made[:, :edge_px] = first
    return made


def test_flow_finds_where_each_pixel_was(texture: np.ndarray) -> None:
    before, now = texture[:, :128], texture[:, 3:131]

    flow = FlowMeter().between(before, now)

    height, width = SHAPE
    expected = np.stack(np.meshgrid(np.arange(3, width + 3), np.arange(height)), -1)
    inner = np.s_[10:-10, 10:-10]
    assert np.abs(flow.before_xy[inner] - expected[inner]).mean() < 0.3
    assert flow.is_visible[inner].mean() > 0.95
    assert not flow.is_visible[:, -1].any()  # it came into the picture only now


def test_pixels_that_were_hidden_are_left_out() -> None:
    random = np.random.default_rng(0)
    ground = cv2.resize(
        random.integers(0, 255, (64, 96), np.uint8), (384, 256), interpolation=cv2.INTER_CUBIC
    )
    patch = cv2.resize(random.integers(0, 255, (24, 24), np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
    before, now = ground.copy(), ground.copy()
    before[80:176, 120:216] = patch
    now[80:176, 132:228] = patch  # it bares 12 columns of what was behind it

    flow = FlowMeter().between(np.asarray(before, np.uint8), np.asarray(now, np.uint8))

    assert flow.is_visible[90:166, 122:130].mean() < 0.5
    assert flow.is_visible[90:166, 140:220].mean() > 0.8
    assert flow.is_visible[:70].mean() > 0.95


def test_maps_that_move_with_the_flow_do_not_change_along_it(texture: np.ndarray) -> None:
    flow = FlowMeter().between(texture[:, :128], texture[:, 3:131])
    steadiness = Steadiness()

    steadiness.add(class_map(60), class_map(57), flow, 0.04)

    assert steadiness.change < 0.003
    assert steadiness.consistency > 0.99
    assert steadiness.flips_hz == pytest.approx(3 / 128 / 0.04)


def test_change_flips_and_consistency_are_those_of_all_frames() -> None:
    steadiness = Steadiness()
    maps = [class_map(64), class_map(64), class_map(32), class_map(64)]

    for before, now in itertools.pairwise(maps):
        steadiness.add(before, now, still(), 0.1)

    assert steadiness.changes == [0.0, 0.25, 0.25]
    assert steadiness.change == pytest.approx(0.5 / 3)
    assert steadiness.worst_change == pytest.approx(0.25)
    assert steadiness.flips_hz == pytest.approx(0.5 / 0.3)
    # of 8 quarters of the picture: direct in 4 before and now, 1 each only before or now
    assert steadiness.consistency == pytest.approx((4 / 6 + 6 / 8) / 2)


def test_hidden_pixels_do_not_count() -> None:
    flow = still()
    flow.is_visible[:, 32:64] = False
    steadiness = Steadiness()

    steadiness.add(class_map(64), class_map(32), flow, 0.1)

    assert steadiness.change == 0
    assert steadiness.consistency == 1


def test_network_of_two_classes_is_counted_in_two() -> None:
    steadiness = Steadiness(LABELS_OF_TWO)

    steadiness.add(class_map(64, DRIVABLE), class_map(64, DRIVABLE), still(), 0.1)

    assert (steadiness.change, steadiness.consistency) == (0, 1)


def test_a_single_frame_has_no_figures() -> None:
    steadiness = Steadiness()

    assert np.isnan([steadiness.change, steadiness.worst_change, steadiness.flips_hz]).all()
    assert np.isnan(steadiness.consistency)


def test_lag_is_that_of_half_of_the_area() -> None:
    area = class_map(64) == DIRECT
    found = [class_map(edge) != BACKGROUND for edge in (0, 20, 40, 64)]

    assert lag_frames(area, True, found) == 2
    assert lag_frames(area, False, found) == 0
    assert lag_frames(area, False, found[2:]) is None
    assert lag_frames(np.zeros_like(area), True, found) is None


def test_change_between_lane_classes_is_a_change() -> None:
    steadiness = Steadiness()

    steadiness.add(class_map(64, DIRECT), class_map(64, ALTERNATIVE), still(), 0.1)

    assert steadiness.change == 0.5
