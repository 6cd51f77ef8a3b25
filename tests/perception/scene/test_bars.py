"""Black bars: found in the first picture, never where the picture is only dark."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.imaging.planes import yuv_from_bgr
from perception.scene.bars import Bars, BarsLearner
from perception.sources.decoding.image_file import read_image_bgr
from perception.sources.video import VideoSource
from perception.synthetic import SCENES, DriveRenderer

SHARED = Path(__file__).parents[4] / "shared"
CLIP = SHARED / "faults" / "black_bars_640x360.mp4"
UNLIT = SHARED / "faults" / "unlit_road_at_night_960x540.mp4"
STILLS = SHARED / "data" / "bdd100k_drivable" / "images"
WH = (640, 360)
S = 1_000_000_000

Image = NDArray[np.uint8]


def road(scene: str = "day", frame_id: int = 0, wh: tuple[int, int] = WH, seed: int = 0) -> Image:
    return DriveRenderer(scene, wh, 2.0, seed).render(frame_id)[0]


def barred(image_bgr: Image, bars: Bars, black: int = 0) -> Image:
    """The picture within bars, as large as it is with them."""
    image_bgr = image_bgr.copy()
    image_bgr[bars.drawn((image_bgr.shape[1], image_bgr.shape[0])) > 0] = black
    return image_bgr


def found_in(*images: Image) -> Bars:
    learner = BarsLearner()
    for number, image_bgr in enumerate(images):
        learner.observe(image_bgr, number * S // 2)
    return learner.found


@pytest.mark.parametrize(
    "bars",
    [
        Bars(left_px=80, right_px=80),
        Bars(left_px=218, right_px=219),  # upright video
        Bars(top_px=45, bottom_px=45),
        Bars(60, 40, 60, 40),
        Bars(top_px=50),
        Bars(left_px=20),
        Bars(0, 46, 0, 44),
    ],
)
@pytest.mark.parametrize("scene", ["day", "rain"])
def test_bars_are_found_in_the_first_picture_to_the_pixel(bars: Bars, scene: str) -> None:
    image_bgr = barred(road(scene), bars)

    assert found_in(image_bgr) == bars
    learner = BarsLearner()
    assert learner.observe(yuv_from_bgr(image_bgr), 0) == bars


@pytest.mark.parametrize("scene", [name for name in SCENES if name != "mixed"])
@pytest.mark.parametrize("seed", range(3))
def test_picture_without_bars_has_none(scene: str, seed: int) -> None:
    drive = DriveRenderer(scene, (320, 180), 2.0, seed)

    assert found_in(*(drive.render(number)[0] for number in range(10))) == Bars()


def test_words_name_the_bars_that_there_are() -> None:
    assert str(Bars(left_px=80, right_px=81)) == "bars of 80 px left and 81 px right"


def test_bar_that_lights_up_is_given_up() -> None:
    bars = Bars(top_px=40, bottom_px=40)
    images = [barred(road("day", number), bars) for number in range(16)]
    images[-1][10:20, 100:300] = 90

    assert found_in(*images[:-1]) == bars
    assert found_in(*images) == Bars(bottom_px=40)


def test_black_band_at_the_bottom_alone_is_no_bar_for_dashboards_are_like_that() -> None:
    assert found_in(*(barred(road("day", number), Bars(bottom_px=30)) for number in range(3))) == Bars()


def test_bar_that_lights_up_early_is_given_up_too() -> None:
    bars = Bars(left_px=60, right_px=60)
    lit = barred(road("day", 1), bars)
    lit[100:200, 10:40] = 90

    assert found_in(barred(road(), bars), lit) == Bars(right_px=60)


def test_bars_show_when_a_picture_fades_in() -> None:
    bars = Bars(left_px=60, right_px=60)
    black = np.zeros((WH[1], WH[0], 3), np.uint8)

    assert found_in(black) == Bars()
    assert found_in(black, black, barred(road(), bars)) == bars


def test_cover_that_comes_later_is_no_bar() -> None:
    covered = barred(road("day", 3), Bars(top_px=90))

    assert found_in(road("day", 1), road("day", 2), covered, covered) == Bars()


@pytest.mark.parametrize(
    "side", [Bars(top_px=180), Bars(left_px=320), Bars(left_px=200), Bars(bottom_px=120)]
)
def test_half_a_picture_that_is_black_is_no_bar(side: Bars) -> None:
    assert found_in(barred(road(), side)) == Bars()


def test_dark_edge_that_is_not_straight_is_no_bar() -> None:
    image_bgr = road()
    mask = np.zeros((WH[1], WH[0]), np.uint8)
    cv2.ellipse(mask, (320, 180), (330, 190), 0, 0, 360, (255,), -1)  # as a lens leaves its corners dark
    image_bgr[mask == 0] = 0
    dashboard = road()
    cv2.ellipse(dashboard, (320, 380), (420, 90), 0, 0, 360, (0, 0, 0), -1)

    assert found_in(image_bgr) == found_in(dashboard) == Bars()


def night_sky(street_px: int, lamps: list[tuple[int, int]]) -> Image:
    """Black but for a strip of road that headlights light, and lamps."""
    image_bgr = np.zeros((WH[1], WH[0], 3), np.uint8)
    columns = np.exp(-(((np.arange(WH[0]) - 320) / 140) ** 2))
    rows = np.exp(-(((np.arange(WH[1]) - 290) / 40) ** 2))
    image_bgr[street_px:] = (rows[:, None] * columns * 140).astype(np.uint8)[street_px:, :, None]
    for x, y in lamps:
        cv2.circle(image_bgr, (x, y), 6, (220, 240, 250), -1)
    return image_bgr


def test_black_night_is_no_bar() -> None:
    drive = [night_sky(200, [(40 * number % 640, 90 + 7 * number % 60)]) for number in range(60)]

    assert found_in(*drive) == Bars()


def test_bars_at_night_are_found_once_light_has_been_all_along_them() -> None:
    bars = Bars(left_px=80, right_px=80)
    noise = np.random.default_rng(0)
    images = []
    for _ in range(40):
        dim = noise.normal(6, 4, (WH[1], WH[0], 1)).clip(0, 255).astype(np.uint8)
        images.append(barred(cv2.add(night_sky(200, []), np.repeat(dim, 3, 2)), bars))

    assert found_in(images[0]) == Bars()
    assert found_in(*images) == bars


def test_bars_that_nobody_saw_in_the_first_minute_are_not_looked_for_any_more() -> None:
    bars = Bars(left_px=60, right_px=60)
    learner = BarsLearner()
    for time_s in range(0, 64, 2):
        learner.observe(np.zeros((WH[1], WH[0], 3), np.uint8), time_s * S)

    assert learner.observe(barred(road(), bars), 70 * S) == Bars()
    assert learner.is_over


def test_clip_without_bars_costs_one_picture() -> None:
    learner = BarsLearner()

    learner.observe(road(), 0)

    assert learner.is_over


@pytest.mark.skipif(not CLIP.exists(), reason="needs ../shared/faults beside the checkout")
def test_bars_of_a_real_clip_are_found_in_its_first_frame() -> None:
    source = VideoSource(CLIP)
    source.open()
    first = source.read()
    found = BarsLearner().observe(first.pixels, 0)
    luma = first.image_bgr.max(axis=2).mean(axis=0)
    source.close()

    assert (found.top_px, found.bottom_px) == (0, 0)
    assert found.left_px > 20
    assert found.right_px > 20
    assert luma[found.left_px + 4 : -found.right_px - 4].min() > 20
    assert max(luma[: found.left_px - 4].max(), luma[-found.right_px + 4 :].max()) < 8


@pytest.mark.skipif(not UNLIT.exists(), reason="needs ../shared/faults beside the checkout")
def test_real_unlit_road_has_no_bars() -> None:
    source = VideoSource(UNLIT)
    info = source.open()
    frames = [source.read() for _ in range(60)]
    source.close()

    assert info.frame_wh == (960, 540)
    assert found_in(*(frame.image_bgr for frame in frames)) == Bars()


@pytest.mark.slow
@pytest.mark.skipif(not STILLS.exists(), reason="needs ../shared/data/bdd100k_drivable beside the checkout")
def test_real_stills_by_day_and_night_have_no_bars() -> None:
    files = sorted(STILLS.glob("*.jpg"))

    assert files
    assert {file.name: bars for file in files if any(bars := found_in(read_image_bgr(file)))} == {}
