"""What is measured of one frame: light, sharpness, structure, fingerprint."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.camera_health.image_stats import image_stats_of
from perception.frame import Frame
from perception.imaging.yuv import Yuv420
from perception.synthetic import DriveRenderer

Image = NDArray[np.uint8]


def frame_of(pixels: Image | Yuv420) -> Frame:
    return Frame("camera", 0, captured_ns=0, time_ns=0, pixels=pixels, name="0")


def planes_of(image_bgr: Image) -> Yuv420:
    height, width = image_bgr.shape[:2]
    packed = np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420), np.uint8).ravel()
    luma, chroma = np.split(packed, [height * width])
    u, v = np.split(chroma, 2)
    return Yuv420(
        luma.reshape(height, width),
        u.reshape(height // 2, width // 2),
        v.reshape(height // 2, width // 2),
    )


@pytest.fixture(scope="module")
def road_bgr() -> Image:
    return DriveRenderer("day", (1280, 720), seed=3).render(40)[0]


def test_a_picture_looks_alike_in_planes_and_in_bgr(road_bgr: Image) -> None:
    in_bgr, in_planes = image_stats_of(frame_of(road_bgr)), image_stats_of(frame_of(planes_of(road_bgr)))

    for name in ("brightest_luma", "darkest_luma"):
        assert getattr(in_planes, name) == pytest.approx(getattr(in_bgr, name), abs=2), name
    np.testing.assert_allclose(in_planes.block_luma, in_bgr.block_luma, atol=3)
    assert in_bgr.block_structure is not None
    assert in_planes.block_structure is not None
    np.testing.assert_allclose(in_planes.block_structure, in_bgr.block_structure, rtol=0.1, atol=2)
    assert in_bgr.sharpness is not None
    assert in_planes.sharpness == pytest.approx(in_bgr.sharpness, rel=0.05)
    assert in_planes.part_structure == pytest.approx(in_bgr.part_structure, rel=0.05)


@pytest.mark.parametrize("wh", [(1920, 1080), (960, 540), (640, 360)])
def test_a_picture_looks_alike_at_every_size(road_bgr: Image, wh: tuple[int, int]) -> None:
    resized = np.asarray(cv2.resize(road_bgr, wh, interpolation=cv2.INTER_AREA), np.uint8)

    stats, reference = image_stats_of(frame_of(resized)), image_stats_of(frame_of(road_bgr))

    assert stats.sharpness == pytest.approx(reference.sharpness, rel=0.2)
    assert stats.structure == pytest.approx(reference.structure, rel=0.2)


@pytest.mark.parametrize("wh", [(160, 90), (161, 91), (321, 181), (1279, 719), (90, 1280), (2560, 100)])
def test_any_size_and_odd_ones_can_be_looked_at(wh: tuple[int, int]) -> None:
    flat = np.full((wh[1], wh[0], 3), 100, np.uint8)

    stats = image_stats_of(frame_of(flat))

    assert stats.block_luma.shape == (9, 16)
    assert set(stats.block_luma.ravel()) == {100}
    assert stats.structure in (0, None)


def test_a_frame_below_160x90_tells_light_but_no_structure() -> None:
    stats = image_stats_of(frame_of(np.full((48, 64, 3), 7, np.uint8)))

    assert (stats.structure, stats.sharpness, stats.part_structure) == (None, None, {})
    assert stats.block_structure is None
    assert stats.brightest_luma == 7


def test_decoders_black_and_white_are_black_and_white() -> None:
    grey = np.full((360, 640), 128, np.uint8)
    black, white = (
        image_stats_of(frame_of(Yuv420(np.full((720, 1280), level, np.uint8), grey, grey)))
        for level in (16, 235)
    )

    assert (black.brightest_luma, black.saturated_share) == (0, 0)
    assert (white.darkest_luma, white.saturated_share) == (255, 1)


def test_blur_is_recognised_by_sharpness_with_noise_on_top_and_in_poor_light(road_bgr: Image) -> None:
    noise = np.random.default_rng(0).normal(0, 2, road_bgr.shape)
    blurred = cv2.GaussianBlur(road_bgr, (0, 0), 12) + noise
    dim = road_bgr * 0.3 + noise

    of_blurred, of_dim = (
        image_stats_of(frame_of(picture.clip(0, 255).astype(np.uint8))).sharpness
        for picture in (blurred, dim)
    )

    assert of_blurred is not None
    assert of_dim is not None
    assert of_blurred < 0.4
    assert of_dim > 0.6


def test_structure_of_noise_alone_is_small_and_smooth_shades_have_none(road_bgr: Image) -> None:
    shade = np.broadcast_to(np.linspace(40, 200, 1280)[None, :, None], (720, 1280, 3))
    noisy = shade + np.random.default_rng(0).normal(0, 3, shade.shape)

    of_shade, of_noise, of_road = (
        image_stats_of(frame_of(picture.astype(np.uint8))).structure for picture in (shade, noisy, road_bgr)
    )

    assert of_shade is not None
    assert of_noise is not None
    assert of_road is not None
    assert of_shade < 2.5  # rounding alone
    assert of_noise < 4.5
    assert of_road > 40


@pytest.mark.parametrize("part", ["left", "right", "top", "bottom"])
def test_only_the_covered_part_has_no_structure(road_bgr: Image, part: str) -> None:
    half = {"left": np.s_[:, :640], "right": np.s_[:, 640:], "top": np.s_[:360], "bottom": np.s_[360:]}
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    covered = road_bgr.copy()
    covered[half[part]] = 128

    structure = image_stats_of(frame_of(covered)).part_structure

    assert structure[part] == 0
    assert structure[opposite[part]] > 20


def test_the_fingerprint_tells_a_copy_from_a_picture_with_the_least_sensor_noise(road_bgr: Image) -> None:
    noise = np.random.default_rng(0).random(road_bgr.shape) < 0.001
    noisy = np.where(noise, road_bgr ^ 1, road_bgr).astype(np.uint8)

    first, copied, other = (image_stats_of(frame_of(image)) for image in (road_bgr, road_bgr.copy(), noisy))

    assert first.fingerprint == copied.fingerprint
    assert first.fingerprint != other.fingerprint
