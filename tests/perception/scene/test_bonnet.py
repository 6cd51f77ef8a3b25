"""The own bonnet: learnt while the road moves below and beside it, and nothing else ever is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.labels import BACKGROUND
from perception.scene.bonnet import BonnetLearner
from perception.synthetic import DriveRenderer

WH = (320, 180)
LOOKS_HZ = 2.0
S = 1_000_000_000

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def bonnet_mask(wh: tuple[int, int] = WH, share: float = 0.16) -> Mask:
    """(H, W) bool: the upper half of an ellipse, as wide as the picture and a bit."""
    width, height = wh
    mask = np.zeros((height, width), np.uint8)
    axes = round(0.62 * width), round(share * height)
    cv2.ellipse(mask, (width // 2, height), axes, 0, 0, 360, (1,), -1)
    return mask > 0


def with_bonnet(image_bgr: Image, mask: Mask, level: int = 190) -> Image:
    image_bgr = image_bgr.copy()
    shine = np.linspace(1.4, 0.7, image_bgr.shape[0] // 4)
    rows = np.concatenate([np.ones(image_bgr.shape[0] - len(shine)), shine])
    painted = np.broadcast_to((level * rows)[:, None, None], image_bgr.shape)
    image_bgr[mask] = painted[mask]
    return image_bgr


def drive(scene: str, seed: int, seconds: float, wh: tuple[int, int] = WH) -> Iterator[Image]:
    renderer = DriveRenderer(scene, wh, LOOKS_HZ, seed)
    for number in range(round(seconds * LOOKS_HZ)):
        yield renderer.render(number)[0]


def without_own(scene: str, first: int = 0) -> int:
    """The first seed from there on whose drive shows no bonnet."""
    seeds = (seed for seed in range(first, first + 99))
    return next(seed for seed in seeds if not DriveRenderer(scene, (64, 36), 2.0, seed).bonnet(0).any())


def learnt(
    images: Iterable[Image], learner: BonnetLearner | None = None, start_s: float = 0.0
) -> Image | None:
    """(H, W) mask after all of them, two a second."""
    learner = learner or BonnetLearner()
    outline, wh = learner.outline, WH
    for number, image_bgr in enumerate(images):
        time_ns = round((start_s + number / LOOKS_HZ) * S)
        wh = image_bgr.shape[1], image_bgr.shape[0]
        if learner.is_due(time_ns):
            outline = learner.observe(image_bgr, time_ns)
    return None if outline is None else outline.drawn(wh)


def noisy(image_bgr: Image, random: np.random.Generator) -> Image:
    return np.asarray((image_bgr + random.normal(0, 2.5, image_bgr.shape)).clip(0, 255), np.uint8)


@pytest.mark.parametrize("scene", ["day", "city", "shadows", "highway"])
def test_bonnet_is_learnt_within_half_a_minute_of_driving(scene: str) -> None:
    mask = bonnet_mask()
    images = (with_bonnet(image, mask) for image in drive(scene, without_own(scene), 30))

    found = learnt(images)

    assert found is not None
    near = cv2.dilate(mask.view(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert not (found[~near] > 0).any()
    assert np.mean(found[mask] > 0) > 0.97


@pytest.mark.parametrize("seed", [1, 5, 7])
def test_renderers_own_bonnet_is_learnt(seed: int) -> None:
    renderer = DriveRenderer("day", (640, 360), LOOKS_HZ, seed)
    truth = renderer.bonnet(0)
    assert truth.any()

    found = learnt(drive("day", seed, 30, (640, 360)))

    assert found is not None
    near = cv2.dilate(truth.view(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert not (found[~near] > 0).any()
    assert np.mean(found[truth] > 0) > 0.999
    road = renderer.render(0)[1] != BACKGROUND
    assert not (found[road & ~near] > 0).any()


def test_bonnet_with_a_mark_across_its_edge_is_learnt_whole() -> None:
    mask = bonnet_mask()

    def street() -> Iterator[Image]:
        for image_bgr in drive("highway", without_own("highway"), 30):
            cv2.line(image_bgr, (226, 110), (262, 179), (235, 235, 235), 9)  # runs along with the vehicle
            yield with_bonnet(image_bgr, mask, 120)

    found = learnt(street())

    assert found is not None
    near = cv2.dilate(mask.view(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert not (found[~near] > 0).any()
    assert np.mean(found[mask] > 0) > 0.999


def test_rim_that_is_as_bright_as_the_road_belongs_to_the_bonnet() -> None:
    mask, inner = bonnet_mask(), bonnet_mask(share=0.12)
    images = list(drive("city", without_own("city"), 30))
    grey = round(float(np.median([image[140] for image in images])))
    for image in images:
        image[mask] = grey

    found = learnt(with_bonnet(image, inner, 230) for image in images)

    assert found is not None
    assert np.mean(found[mask] > 0) > 0.97


@pytest.mark.parametrize("scene", ["day", "highway", "city", "shadows", "dusk", "rain"])
def test_road_without_a_bonnet_is_never_learnt(scene: str) -> None:
    assert learnt(drive(scene, without_own(scene), 75)) is None


@pytest.mark.parametrize("scene", ["night", "unlit", "unlit_rain"])
def test_night_teaches_nothing(scene: str) -> None:
    mask = bonnet_mask()

    assert learnt(with_bonnet(image, mask, 3) for image in drive(scene, 3, 75)) is None


def test_parked_car_learns_nothing() -> None:
    random = np.random.default_rng(0)
    parked = with_bonnet(next(drive("city", without_own("city"), 1)), bonnet_mask())

    assert learnt(noisy(parked, random) for _ in range(600)) is None


def test_car_parked_beside_traffic_learns_nothing() -> None:
    random = np.random.default_rng(0)
    parked = with_bonnet(next(drive("city", without_own("city"), 1)), bonnet_mask())

    def street() -> Iterator[Image]:
        for number in range(300):
            image_bgr = noisy(parked, random)
            left = (97 * number) % 400 - 80
            cv2.rectangle(image_bgr, (left, 80), (left + 80, 125), (60, 30, 150), -1)
            cv2.circle(image_bgr, (left + 20, 125), 9, (20, 20, 20), -1)
            yield image_bgr

    assert learnt(street()) is None


def test_bonnet_is_learnt_after_a_long_stand_at_the_start() -> None:
    random, mask = np.random.default_rng(0), bonnet_mask()
    seed, learner = without_own("day"), BonnetLearner()
    parked = with_bonnet(next(drive("day", seed, 1)), mask)

    assert learnt((noisy(parked, random) for _ in range(240)), learner) is None
    found = learnt((with_bonnet(image, mask) for image in drive("day", seed, 30)), learner, 120)

    assert found is not None
    assert np.mean(found[mask] > 0) > 0.97


def test_what_appears_after_the_first_minute_is_never_learnt() -> None:
    random, learner, mask = np.random.default_rng(0), BonnetLearner(), bonnet_mask()
    seed = without_own("day")
    parked = next(drive("day", seed, 1))
    learnt((noisy(parked, random) for _ in range(140)), learner)

    assert learnt((with_bonnet(image, mask) for image in drive("day", seed, 90)), learner, 70) is None


def test_nothing_is_compared_any_more_after_a_minute_of_driving_without_a_bonnet() -> None:
    learner = BonnetLearner()

    learnt(drive("day", without_own("day"), 90), learner)

    assert learner.is_over
    assert not learner.is_due(1000 * S)


def test_bonnet_that_is_gone_is_forgotten_as_where_a_camera_is_turned() -> None:
    mask, seed, learner = bonnet_mask(), without_own("day"), BonnetLearner()
    assert learnt((with_bonnet(image, mask) for image in drive("day", seed, 30)), learner) is not None
    renderer = DriveRenderer("day", WH, 1 / 0.5, seed)

    for number in range(260):
        time_ns = (30 + number // 2) * S + number % 2 * S // 2
        if learner.is_due(time_ns):
            learner.observe(renderer.render(60 + number)[0], time_ns)

    assert learner.outline is None
