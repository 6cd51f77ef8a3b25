"""The built-in drive: repeatable frames, any size, and class maps that follow the geometry."""

from __future__ import annotations

import numpy as np
import pytest

from perception.labels import ALTERNATIVE, BACKGROUND, DIRECT
from perception.synthetic import SCENES, DriveRenderer
from perception.synthetic.world import EGO_GAP_M, LONGEST_M, World

SMALL_WH = (320, 180)


def test_scenes_hold_the_promised_names() -> None:
    assert {"day", "dusk", "night", "rain", "shadows", "highway", "city", "mixed"} <= set(SCENES)
    assert {"unlit", "unlit_rain"} <= set(SCENES)


@pytest.mark.parametrize("scene", ["unlit", "unlit_rain"])
def test_an_unlit_road_is_lit_by_headlights_alone(scene: str) -> None:
    for seed in range(4):
        image, class_map = DriveRenderer(scene, SMALL_WH, rate_hz=1.0, seed=seed).render(7)

        luma = image.mean(axis=2)
        assert np.median(luma[:60]) < 12  # no sky and nothing under it
        assert luma[class_map == DIRECT].mean() > 2 * np.median(luma[:60])


@pytest.mark.parametrize("scene", list(SCENES))
def test_same_arguments_give_the_same_bytes(scene: str) -> None:
    image, class_map = DriveRenderer(scene, SMALL_WH, seed=3).render(47)
    image_again, class_map_again = DriveRenderer(scene, SMALL_WH, seed=3).render(47)

    np.testing.assert_array_equal(image, image_again)
    np.testing.assert_array_equal(class_map, class_map_again)


def test_random_access_equals_sequential() -> None:
    sequential = DriveRenderer("mixed", SMALL_WH, rate_hz=2.0)
    frames = [sequential.render(frame_id) for frame_id in range(15)]
    jumping = DriveRenderer("mixed", SMALL_WH, rate_hz=2.0)

    for frame_id in (14, 3, 0, 9):
        image, class_map = jumping.render(frame_id)
        np.testing.assert_array_equal(image, frames[frame_id][0])
        np.testing.assert_array_equal(class_map, frames[frame_id][1])


def test_another_seed_is_another_road() -> None:
    image, _ = DriveRenderer("day", SMALL_WH, seed=1).render(0)
    other, _ = DriveRenderer("day", SMALL_WH, seed=2).render(0)

    assert np.abs(image.astype(int) - other.astype(int)).mean() > 15.0


def test_frames_follow_each_other_but_differ() -> None:
    renderer = DriveRenderer("day", SMALL_WH)

    assert not np.array_equal(renderer.render(10)[0], renderer.render(11)[0])


@pytest.mark.parametrize("scene", list(SCENES))
def test_every_class_occurs_and_no_other_value(scene: str) -> None:
    renderer = DriveRenderer(scene, SMALL_WH, rate_hz=1.0, seed=5)

    values = np.concatenate([np.unique(renderer.render(t)[1]) for t in range(0, 60, 6)])

    assert set(values.tolist()) <= {DIRECT, ALTERNATIVE, BACKGROUND}
    assert {DIRECT, BACKGROUND} <= set(values.tolist())


def test_alternative_lanes_occur_on_a_highway() -> None:
    renderer = DriveRenderer("highway", SMALL_WH, rate_hz=1.0)

    assert any((renderer.render(t)[1] == ALTERNATIVE).any() for t in range(0, 20, 4))


@pytest.mark.parametrize("frame_wh", [(641, 359), (360, 640), (64, 36), (3840, 2160), (1, 1), (2, 50)])
def test_any_size_renders(frame_wh: tuple[int, int]) -> None:
    image, class_map = DriveRenderer("rain", frame_wh).render(5)

    assert image.shape == (frame_wh[1], frame_wh[0], 3)
    assert image.dtype == np.uint8
    assert class_map.shape == (frame_wh[1], frame_wh[0])
    assert class_map.dtype == np.uint8


def test_unknown_scene_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'dya'.*day.*dusk.*mixed"):
        DriveRenderer("dya")


def test_another_rate_shows_the_same_drive_at_the_same_time() -> None:
    _, slow = DriveRenderer("city", SMALL_WH, rate_hz=10.0).render(25)
    _, fast = DriveRenderer("city", SMALL_WH, rate_hz=60.0).render(150)

    np.testing.assert_array_equal(slow, fast)


@pytest.mark.parametrize("seed", range(4))
def test_another_size_shows_the_same_drive(seed: int) -> None:
    _, small = DriveRenderer("highway", (320, 180), seed=seed).render(60)
    _, large = DriveRenderer("highway", (960, 540), seed=seed).render(60)

    assert (small == large[1::3, 1::3]).mean() > 0.97


def frames_by_gap(scene: str, seed: int, gap_m: tuple[float, float]) -> list[int]:
    """Seconds at which the first vehicle of our lane, and no nearer part of one, is `gap_m` ahead."""
    world = World(SCENES[scene], DriveRenderer(scene, (8, 8), seed=seed).road_seed(scene))
    seconds = []
    for t in range(100):
        lane = int(world.camera_d_m(t) // world.road.lane_width_m)
        ahead = [v.ahead_m for v in world.vehicles(t, 170.0) if v.lane == lane and v.ahead_m > 0.0]
        if gap_m[0] < min(ahead, default=170.0) < gap_m[1]:
            seconds.append(t)
    return seconds


@pytest.mark.parametrize("seed", range(5))
def test_direct_reaches_down_to_our_own_car_when_the_lane_is_free(seed: int) -> None:
    renderer = DriveRenderer("highway", SMALL_WH, rate_hz=1.0, seed=seed)

    for t in frames_by_gap("highway", seed, (20.0, 170.0))[:4]:
        middle = renderer.render(t)[1][:, 135:185]
        assert (middle[-45:-38] == DIRECT).mean() > 0.6  # just above the highest bonnet


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_direct_above_the_foot_of_the_lead_vehicle(seed: int) -> None:
    far = DriveRenderer("highway", SMALL_WH, rate_hz=1.0, seed=seed)

    for t in frames_by_gap("highway", seed, (5.0, 15.0))[:4]:
        _, class_map = far.render(t)
        rows = np.flatnonzero((class_map == DIRECT).any(axis=1))
        # focal length of at least 0.82 widths, camera at 1.2 m or more, horizon at 0.44 of the height or
        # lower: so 15 m ahead is at this row or lower, give or take pitch, grade and roll
        assert rows.size == 0 or rows[0] > 0.44 * 180 + 0.82 * 320 * 1.2 / 15.0 - 9.0


@pytest.mark.parametrize("scene", ["highway", "city"])
@pytest.mark.parametrize("seed", range(4))
def test_nobody_drives_through_us(scene: str, seed: int) -> None:
    world = World(SCENES[scene], seed)

    for time_s in np.arange(0.0, 250.0, 1.0).tolist():
        camera_d_m = world.camera_d_m(time_s)
        for vehicle in world.vehicles(time_s, 60.0):
            if abs(vehicle.d_m - camera_d_m) < 1.6:
                assert not -LONGEST_M < vehicle.ahead_m < 0.5 * EGO_GAP_M


@pytest.mark.parametrize("seed", range(4))
def test_traffic_moves_without_jumps(seed: int) -> None:
    world = World(SCENES["highway"], seed)

    for start_s in np.arange(0.0, 240.0, 6.0).tolist():
        before = {v.identity: v for v in world.vehicles(start_s, 150.0)}
        after = {v.identity: v for v in world.vehicles(start_s + 0.05, 150.0)}
        for identity in before.keys() & after.keys():
            assert abs(after[identity].ahead_m - before[identity].ahead_m) < 0.05 * 80.0
            assert abs(after[identity].d_m - before[identity].d_m) < 0.1
