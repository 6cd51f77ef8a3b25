"""The judge: states, reasons and hysteresis, from looks made by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace

import pytest
import yaml

from perception.frame import CameraLook, CameraState
from perception.scene.camera_health import CameraJudge, HealthSettings
from perception.settings import parse, shipped_config

Verdict = tuple[CameraState, str | None]

ROAD = CameraLook(
    brightest_luma=220,
    darkest_luma=15,
    saturated_share=0.01,
    sky_luma=150,
    road_luma=90,
    fingerprint=0,
    sharpness=0.9,
    structure=90,
    part_structure={"left": 80, "right": 80, "top": 60, "bottom": 80},
)
BLACK = replace(
    ROAD, brightest_luma=3, darkest_luma=0, saturated_share=0, structure=2, sky_luma=2, road_luma=2
)
OK: Verdict = (CameraState.OK, None)


def with_part(part: str, structure: float, look: CameraLook = ROAD) -> CameraLook:
    return replace(look, part_structure=look.part_structure | {part: structure})


class Camera:
    """A judge that is fed at a fixed rate; every look gets a fingerprint of its own unless `repeats`."""

    def __init__(
        self, rate_hz: float = 30.0, settings: HealthSettings | None = None, may_freeze: bool = True
    ) -> None:
        self._judge = CameraJudge(settings or HealthSettings(), may_freeze)
        self._rate_hz = rate_hz
        self._frames = 0
        self._fingerprint = 0
        self.start_ns = 0

    def show(self, look: CameraLook, repeats: bool = False, is_damaged: bool = False) -> Verdict:
        self._fingerprint += not repeats
        time_ns = self.start_ns + round(self._frames * 1e9 / self._rate_hz)
        self._frames += 1
        return self._judge.judge(replace(look, fingerprint=self._fingerprint), time_ns, is_damaged)

    def show_for(self, seconds: float, look: CameraLook, repeats: bool = False) -> list[Verdict]:
        return [self.show(look, repeats) for _ in range(round(seconds * self._rate_hz))]

    def seconds_to(self, state: CameraState, look: CameraLook, repeats: bool = False) -> float:
        """From the last frame before these to the first one that is judged so."""
        for shown in range(1, 1000):
            if self.show(look, repeats)[0] == state:
                return shown / self._rate_hz
        raise AssertionError(f"never {state}")


def states(verdicts: Iterable[Verdict]) -> set[CameraState]:
    return {state for state, _ in verdicts}


@pytest.mark.parametrize(
    ("look", "state", "reason"),
    [
        (BLACK, "blocked", "black"),
        (replace(ROAD, structure=3, saturated_share=1, darkest_luma=250), "blocked", "white"),
        (replace(ROAD, structure=3), "blocked", "covered"),
        (with_part("left", 4), "degraded", "left half covered"),
        (with_part("right", 4), "degraded", "right half covered"),
        (with_part("top", 4), "degraded", "top half covered"),
        (with_part("bottom", 4), "degraded", "bottom half covered"),
        (replace(ROAD, brightest_luma=20), "degraded", "dark"),
        (replace(ROAD, saturated_share=0.5), "degraded", "glare"),
        (replace(ROAD, sharpness=0.3), "degraded", "blurred"),
        (replace(ROAD, darkest_luma=130), "degraded", "fogged"),
    ],
)
@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 30.0, 60.0])
def test_a_fault_is_told_within_half_a_second_and_forgotten_after_one_of_good_frames(
    look: CameraLook, state: str, reason: str, rate_hz: float
) -> None:
    camera = Camera(rate_hz)
    assert states(camera.show_for(2, ROAD)) == {"ok"}

    assert 0.3 <= camera.seconds_to(CameraState(state), look) <= 0.5
    assert camera.show(look) == (state, reason)
    assert 1.0 <= camera.seconds_to(CameraState.OK, ROAD) <= 1.2


def test_the_reason_stands_while_good_frames_come_but_not_long_enough() -> None:
    camera = Camera()
    camera.show_for(1, BLACK)

    assert set(camera.show_for(0.9, ROAD)) == {(CameraState.BLOCKED, "black")}
    assert set(camera.show_for(0.9, BLACK)) == {(CameraState.BLOCKED, "black")}


def test_a_short_fault_is_no_alarm() -> None:
    camera = Camera()

    shown = [verdict for _ in range(10) for look in (ROAD, BLACK) for verdict in camera.show_for(0.2, look)]

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
    judge = CameraJudge(HealthSettings(frozen_after_s=0))

    assert {judge.judge(ROAD, 1_000, False) for _ in range(5)} == {OK}


def test_black_without_noise_is_blocked_rather_than_frozen() -> None:
    camera = Camera()

    assert camera.show_for(1, BLACK, repeats=True)[-1] == (CameraState.BLOCKED, "black")


def test_damage_is_told_at_once_and_for_a_while() -> None:
    camera = Camera()
    camera.show(ROAD)

    assert camera.show(ROAD, is_damaged=True) == (CameraState.DEGRADED, "damaged")
    assert 1.0 <= camera.seconds_to(CameraState.OK, ROAD) <= 1.1


def test_by_night_a_flat_dark_top_is_the_sky_and_by_day_a_cover() -> None:
    over_dark_road = with_part("top", 3, replace(ROAD, sky_luma=8, road_luma=20))
    over_lit_road = with_part("top", 3, replace(ROAD, sky_luma=8, road_luma=90))
    without_any_noise = with_part("top", 0.5, replace(ROAD, sky_luma=8, road_luma=20))

    assert Camera().show_for(1, over_dark_road)[-1] == OK
    assert Camera().show_for(1, over_lit_road)[-1] == (CameraState.DEGRADED, "top half covered")
    assert Camera().show_for(1, without_any_noise)[-1] == (CameraState.DEGRADED, "top half covered")


def test_a_frame_too_small_to_tell_is_judged_by_its_light_alone() -> None:
    small = replace(BLACK, structure=None, sharpness=None, part_structure={})

    assert Camera().show_for(1, small)[-1] == (CameraState.DEGRADED, "dark")
    assert Camera().show_for(1, replace(small, brightest_luma=200))[-1] == OK


def test_time_that_goes_back_neither_raises_nor_lowers_an_alarm_by_itself() -> None:
    fine, blocked = Camera(), Camera()
    for camera, look in ((fine, ROAD), (blocked, BLACK)):
        camera.start_ns = 3_600 * 10**9
        camera.show_for(2, look)
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
    ("values", "told"),
    [
        ({"clear_after_s": -1.0}, "clear_after_s is -1.0; it must be 0 or more, and finite"),
        ({"frozen_after_s": float("inf")}, "frozen_after_s is inf; it must be 0 or more, and finite"),
        ({"sharpness": float("nan")}, "sharpness is nan; it must be 0 or more, and finite"),
        ({"alarm_frames": 0}, "alarm_frames is 0; it must be 1 or more"),
        ({"glare_share": 35.0}, "glare_share is 35.0; a share is at most 1"),
    ],
)
def test_settings_that_no_camera_can_be_judged_by_are_refused(values: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        replace(HealthSettings(), **values)
