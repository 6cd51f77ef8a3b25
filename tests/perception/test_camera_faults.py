"""Faults put into real and rendered pictures are reported in time; driving without any raises no alarm."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import frames_of
from numpy.typing import NDArray

from perception.camera_health.image_stats import image_stats_of
from perception.camera_health.monitor import CameraHealthMonitor, HealthSettings
from perception.frame import CameraState, Frame
from perception.imaging.yuv import Yuv420
from perception.sources.synthetic import SyntheticSource
from perception.sources.video import VideoSource
from perception.synthetic import SCENES

Pixels = NDArray[np.uint8]
Fault = Callable[[Pixels], Pixels]
Bgr = tuple[int, int, int]
Box = tuple[float, float, float, float]

SHARED = Path(__file__).parents[3] / "shared"
CLIPS = sorted((SHARED / "videos").glob("*.mp4"))
STILLS = SHARED / "data" / "bdd100k_drivable"
UNLIT = SHARED / "faults" / "unlit_road_at_night_960x540.mp4"
LATEST_ALARM_S = 0.5
GOOD_S = 0.8  # what a half has shown, it must have shown for so long; twice that at five looks a second
DRIVES = [scene for scene in SCENES if scene != "mixed"]
BLACK, DARK, GREY, WHITE, SKIN = (0, 0, 0), (12, 12, 12), (128, 128, 128), (255, 255, 255), (120, 150, 200)
ALL: Box = (0, 0, 1, 1)
HALVES: dict[str, Box] = {
    "left": (0, 0, 0.5, 1),
    "right": (0.5, 0, 1, 1),
    "top": (0, 0, 1, 0.5),
    "bottom": (0, 0.5, 1, 1),
}
BROWN = (40, 60, 80)

needs_clips = pytest.mark.skipif(not CLIPS, reason="needs ../shared/videos beside the checkout")
needs_unlit = pytest.mark.skipif(not UNLIT.exists(), reason="needs ../shared/faults beside the checkout")
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
    """SourceItem through fog that lets three tenths of the light through."""
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
for half, box in list(HALVES.items())[:3]:
    for name, bgr in {"dark": DARK, "skin": SKIN, "grey": GREY}.items():
        expected = CameraState.DEGRADED, f"{half} half covered"
        FAULTS[f"{half} half {name}"] = (covered(box, bgr), *expected)
        FAULTS[f"{half} half {name}, noise"] = (covered(box, bgr, 3), *expected)


def spoiled(frame: Frame, fault: Fault) -> Frame:
    if isinstance(frame.pixels, Yuv420):
        return replace(frame, pixels=replace(frame.pixels, y=fault(frame.pixels.y)))
    return replace(frame, pixels=fault(frame.pixels))


def first_alarm(frames: list[Frame], good: int) -> tuple[float, CameraState, str | None]:
    """Seconds from the last of the good frames to the first that is not ok, its state and reason."""
    monitor = CameraHealthMonitor(HealthSettings())
    for number, frame in enumerate(frames):
        state, reason = monitor.assess(image_stats_of(frame), frame.time_ns, frame.is_damaged)
        if state != CameraState.OK:
            return (frame.time_ns - frames[good - 1].time_ns) / 1e9, state, reason
        assert number < len(frames) - 1, f"no alarm in {number + 1} frames"
    raise AssertionError("no frames")


def check_faults(frames: list[Frame], good_s: float, hidden: str | None = None) -> None:
    """Each fault in turn, after good frames; but none whose name begins with `hidden`."""
    good = [frame for frame in frames if frame.time_ns < good_s * 1e9]
    then = frames[len(good) :]
    for name, (fault, *expected) in FAULTS.items():
        if hidden is not None and name.startswith(hidden):
            continue
        alarm_s, *alarm = first_alarm(good + [spoiled(frame, fault) for frame in then], len(good))
        assert (name, alarm) == (name, expected)
        assert 0 < alarm_s <= LATEST_ALARM_S, name
    frozen = [replace(frame, pixels=good[-1].pixels) for frame in then]
    alarm_s, state, _ = first_alarm(good + frozen, len(good))
    assert state == CameraState.FROZEN
    assert 0 < alarm_s <= LATEST_ALARM_S


@pytest.mark.one_in(2)
@pytest.mark.parametrize("scene", DRIVES)
def test_every_fault_on_a_rendered_drive_is_reported_in_half_a_second(scene: str) -> None:
    drive = SyntheticSource(scene, (640, 360), rate_hz=5.0, seed=2, frames=12)
    # where no lamps are, the top half is black as it is
    hidden = "top half dark" if scene.startswith("unlit") else None

    check_faults(list(frames_of(drive)), 2 * GOOD_S, hidden)


@needs_clips
@pytest.mark.slow
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_every_fault_on_a_real_clip_is_reported_in_half_a_second(clip: Path) -> None:
    frames = list(frames_of(VideoSource(clip)))

    check_faults([frame for frame in frames if frame.time_ns < (GOOD_S + 0.55) * 1e9], GOOD_S)


def verdicts(frames: Iterator[Frame]) -> set[tuple[CameraState, str | None]]:
    monitor = CameraHealthMonitor(HealthSettings())
    return {monitor.assess(image_stats_of(frame), frame.time_ns, frame.is_damaged) for frame in frames}


def night_frames(looks_hz: float, light: float = 1.0, noise_sigma: float = 0.0) -> list[Frame]:
    """The real clip of an unlit road as often as it is looked at, in more or less light."""

    def seen(pixels: Pixels) -> Pixels:
        return noisy(
            np.asarray((16 + light * (pixels.astype(float) - 16)).clip(0, 255), np.uint8), noise_sigma
        )

    every = round(30 / looks_hz)
    return [spoiled(frame, seen) for frame in list(frames_of(VideoSource(UNLIT)))[::every]]


@needs_unlit
@pytest.mark.parametrize(("light", "noise_sigma"), [(1, 0), (1, 6), (0.25, 0), (0.25, 3), (1.6, 2)])
@pytest.mark.parametrize("looks_hz", [10, 30])
def test_an_unlit_road_is_a_good_view(looks_hz: float, light: float, noise_sigma: float) -> None:
    assert verdicts(iter(night_frames(looks_hz, light, noise_sigma))) == {(CameraState.OK, None)}


def muddy(box: Box, luma: float) -> Fault:
    """Mud with holes over a part of a luma plane, lighter and darker from place to place."""

    def blotches(pixels: Pixels, sigma_px: float) -> NDArray[np.float32]:
        made = cv2.GaussianBlur(noise_of(pixels.shape[:2]), (0, 0), sigma_px)
        return np.asarray(made / made.std(), np.float32)

    def splash(pixels: Pixels) -> Pixels:
        over = covered(box, (255, 255, 255))(np.zeros_like(pixels)) > 0
        is_mud = over & (blotches(pixels, pixels.shape[1] / 25) > -1.3)
        mud = luma * (1 + 0.15 * blotches(pixels, pixels.shape[1] / 80))
        return np.where(is_mud, mud, pixels).clip(0, 255).astype(np.uint8)

    return splash


@pytest.mark.one_in(3)
@needs_unlit
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("luma", [60, 120])
def test_mud_on_an_unlit_road_is_reported_in_half_a_second(luma: float, half: str) -> None:
    frames = night_frames(10)
    good = len(frames) // 2
    splashed = [spoiled(frame, muddy(HALVES[half], luma)) for frame in frames[good:]]

    alarm_s, state, _ = first_alarm(frames[:good] + splashed, good + 1)  # from the first muddy frame

    assert state == CameraState.DEGRADED
    assert alarm_s <= LATEST_ALARM_S + 1e-6


@pytest.mark.one_in(7)
@needs_unlit
@pytest.mark.parametrize("looks_hz", [10, 30])
@pytest.mark.parametrize("half", ["left", "right", "bottom"])  # nothing can be seen in the top one
@pytest.mark.parametrize(
    "bgr", [BLACK, DARK, BROWN, GREY, SKIN], ids=["black", "dark", "brown", "grey", "skin"]
)
def test_a_cover_over_an_unlit_road_is_reported_in_half_a_second_and_for_as_long_as_it_stays(
    bgr: Bgr, half: str, looks_hz: float
) -> None:
    frames = night_frames(looks_hz)

    for good in (0, len(frames) // 2):  # from the first frame too
        monitor = CameraHealthMonitor(HealthSettings())
        covered_frames = [spoiled(frame, covered(HALVES[half], bgr, 1)) for frame in frames[good:]]
        states = {
            frame.time_ns: monitor.assess(image_stats_of(frame), frame.time_ns, frame.is_damaged)[0]
            for frame in frames[:good] + covered_frames
        }
        due_ns = frames[good].time_ns + LATEST_ALARM_S * 1e9
        late = [state for time_ns, state in states.items() if time_ns >= due_ns]
        assert CameraState.OK not in late


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
        stats = image_stats_of(Frame("stills", 0, captured_ns=0, time_ns=0, pixels=image_bgr, name=name))
        monitor = CameraHealthMonitor(HealthSettings(), may_freeze=False)
        for tenth in range(11):
            state, reason = monitor.assess(stats, tenth * 100_000_000, is_damaged=False)
        if state != CameraState.OK:
            alarms[name] = reason

    assert len(names) == 151
    assert alarms == {}
