"""What is ignored: bars and bonnets, and nothing else in an hour of driving, standing, night and mud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import av
import cv2
import night
import numpy as np
from lines import Line
from numpy.typing import NDArray

import perception
from perception.camera_health.image_stats import image_stats_of
from perception.camera_health.monitor import HealthSettings
from perception.frame import CameraState, Frame, Prediction
from perception.labels import BACKGROUND, DIRECT
from perception.refine.camera_health import CameraHealth
from perception.refine.ignore import Ignore, IgnoreSettings
from perception.scene.bars import Bars
from perception.sources.source import SourceInfo
from perception.synthetic import DriveRenderer

SHARED: Final = Path(__file__).parents[4] / "shared"
BARRED: Final = SHARED / "faults" / "black_bars_640x360.mp4"
SUNNY: Final = SHARED / "videos" / "highway_sunny_960x540.mp4"
MODEL: Final = "rt_m-int8"
LEARNT_S: Final = 45.0
"""A bonnet is ignored from then on."""
EDGE_PX: Final = 6
"""So far from what is to be ignored nothing may be, at 640x360."""
WH: Final = (640, 360)
QUICK_HZ, SLOW_HZ = 10, 2
"""Pictures a second of what the camera's health has to notice, and of the rest."""
MUD_S: Final = 1.0

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def bonnet_of(wh: tuple[int, int], floor_px: int = 0) -> Mask:
    """(H, W) bool: an arch through the whole width, above a bar of so many pixels."""
    width, height = wh
    mask = np.zeros((height, width), np.uint8)
    middle = width // 2, height - floor_px
    cv2.ellipse(mask, middle, (round(0.64 * width), round(0.14 * height)), 0, 0, 360, (1,), -1)
    mask[height - floor_px :] = 0
    return mask > 0


def painted(image_bgr: Image, mask: Mask, light: float) -> Image:
    """With a bonnet that is darker towards the driver."""
    rows = np.linspace(1.3, 0.6, image_bgr.shape[0])[:, None, None]
    colour = np.array([190, 178, 172]) * light * rows
    return np.where(mask[..., None], colour, image_bgr).clip(0, 255).astype(np.uint8)


def _near(mask: Mask, wh: tuple[int, int]) -> Mask:
    size_px = 2 * round(EDGE_PX * wh[0] / WH[0]) + 1
    return np.asarray(cv2.dilate(mask.view(np.uint8), np.ones((size_px, size_px), np.uint8)) > 0)


def _on(results: Iterator[perception.Result], mask: Mask, from_s: float) -> tuple[int, int, int]:
    """Of results from a time on: how many, drivable pixels on a mask, and ignored pixels far from it."""
    count = drivable = beyond = 0
    far = ~_near(mask, mask.shape[::-1])
    for result in results:
        if result.time_s < from_s or result.class_map is None:
            continue
        count += 1
        drivable += int(np.count_nonzero(result.class_map[mask] != BACKGROUND))
        ignored = getattr(result.output, "ignore_mask", None)
        beyond += 0 if ignored is None else int(np.count_nonzero(ignored.pixels[far]))
    return count, drivable, beyond


def _line(what: str, source: str, mask: Mask, from_s: float, **settings: Any) -> Line:
    seen = {}
    for ignore in ("none", "auto"):
        with perception.open(source, MODEL, ignore=ignore, **settings) as run:
            seen[ignore] = _on(run, mask, from_s)
    (_, before, _), (count, after, beyond) = seen["none"], seen["auto"]
    per = mask.sum() * max(1, count)
    return Line.of_checks(
        f"{what}, --ignore auto",
        f"no drivable pixel on it{f' after {from_s:g} s' if from_s else ''}; nothing else ignored",
        f"{after} in {count} frames ({before / per:.2%} of it with --ignore none); {beyond} others ignored",
        {"frames": count > 0, "on it": after == 0, "others": beyond == 0},
    )


def black_bars() -> Line:
    """A clip with bars at both sides, from its first frame."""
    with av.open(str(BARRED)) as container:
        brightest = np.maximum.reduce([it.to_ndarray(format="gray") for it in container.decode(video=0)])
    mask = np.zeros(brightest.shape, np.bool_)
    mask[:, np.median(brightest, axis=0) < 24] = True
    return _line("black bars at both sides", str(BARRED), mask, 0.0)


def own_bonnet() -> Line:
    """The renderer's."""
    settings = {"wh": WH, "rate_hz": float(QUICK_HZ), "seed": 1}
    mask = DriveRenderer("day", WH, QUICK_HZ, 1).bonnet(0)
    return _line("a rendered bonnet", "synthetic:day", mask, LEARNT_S, synthetic=settings, duration_s=60.0)


def pasted_bonnet() -> Line:
    """One over a real drive of a few seconds, which is played for a minute."""
    with TemporaryDirectory() as folder, av.open(str(SUNNY)) as source:
        file = Path(folder) / "bonnet.mp4"
        stream = source.streams.video[0]
        wh = stream.codec_context.width, stream.codec_context.height
        mask = bonnet_of(wh)
        with av.open(str(file), "w") as copy:
            out = copy.add_stream("libx264", rate=stream.average_rate)
            out.width, out.height, out.pix_fmt = *wh, "yuv420p"
            out.options = {"crf": "20", "preset": "veryfast"}
            for frame in source.decode(stream):
                image_bgr = painted(frame.to_ndarray(format="bgr24"), mask, 1.0)
                copy.mux(out.encode(av.VideoFrame.from_ndarray(image_bgr, format="bgr24")))
            copy.mux(out.encode())
        return _line("a bonnet over a real drive", str(file), mask, LEARNT_S, loop=True, duration_s=60.0)


@dataclass(frozen=True)
class Part:
    """A part of the hour."""

    scene: str
    minutes: float
    rate_hz: float
    mud: bool = False
    stands: bool = False


HOUR: Final = (
    Part("day", 5, SLOW_HZ),
    Part("day", 0.5, QUICK_HZ),  # before the mud comes
    Part("day", 0.5, QUICK_HZ, mud=True),
    Part("day", 4, SLOW_HZ, mud=True),
    Part("day", 10, SLOW_HZ, stands=True),
    Part("night", 8, SLOW_HZ),
    Part("unlit", 5, SLOW_HZ),
    Part("rain", 6, SLOW_HZ),
    Part("city", 7, SLOW_HZ),
    Part("highway", 7, SLOW_HZ),
    Part("shadows", 7, SLOW_HZ),
)
LIGHT: Final = {"night": 0.25, "unlit": 0.02, "rain": 0.7}
MUD: Final = night.Cover("mud", "left", "brown", 0.012)
HOUR_BARS: Final = Bars(top_px=24, bottom_px=24)


def _seed(scene: str) -> int:
    """The first one whose drive shows no bonnet."""
    return next(it for it in range(99) if not DriveRenderer(scene, (64, 36), 2.0, it).bonnet(0).any())


def _hour(bonnet: Mask) -> Iterator[tuple[Frame, Part]]:
    random = np.random.default_rng(0)
    covered, luma = MUD.drawn(WH[::-1])
    mud_bgr = np.multiply.outer(luma, np.array([0.7, 0.95, 1.15]))
    bars = HOUR_BARS.drawn(WH) > 0
    time_s, number, standing = 0.0, 0, np.empty(0, np.uint8)
    for part in HOUR:
        seed = _seed(part.scene)
        renderer = DriveRenderer(part.scene, WH, part.rate_hz, seed)
        for _ in range(round(part.minutes * 60 * part.rate_hz)):
            if part.stands and standing.size:
                image_bgr = np.asarray(standing, np.uint8)
            else:
                image_bgr = renderer.render(round(time_s * part.rate_hz))[0]
                standing = image_bgr if part.stands else np.empty(0, np.uint8)
            image_bgr = painted(image_bgr, bonnet, LIGHT.get(part.scene, 1.0))
            if part.mud:
                image_bgr = image_bgr * (1 - covered[..., None]) + mud_bgr * covered[..., None]
            seen = (image_bgr + random.normal(0, 2, image_bgr.shape)).clip(0, 255).astype(np.uint8)
            seen[bars] = 0
            yield Frame("hour", number, 0, round(time_s * 1e9), seen, f"{number:06d}"), part
            time_s, number = time_s + 1 / part.rate_hz, number + 1


def hour() -> Line:
    """An hour through the steps that the node has."""
    info = SourceInfo("hour", False, WH, QUICK_HZ)
    steps: list[Callable[[Prediction], Prediction]] = [
        CameraHealth(HealthSettings(), info),
        Ignore(IgnoreSettings("auto"), info),
    ]
    bonnet, bars = bonnet_of(WH, HOUR_BARS.bottom_px), HOUR_BARS.drawn(WH) > 0
    far = ~_near(bonnet | bars, WH)
    map_wh = WH[0] // 2, WH[1] // 2
    frames = beyond = on_bars = on_bonnet = 0
    mud_from_s, reported, mud_frames = None, 0, 0
    for frame, part in _hour(bonnet):
        frames, time_s = frames + 1, frame.time_ns / 1e9
        whole = np.full(map_wh[::-1], DIRECT, np.uint8)
        prediction = Prediction(frame, whole, (1.0, 0.0, 0.0), "all", image_stats=image_stats_of(frame))
        for step in steps:
            prediction = step(prediction)
        shown = prediction.class_map_at(WH)
        beyond += int(np.count_nonzero(shown[far] == BACKGROUND))
        on_bars += int(np.count_nonzero(shown[bars] != BACKGROUND))
        inner = bonnet if time_s >= LEARNT_S else np.zeros_like(bonnet)
        on_bonnet += int(np.count_nonzero(shown[inner] != BACKGROUND))
        if part.mud:
            mud_from_s = time_s if mud_from_s is None else mud_from_s
            is_due = time_s - mud_from_s >= MUD_S and part.rate_hz == QUICK_HZ
            mud_frames += is_due
            reported += is_due and prediction.camera_state is not CameraState.OK
    share = on_bonnet / max(1, frames * bonnet.sum())
    return Line.of_checks(
        "an hour of rendered driving with bars and a bonnet: 5 minutes of mud, 10 standing, 13 of night",
        f"health reports the mud <= {MUD_S:g} s; nothing but bars (from the first frame) and bonnet (after "
        f"{LEARNT_S:g} s) is ignored",
        f"{frames} frames; mud reported in {reported} of {mud_frames}; {beyond} other pixels ignored, "
        f"{on_bars} of the bars not, {share:.2%} of the bonnet not",
        {
            "mud": reported == mud_frames > 0,
            "others": beyond == 0,
            "bars": on_bars == 0,
            "bonnet": share <= 0.01,
        },
    )
