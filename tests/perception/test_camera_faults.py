"""Faults put into real and rendered pictures are told in time, and driving without any raises no alarm."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.frame import CameraState, Frame, Yuv420
from perception.scene.camera_health import CameraJudge, HealthSettings
from perception.scene.camera_look import look_at
from perception.sources.drive import SCENES
from perception.sources.source import EndOfSource, Source
from perception.sources.synthetic import SyntheticSource
from perception.sources.video import VideoSource

Pixels = NDArray[np.uint8]
Fault = Callable[[Pixels], Pixels]
Bgr = tuple[int, int, int]
Box = tuple[float, float, float, float]

SHARED = Path(__file__).parents[3] / "shared"
CLIPS = sorted((SHARED / "videos").glob("*.mp4"))
STILLS = SHARED / "data" / "bdd100k_drivable"
LATEST_ALARM_S = 0.5
GOOD_FRAMES = 8
DRIVES = [scene for scene in SCENES if scene != "mixed"]
BLACK, DARK, GREY, WHITE, SKIN = (0, 0, 0), (12, 12, 12), (128, 128, 128), (255, 255, 255), (120, 150, 200)
ALL: Box = (0, 0, 1, 1)
HALVES: dict[str, Box] = {"left": (0, 0, 0.5, 1), "right": (0.5, 0, 1, 1), "top": (0, 0, 1, 0.5)}

needs_clips = pytest.mark.skipif(not CLIPS, reason="needs ../shared/videos beside the checkout")
needs_stills = pytest.mark.skipif(
    not (STILLS / "index.csv").exists(), reason="needs ../shared/data/bdd100k_drivable beside the checkout"
)


def colour(pixels: Pixels, bgr: Bgr) -> NDArray[np.float64]:
    """The colour as a pixel of a BGR picture, or of a luma plane in limited range."""
    luma = np.dot(bgr, (0.114, 0.587, 0.299)) * 219 / 255 + 16
    return np.asarray(bgr if pixels.ndim == 3 else luma, np.float64)


@cache
def noise_of(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def noisy(pixels: Pixels, sigma: float) -> Pixels:
    """With a sensor's noise, the same in every colour."""
    if sigma == 0:
        return pixels
    shape = (*pixels.shape[:2], 1)[: pixels.ndim]
    return np.asarray((pixels + sigma * noise_of(shape)).clip(0, 255), np.uint8)


def covered(box: Box, bgr: Bgr, noise_sigma: float = 0.0) -> Fault:
    """A colour over a part of the picture; `box` is left, top, right and bottom in shares of the sides."""

    def cover(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        left, top, right, bottom = (
            round(at * side) for at, side in zip(box, (width, height) * 2, strict=True)
        )
        spoiled = pixels.copy()
        spoiled[top:bottom, left:right] = colour(pixels, bgr)
        return noisy(spoiled, noise_sigma)

    return cover


def defocused(sigma_px: float, noise_sigma: float = 0.0) -> Fault:
    """Blurred by a Gaussian; `sigma_px` is that at a width of 1280."""

    def blur(pixels: Pixels) -> Pixels:
        blurred = cv2.GaussianBlur(pixels, (0, 0), sigma_px * pixels.shape[1] / 1280)
        return noisy(np.asarray(blurred, np.uint8), noise_sigma)

    return blur


def fogged(pixels: Pixels) -> Pixels:
    """Seen through fog that lets three tenths of the light through."""
    return np.asarray(pixels * 0.3 + colour(pixels, (210, 210, 210)) * 0.7, np.uint8)


FAULTS: dict[str, tuple[Fault, CameraState, str]] = {
    "black": (covered(ALL, BLACK), CameraState.BLOCKED, "black"),
    "black, noise": (covered(ALL, BLACK, 5), CameraState.BLOCKED, "black"),
    "white": (covered(ALL, WHITE), CameraState.BLOCKED, "white"),
    "grey, noise": (covered(ALL, GREY, 3), CameraState.BLOCKED, "covered"),
    "defocused": (defocused(12), CameraState.DEGRADED, "blurred"),
    "defocused, noise": (defocused(12, 2), CameraState.DEGRADED, "blurred"),
    "fogged": (fogged, CameraState.DEGRADED, "fogged"),
}
for half, box in HALVES.items():
    for name, bgr in {"dark": DARK, "skin": SKIN, "grey": GREY}.items():
        told = CameraState.DEGRADED, f"{half} half covered"
        FAULTS[f"{half} half {name}"] = (covered(box, bgr), *told)
        FAULTS[f"{half} half {name}, noise"] = (covered(box, bgr, 3), *told)


def frames_of(source: Source) -> Iterator[Frame]:
    source.open()
    try:
        while True:
            yield source.read()
    except EndOfSource:
        pass
    finally:
        source.close()


def spoiled(frame: Frame, fault: Fault) -> Frame:
    if isinstance(frame.pixels, Yuv420):
        return replace(frame, pixels=replace(frame.pixels, y=fault(frame.pixels.y)))
    return replace(frame, pixels=fault(frame.pixels))


def first_alarm(frames: list[Frame]) -> tuple[float, CameraState, str | None]:
    """Seconds from the last good frame to the first that is not ok, its state and reason."""
    judge = CameraJudge(HealthSettings())
    for number, frame in enumerate(frames):
        state, reason = judge.judge(look_at(frame), frame.time_ns, frame.is_damaged)
        if state != CameraState.OK:
            return (frame.time_ns - frames[GOOD_FRAMES - 1].time_ns) / 1e9, state, reason
        assert number < len(frames) - 1, f"no alarm in {number + 1} frames"
    raise AssertionError("no frames")


def check_faults(frames: list[Frame]) -> None:
    good, then = frames[:GOOD_FRAMES], frames[GOOD_FRAMES:]
    for name, (fault, *expected) in FAULTS.items():
        alarm_s, *alarm = first_alarm(good + [spoiled(frame, fault) for frame in then])
        assert (name, alarm) == (name, expected)
        assert 0 < alarm_s <= LATEST_ALARM_S, name
    frozen = [replace(frame, pixels=good[-1].pixels) for frame in then]
    alarm_s, state, _ = first_alarm(good + frozen)
    assert state == CameraState.FROZEN
    assert 0 < alarm_s <= LATEST_ALARM_S


@pytest.mark.parametrize("scene", DRIVES)
def test_every_fault_on_a_rendered_drive_is_told_in_half_a_second(scene: str) -> None:
    drive = SyntheticSource(scene, (640, 360), rate_hz=5.0, seed=2, frames=GOOD_FRAMES + 3)

    check_faults(list(frames_of(drive)))


@needs_clips
@pytest.mark.slow
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_every_fault_on_a_real_clip_is_told_in_half_a_second(clip: Path) -> None:
    frames = list(frames_of(VideoSource(clip)))[: GOOD_FRAMES + 13]

    check_faults(frames)


def verdicts(frames: Iterator[Frame]) -> set[tuple[CameraState, str | None]]:
    judge = CameraJudge(HealthSettings())
    return {judge.judge(look_at(frame), frame.time_ns, frame.is_damaged) for frame in frames}


@needs_clips
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_no_alarm_on_a_real_clip(clip: Path) -> None:
    assert verdicts(frames_of(VideoSource(clip))) == {(CameraState.OK, None)}


@pytest.mark.slow
@pytest.mark.parametrize("scene", DRIVES)
def test_no_alarm_in_20_seconds_of_rendered_driving(scene: str) -> None:
    drive = SyntheticSource(scene, (640, 360), rate_hz=5.0, seed=1, frames=100)

    assert verdicts(frames_of(drive)) == {(CameraState.OK, None)}


@pytest.mark.slow_large
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scene", SCENES)
def test_no_alarm_in_half_an_hour_of_rendered_driving(scene: str) -> None:
    for seed in range(6):
        drive = SyntheticSource(scene, (640, 360), rate_hz=5.0, seed=seed, frames=190)
        assert verdicts(frames_of(drive)) == {(CameraState.OK, None)}, seed


@needs_stills
@pytest.mark.slow
def test_no_alarm_on_any_still_of_val_night_rain_and_snow_included() -> None:
    with (STILLS / "index.csv").open() as file:
        names = [row["id"] for row in csv.DictReader(file) if row["split"] == "val"]
    alarms = {}

    for name in names:
        image_bgr = np.asarray(cv2.imread(str(STILLS / "images" / f"{name}.jpg")), np.uint8)
        look = look_at(Frame("stills", 0, captured_ns=0, time_ns=0, pixels=image_bgr, name=name))
        judge = CameraJudge(HealthSettings(), may_freeze=False)
        for tenth in range(11):
            state, reason = judge.judge(look, tenth * 100_000_000, is_damaged=False)
        if state != CameraState.OK:
            alarms[name] = reason

    assert len(names) == 151
    assert alarms == {}
