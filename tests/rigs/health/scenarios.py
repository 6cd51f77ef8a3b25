"""Poor pictures from good ones, and good ones that must raise no alarm, judged as the node judges them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import ignored
import night
import numpy as np
from lines import Line
from numpy.typing import NDArray

from perception.camera_health.image_stats import image_stats_of
from perception.camera_health.monitor import CameraHealthMonitor, HealthSettings
from perception.frame import CameraState, Frame
from perception.sources.decoding.image_file import read_image_bgr
from perception.sources.source import EndOfSource
from perception.sources.synthetic import SyntheticSource
from perception.sources.video import VideoSource

SHARED: Final = Path(__file__).parents[4] / "shared"
ALARM_S: Final = 0.5
FAULT_FROM_S: Final = 0.6
FAULT_FOR_S: Final = 0.8
HOURS_OF: Final = ("day", "dusk", "rain", "unlit")
OTHER_SCENES: Final = ("night", "shadows", "highway", "city", "unlit_rain")
DRIVE_S: Final = 60
LOOKS_HZ: Final = 10
RENDERED_WH: Final = (640, 360)

Image = NDArray[np.uint8]
Fault = Callable[[Image, np.random.Generator], Image]


def _noise(image: Image, level: float, random: np.random.Generator) -> Image:
    noisy = image + random.normal(0, level, image.shape)
    return np.asarray(noisy.clip(0, 255), np.uint8)


def _covered(part: str, bgr: tuple[int, int, int]) -> Fault:
    def cover(image: Image, random: np.random.Generator) -> Image:
        height, width = image.shape[:2]
        mask = np.zeros((height, width, 1), np.float32)
        where = {
            "left": np.s_[:, : width // 2],
            "right": np.s_[:, width // 2 :],
            "top": np.s_[: height // 2],
        }
        mask[where[part]] = 1
        soft = cv2.GaussianBlur(mask, (0, 0), width / 100)[..., None]
        return _noise(np.asarray(image * (1 - soft) + np.array(bgr) * soft, np.uint8), 2, random)

    return cover


def _blurred(image: Image, random: np.random.Generator) -> Image:
    return _noise(
        np.asarray(cv2.GaussianBlur(image, (0, 0), 12 * image.shape[1] / 1280), np.uint8), 1, random
    )


POOR: Final = {CameraState.DEGRADED, CameraState.BLOCKED}
COLOURS_BGR: Final = ((12, 12, 12), (110, 140, 200), (120, 120, 120))
DARK_TOP: Final = _covered("top", COLOURS_BGR[0])
FAULTS: Final[dict[str, tuple[set[CameraState], list[Fault | None]]]] = {
    "frozen": ({CameraState.FROZEN}, [None]),
    "black": ({CameraState.BLOCKED}, [lambda image, random: np.zeros_like(image)]),
    "black with sensor noise": (
        {CameraState.BLOCKED},
        [lambda image, random: _noise(np.full_like(image, 6), 3, random)],
    ),
    "white": ({CameraState.BLOCKED}, [lambda image, random: np.full_like(image, 255)]),
    "blurred": (POOR, [_blurred]),
    "half covered (left, right, top; dark, skin, grey)": (
        POOR,
        [
            *(_covered(part, bgr) for part in ("left", "right") for bgr in COLOURS_BGR),
            *(DARK_TOP, *(_covered("top", bgr) for bgr in COLOURS_BGR[1:])),
        ],
    ),
}


def _clips() -> dict[str, Path]:
    return {file.stem: file for file in sorted((SHARED / "videos").glob("*.mp4"))}


def _frames_of(file: Path) -> Iterator[Frame]:
    source = VideoSource(file)
    info = source.open()
    frames = [source.read() for _ in range(round(info.rate_hz * (FAULT_FROM_S + FAULT_FOR_S)))]
    source.close()
    yield from frames


def _all_of(file: Path) -> Iterator[Frame]:
    source = VideoSource(file)
    source.open()
    with suppress(EndOfSource):
        while True:
            yield source.read()


def _rendered(scene: str) -> Iterator[Frame]:
    source = SyntheticSource(scene, (1280, 720), 25.0)
    source.open()
    yield from (source.read() for _ in range(round(25 * (FAULT_FROM_S + FAULT_FOR_S))))


def _with_fault(frames: Iterable[Frame], fault: Fault | None) -> Iterator[tuple[Frame, bool]]:
    """The frames, from `FAULT_FROM_S` on with the fault, or all the same where it is None."""
    random = np.random.default_rng(0)
    last: Frame | None = None
    for frame in frames:
        is_faulty = frame.time_ns >= FAULT_FROM_S * 1e9
        if is_faulty and fault is not None:
            frame = replace(frame, pixels=fault(frame.image_bgr, random))
        elif is_faulty and last is not None:
            frame = replace(frame, pixels=last.pixels)
        else:
            last = frame
        yield frame, is_faulty


def _alarm_s(frames: Iterable[Frame], fault: Fault | None, expected: set[CameraState]) -> float:
    """Seconds from the first faulty frame to the first that reports it; infinite for never, or too early."""
    monitor = CameraHealthMonitor(HealthSettings())
    since_ns: int | None = None
    for frame, is_faulty in _with_fault(frames, fault):
        state, _ = monitor.assess(image_stats_of(frame), frame.time_ns, frame.is_damaged)
        if not is_faulty:
            if state is not CameraState.OK:
                return float("inf")
            continue
        since_ns = frame.time_ns if since_ns is None else since_ns
        if state in expected:
            return (frame.time_ns - since_ns) / 1e9
    return float("inf")


def _faults(name: str) -> Callable[[], Line]:
    def scenario() -> Line:
        expected, faults = FAULTS[name]
        drives: dict[str, Callable[[], Iterator[Frame]]] = {
            **{clip: partial(_frames_of, file) for clip, file in _clips().items()},
            **{f"synthetic:{scene}": partial(_rendered, scene) for scene in ("day", "rain", "unlit")},
        }
        took_s = {
            drive: max(_alarm_s(frames(), fault, expected) for fault in faults if is_visible(drive, fault))
            for drive, frames in drives.items()
        }
        worst = max(took_s, key=lambda it: took_s[it])
        seen = f"{took_s[worst]:.2f} s at most ({worst}), {len(took_s)} drives"
        states = " or ".join(sorted(expected))
        return Line(f"camera {name}", f"{states} <= {ALARM_S:g} s", seen, took_s[worst] <= ALARM_S)

    return scenario


def is_visible(drive: str, fault: Fault | None) -> bool:
    """Whether a fault changes anything: not what is dark over the black sky of a road without lamps."""
    return drive != "synthetic:unlit" or fault is not DARK_TOP


def _alarms(frames: Iterable[Frame], monitor: CameraHealthMonitor) -> tuple[int, list[str]]:
    count, alarms = 0, []
    for frame in frames:
        count += 1
        state, reason = monitor.assess(image_stats_of(frame), frame.time_ns, frame.is_damaged)
        if state is not CameraState.OK:
            alarms.append(f"{frame.source_id} {frame.name}: {state} {reason}")
    return count, alarms


def _no_alarm(what: str, parts: Iterable[tuple[int, list[str]]]) -> Line:
    total, alarms = 0, list[str]()
    for count, found in parts:
        total, alarms = total + count, alarms + found
    seen = f"{len(alarms)} of {total} frames" + (f"; {alarms[0]}" if alarms else "")
    return Line(f"{what}: no alarm", "0 frames", seen, total > 0 and not alarms)


def _alarms_of_drive(scene: str, seed: int) -> list[str]:
    """What is reported first whenever a minute of rendered driving is not ok."""
    source = SyntheticSource(scene, RENDERED_WH, LOOKS_HZ, seed=seed, frames=DRIVE_S * LOOKS_HZ)
    source.open()
    monitor, alarms, was_ok = CameraHealthMonitor(HealthSettings()), [], True
    for _ in range(DRIVE_S * LOOKS_HZ):
        frame = source.read()
        state, reason = monitor.assess(image_stats_of(frame), frame.time_ns, frame.is_damaged)
        if was_ok and state is not CameraState.OK:
            alarms.append(f"{scene} of seed {seed} after {frame.time_ns / 1e9:.0f} s: {reason}")
        was_ok = state is CameraState.OK
    return alarms


def _rendered_driving(scenes: tuple[str, ...], minutes: int, most: int) -> Line:
    """Minutes of each scene, every one of another road, traffic and camera."""
    with ProcessPoolExecutor() as pool:
        drives = [
            pool.submit(_alarms_of_drive, scene, 1000 + seed) for scene in scenes for seed in range(minutes)
        ]
        alarms = [alarm for drive in drives for alarm in drive.result()]
    what = f"{minutes * len(scenes) / 60:g} h of rendered driving at {LOOKS_HZ} Hz ({', '.join(scenes)})"
    seen = f"{len(alarms)} alarms" + (f"; {alarms[0]}" if alarms else "")
    return Line(f"{what}: no alarm", f"<= {most}", seen, len(alarms) <= most)


def rendered_hours() -> Line:
    """An hour of each kind of light and weather."""
    return _rendered_driving(HOURS_OF, 60, len(HOURS_OF))


def other_scenes() -> Line:
    """Some minutes of every other scene."""
    return _rendered_driving(OTHER_SCENES, 6, 1)


def clips() -> Line:
    """Real drives."""

    def of(file: Path) -> tuple[int, list[str]]:
        return _alarms(_all_of(file), CameraHealthMonitor(HealthSettings()))

    return _no_alarm("the real clips", map(of, _clips().values()))


def validation_split() -> Line:
    """Real stills by day and night, each as if it lasted for a second."""
    data = SHARED / "data" / "bdd100k_drivable"
    with (data / "index.csv").open() as file:
        ids = [row["id"] for row in csv.DictReader(file) if row["split"] == "val"]

    def of(name: str) -> tuple[int, list[str]]:
        image_bgr = read_image_bgr(data / "images" / f"{name}.jpg")
        frames = (Frame("val", it, 0, it * 100_000_000, image_bgr, name) for it in range(11))
        _, alarms = _alarms(frames, CameraHealthMonitor(HealthSettings(), may_freeze=False))
        return 1, alarms[:1]

    return _no_alarm("every frame of BDD100K val, night included", map(of, ids))


SCENARIOS: Final[dict[str, Callable[[], Line]]] = {
    **{name: _faults(name) for name in FAULTS},
    "unlit_road": night.unlit_road,
    "unlit_covers": night.covers_in_a_drive,
    "unlit_covers_at_start": night.covers_at_start,
    "rendered_hours": rendered_hours,
    "other_scenes": other_scenes,
    "clips": clips,
    "validation_split": validation_split,
    "ignored_bars": ignored.black_bars,
    "ignored_own_bonnet": ignored.own_bonnet,
    "ignored_pasted_bonnet": ignored.pasted_bonnet,
    "ignored_hour": ignored.hour,
}
