"""The judge: states, reasons and hysteresis, from looks made by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from perception.camera_health.image_stats import PARTS
from perception.camera_health.monitor import CameraHealthMonitor, HealthSettings
from perception.cli_config import parse, shipped_config
from perception.frame import CameraState, ImageStats

Verdict = tuple[CameraState, str | None]

HALVES = {"left": np.s_[:, :8], "right": np.s_[:, 8:], "top": np.s_[:5, :], "bottom": np.s_[4:, :]}


def look_of(luma: NDArray[np.float64], structure: NDArray[np.float64]) -> ImageStats:
    """Of 9x16 blocks with these lumas and structures."""
    blocks = structure.astype(np.float32)
    return ImageStats(
        brightest_luma=float(luma.max()),
        darkest_luma=15,
        saturated_share=0.01,
        fingerprint=0,
        block_luma=luma.astype(np.float32),
        sharpness=0.9,
        structure=most_of(blocks),
        part_structure={part: most_of(blocks[place]) for part, place in PARTS.items()},
        block_structure=blocks,
    )


def most_of(structure: NDArray[np.float32]) -> float:
    return float(np.quantile(structure, 0.95))


def covered(part: str, luma: float, structure: float = 3.0, over: ImageStats | None = None) -> ImageStats:
    """The look with something of that luma and structure over a half of it."""
    over = over or ROAD
    assert over.block_structure is not None
    lumas, structures = over.block_luma.astype(float), over.block_structure.astype(float)
    lumas[HALVES[part]], structures[HALVES[part]] = luma, structure
    return replace(look_of(lumas, structures), darkest_luma=over.darkest_luma)


def unlit(beam_luma: float = 100.0, shift: float = 0.0) -> ImageStats:
    """A road that headlights alone light: nothing in the top half, a beam in the bottom half.

    Args:
        shift: moves what the beam shows, as driving does.
    """
    rows, columns = np.mgrid[0:9, 0:16].astype(float)
    beam = np.where(rows >= 4, np.exp(-(((columns - 7.5) / 4) ** 2)) * (1 - 0.15 * np.abs(rows - 6)), 0)
    seen = 60 * beam * (1 + 0.3 * np.sin(shift + 2 * rows + columns))
    return replace(look_of(1 + beam_luma * beam, seen + 0.5), darkest_luma=0)


ROAD = look_of(np.full((9, 16), 110.0), np.full((9, 16), 60.0))
BLACK = replace(look_of(np.full((9, 16), 3.0), np.full((9, 16), 2.0)), darkest_luma=0, saturated_share=0)
OK: Verdict = (CameraState.OK, None)


class Camera:
    """A judge that is fed at a fixed rate; every look gets a fingerprint of its own unless `repeats`."""

    def __init__(
        self, rate_hz: float = 30.0, settings: HealthSettings | None = None, may_freeze: bool = True
    ) -> None:
        self._monitor = CameraHealthMonitor(settings or HealthSettings(), may_freeze)
        self._rate_hz = rate_hz
        self._frames = 0
        self._fingerprint = 0
        self.start_ns = 0

    def show(self, stats: ImageStats, repeats: bool = False, is_damaged: bool = False) -> Verdict:
        self._fingerprint += not repeats
        time_ns = self.start_ns + round(self._frames * 1e9 / self._rate_hz)
        self._frames += 1
        return self._monitor.assess(replace(stats, fingerprint=self._fingerprint), time_ns, is_damaged)

    def show_for(self, seconds: float, stats: ImageStats, repeats: bool = False) -> list[Verdict]:
        return [self.show(stats, repeats) for _ in range(round(seconds * self._rate_hz))]

    def seconds_to(self, state: CameraState, stats: ImageStats, repeats: bool = False) -> float:
        """From the last frame before these to the first one that is judged so."""
        for shown in range(1, 1000):
            if self.show(stats, repeats)[0] == state:
                return shown / self._rate_hz
        raise AssertionError(f"never {state}")


def states(verdicts: Iterable[Verdict]) -> set[CameraState]:
    return {state for state, _ in verdicts}


@pytest.mark.parametrize(
    ("stats", "state", "reason"),
    [
        (BLACK, "blocked", "black"),
        (replace(ROAD, structure=3, saturated_share=1, darkest_luma=250), "blocked", "white"),
        (replace(ROAD, structure=3), "blocked", "covered"),
        (replace(BLACK, brightest_luma=40), "blocked", "dark"),
        *((covered(part, 120), "degraded", f"{part} half covered") for part in HALVES),
        *((covered(part, 10), "degraded", f"{part} half covered") for part in ("left", "right", "top")),
        (replace(ROAD, brightest_luma=10), "degraded", "dark"),
        (replace(ROAD, saturated_share=0.5), "degraded", "glare"),
        (replace(ROAD, sharpness=0.3), "degraded", "blurred"),
        (replace(ROAD, darkest_luma=130), "degraded", "fogged"),
        (replace(ROAD, darkest_luma=130, saturated_share=0.2), "degraded", "overexposed"),
    ],
)
@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 30.0, 60.0])
def test_a_fault_is_reported_within_half_a_second_and_forgotten_after_one_of_good_frames(
    stats: ImageStats, state: str, reason: str, rate_hz: float
) -> None:
    camera = Camera(rate_hz)
    assert states(camera.show_for(2, ROAD)) == {"ok"}

    assert 0.3 <= camera.seconds_to(CameraState(state), stats) <= 0.5
    assert camera.show(stats) == (state, reason)
    assert 1.0 <= camera.seconds_to(CameraState.OK, ROAD) <= 1.2


def test_the_reason_stands_while_good_frames_come_but_not_long_enough() -> None:
    camera = Camera()
    camera.show_for(1, BLACK)

    assert set(camera.show_for(0.9, ROAD)) == {(CameraState.BLOCKED, "black")}
    assert set(camera.show_for(0.9, BLACK)) == {(CameraState.BLOCKED, "black")}


def test_a_short_fault_is_no_alarm() -> None:
    camera = Camera()

    shown = [verdict for _ in range(10) for stats in (ROAD, BLACK) for verdict in camera.show_for(0.2, stats)]

    assert states(shown) == {"ok"}


def test_one_bad_frame_is_no_alarm_however_long_it_stands_alone() -> None:
    camera = Camera(rate_hz=1.0)

    assert states([camera.show(ROAD), camera.show(BLACK), camera.show(ROAD)]) == {"ok"}


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 30.0, 60.0])
def test_a_picture_that_repeats_is_frozen_within_half_a_second(rate_hz: float) -> None:
    camera = Camera(rate_hz)
    camera.show_for(1, ROAD)

    assert camera.seconds_to(CameraState.FROZEN, ROAD, repeats=True) <= 0.5
    assert camera.show(ROAD, repeats=True) == (CameraState.FROZEN, "same picture again")
    assert 1.0 <= camera.seconds_to(CameraState.OK, ROAD) <= 1.2


def test_a_folder_of_images_never_freezes() -> None:
    camera = Camera(may_freeze=False)

    assert states(camera.show_for(3, ROAD, repeats=True)) == {"ok"}


def test_frames_shown_twice_by_a_conversion_of_rates_are_not_frozen() -> None:
    camera = Camera(rate_hz=30.0)

    shown = [camera.show(ROAD, repeats=frame % 6 == 5) for frame in range(300)]
    slow = Camera(rate_hz=2.0)
    shown += [slow.show(ROAD, repeats=frame % 2 == 1) for frame in range(40)]

    assert states(shown) == {"ok"}


def test_repeats_are_not_frozen_while_time_stands_still() -> None:
    monitor = CameraHealthMonitor(HealthSettings(frozen_after_s=0))

    assert {monitor.assess(ROAD, 1_000, False) for _ in range(5)} == {OK}


def test_black_without_noise_is_blocked_rather_than_frozen() -> None:
    camera = Camera()

    assert camera.show_for(1, BLACK, repeats=True)[-1] == (CameraState.BLOCKED, "black")


def test_damage_is_reported_immediately_and_for_a_while() -> None:
    camera = Camera()
    camera.show(ROAD)

    assert camera.show(ROAD, is_damaged=True) == (CameraState.DEGRADED, "damaged")
    assert 1.0 <= camera.seconds_to(CameraState.OK, ROAD) <= 1.1


def test_damage_of_one_image_is_reported_for_that_one_only() -> None:
    camera = Camera(may_freeze=False)

    assert camera.show(ROAD) == OK
    assert camera.show(ROAD, is_damaged=True) == (CameraState.DEGRADED, "damaged")
    assert camera.show(ROAD) == OK


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 30.0, 60.0])
def test_an_unlit_road_is_well_seen(rate_hz: float) -> None:
    camera = Camera(rate_hz)

    assert {camera.show(unlit(shift=frame)) for frame in range(round(5 * rate_hz))} == {OK}


@pytest.mark.parametrize("luma", [5.0, 60.0, 150.0])
@pytest.mark.parametrize("part", ["left", "right"])
def test_a_half_of_an_unlit_road_that_loses_its_view_is_covered(part: str, luma: float) -> None:
    for warm_s in (0, 2):  # from the first frame, and in the middle of a drive
        camera = Camera(10.0)
        for frame in range(10 * warm_s):
            assert camera.show(unlit(shift=frame)) == OK

        shown = [camera.show(covered(part, luma, 1.0, unlit(shift=frame))) for frame in range(5, 35)]

        assert set(shown[4:]) == {(CameraState.DEGRADED, f"{part} half covered")}


def test_a_beam_that_lights_one_side_alone_is_no_cover() -> None:
    camera = Camera()
    dim = unlit()
    assert dim.block_structure is not None
    fades = np.clip((np.arange(16) - 4) / 6, 0, 1)
    one_sided = replace(look_of(dim.block_luma * fades, dim.block_structure * fades), darkest_luma=0)

    assert one_sided.part_structure["left"] > 4.8
    assert states(camera.show_for(2, one_sided)) == {"ok"}


def test_lamps_that_are_left_behind_are_no_cover() -> None:
    camera = Camera(10.0)
    structure = np.array(unlit().block_structure, float)
    structure[:4] = 40  # lit houses and trees
    in_town = replace(look_of(unlit().block_luma.astype(float), structure), darkest_luma=0)

    camera.show_for(5, in_town)
    leaving = []
    for share in np.linspace(1, 0, 30):  # within three seconds
        structure[:4] = 40 * share
        leaving.append(
            camera.show(replace(look_of(in_town.block_luma.astype(float), structure), darkest_luma=0))
        )
    leaving += [camera.show(unlit(shift=frame)) for frame in range(50)]

    assert set(leaving) == {OK}


def test_mud_is_recognised_as_it_stays_where_the_road_moved() -> None:
    def driving(frame: int) -> ImageStats:
        moved = 1 + 0.3 * np.sin(frame + np.arange(144.0).reshape(9, 16))
        return look_of(np.full((9, 16), 110.0), 40 * moved)

    camera, passing = Camera(10.0), Camera(10.0)
    for frame in range(20):
        camera.show(driving(frame))
        passing.show(driving(frame))

    muddy = [camera.show(covered("left", 60, 50, driving(frame))) for frame in range(20, 50)]
    moving = [
        passing.show(covered("left", 60, 50 + 20 * (frame % 3), driving(frame))) for frame in range(20, 50)
    ]

    assert {(CameraState.DEGRADED, "left half covered")} == set(muddy[5:])
    assert states(moving) == {"ok"}  # a lorry that passes, for one


def test_a_cover_is_forgotten_once_the_view_is_back() -> None:
    camera = Camera(10.0)
    for frame in range(20):
        camera.show(unlit(shift=frame))
    for frame in range(100):
        state, _ = camera.show(covered("left", 3, 1.0, unlit(shift=frame)))
    assert state == CameraState.DEGRADED

    back = [camera.show(unlit(shift=frame)) for frame in range(20)]

    assert back[-1] == OK


def test_pictures_that_do_not_follow_each_other_lose_no_view() -> None:
    images = Camera(10.0, may_freeze=False)
    for frame in range(20):
        images.show(unlit(shift=frame))
    dark_top = covered("top", 2, 0.5, unlit(60))

    assert states(images.show_for(3, dark_top)) == {"ok"}


def test_a_dark_flat_top_is_the_sky_unless_daylight_reaches_beside_the_road() -> None:
    assert Camera().show_for(1, unlit(200))[-1] == OK
    assert Camera().show_for(1, covered("top", 8))[-1] == (CameraState.DEGRADED, "top half covered")


def test_a_road_in_the_dark_is_dark_and_not_covered() -> None:
    lamps_above = covered("bottom", 3, 1.0)

    assert Camera().show_for(1, replace(unlit(8), brightest_luma=8))[-1] == (CameraState.DEGRADED, "dark")
    dim = look_of(lamps_above.block_luma * 0.3, np.array(lamps_above.block_structure, float))
    assert Camera().show_for(1, replace(dim, darkest_luma=0))[-1] == (CameraState.DEGRADED, "dark")


def test_a_lens_cap_under_a_sensor_that_turns_its_gain_up_is_black() -> None:
    noise = look_of(np.full((9, 16), 16.0), np.random.default_rng(0).uniform(5, 7, (9, 16)))
    road = replace(unlit(20), structure=6.0, darkest_luma=0)

    assert Camera().show_for(1, replace(noise, darkest_luma=0))[-1] == (CameraState.BLOCKED, "black")
    assert Camera().show_for(1, road)[-1] == OK


def test_a_frame_too_small_to_tell_is_judged_by_its_light_alone() -> None:
    small = replace(BLACK, structure=None, sharpness=None, part_structure={}, block_structure=None)

    assert Camera().show_for(1, small)[-1] == (CameraState.DEGRADED, "dark")
    assert Camera().show_for(1, replace(small, brightest_luma=200))[-1] == OK


def test_time_that_goes_back_neither_raises_nor_lowers_an_alarm_by_itself() -> None:
    fine, blocked = Camera(), Camera()
    for camera, stats in ((fine, ROAD), (blocked, BLACK)):
        camera.start_ns = 3_600 * 10**9
        camera.show_for(2, stats)
        camera.start_ns = 0

    assert fine.show(BLACK) == OK
    assert blocked.show(ROAD) == (CameraState.BLOCKED, "black")
    assert 0.9 <= blocked.seconds_to(CameraState.OK, ROAD) <= 1.1
    assert 0.2 <= fine.seconds_to(CameraState.BLOCKED, BLACK) <= 0.4


def test_a_judge_that_is_off_tells_only_what_the_decoder_says() -> None:
    camera = Camera(settings=HealthSettings(enabled=False))

    assert states(camera.show_for(2, BLACK, repeats=True)) == {"ok"}
    assert camera.show(BLACK, is_damaged=True) == (CameraState.DEGRADED, "damaged")


@dataclass(frozen=True)
class Node:
    """As much of the node's settings as the file fills."""

    health: HealthSettings = field(default_factory=HealthSettings)


def test_the_shipped_file_shows_every_setting_at_its_default() -> None:
    file = shipped_config("camera/health")
    assert file is not None

    shown = yaml.safe_load(file.read_text())

    assert shown == {"health": asdict(HealthSettings())}
    assert parse(Node, "node", "A node.", ["--config", "camera/health"]) == Node()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clear_after_s": -1.0}, "clear_after_s is -1.0; it must be 0 or more, and finite"),
        ({"frozen_after_s": float("inf")}, "frozen_after_s is inf; it must be 0 or more, and finite"),
        ({"sharpness": float("nan")}, "sharpness is nan; it must be 0 or more, and finite"),
        ({"alarm_frames": 0}, "alarm_frames is 0; it must be 1 or more"),
        ({"glare_share": 35.0}, "glare_share is 35.0; a share is at most 1"),
    ],
)
def test_settings_that_no_camera_can_be_judged_by_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(HealthSettings(), **values)
