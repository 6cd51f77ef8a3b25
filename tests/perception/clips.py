"""What tests of whole and of cut recordings share: how they are written, and how they are played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

from perception.frame import Frame
from perception.sources.source import EndOfSource, Source, SourceError
from perception.sources.video import VideoSource

FRAMES, RATE_HZ, WH = 100, 25, (160, 120)
MS = Fraction(1, 1000)
QUICK = {
    "libx264": {"g": "25", "preset": "ultrafast", "threads": "1"},
    "libvpx": {
        "deadline": "realtime",
        "cpu-used": "8",
        "threads": "1",
    },  # more of them spin
}


@dataclass(frozen=True)
class Kind:
    """How a recording is written."""

    codec: str
    container: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    sound: str = "aac"
    codec_options: dict[str, str] = field(default_factory=dict)


def constant_rate(number: int) -> int:
    """When a picture is due, in ms."""
    return number * 1000 // RATE_HZ


@cache
def pictures() -> list[np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 255, (WH[1], WH[0], 3), np.uint8)
    texture = np.asarray(cv2.GaussianBlur(noise, (9, 9), 0), np.uint8)
    return [np.roll(texture, 3 * number, 1) for number in range(FRAMES)]


@cache
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (1, 960))


def write(
    file: Path,
    kind: Kind,
    sound_s: float = 0.0,
    start_s: float = 0.0,
    frames: int = FRAMES,
    time_ms: Callable[[int], int] = constant_rate,
    wh: tuple[int, int] = WH,
) -> Path:
    """A recording of so many frames, with sound of so many seconds, whose clock begins at `start_s`."""
    with av.open(str(file), "w", format=kind.container, options=kind.options) as container:
        stream = container.add_stream(kind.codec, rate=RATE_HZ)
        stream.width, stream.height = wh
        stream.pix_fmt = "yuvj420p" if kind.codec == "mjpeg" else "yuv420p"
        has_rate = time_ms is constant_rate
        stream.codec_context.time_base = time_base = Fraction(1, RATE_HZ) if has_rate else MS
        stream.options = QUICK.get(kind.codec, {}) | kind.codec_options
        sound = container.add_stream(kind.sound, rate=48000) if sound_s else None
        sounded = 0
        for number in range(frames):
            picture = np.ascontiguousarray(pictures()[number][: wh[1], : wh[0]])
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts = round(start_s / time_base) + (number if has_rate else time_ms(number))
            frame.time_base = time_base
            container.mux(stream.encode(frame))
            is_last = number == frames - 1
            until = round(48000 * (sound_s if is_last else min(sound_s, time_ms(number + 1) / 1000)))
            while sound is not None and sounded < until:
                count = min(960, until - sounded)
                form = sound.codec_context.format.name
                is_whole_numbers = form.startswith("s16")
                samples = noise()[:, :count] * (20_000 if is_whole_numbers else 1)
                dtype = np.int16 if is_whole_numbers else np.float32
                sounds = av.AudioFrame.from_ndarray(samples.astype(dtype), format=form, layout="mono")
                sounds.sample_rate, sounds.pts = 48000, sounded + round(start_s * 48000)
                sounds.time_base = Fraction(1, 48000)
                container.mux(sound.encode(sounds))
                sounded += count
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return file


def frames_of(source: Source, *, is_open: bool = False) -> Iterator[Frame]:
    """Frames of a source up to its end; it is opened before, unless it is open, and closed after them."""
    try:
        if not is_open:
            source.open()
        while True:
            yield source.read()
    except EndOfSource:
        pass
    finally:
        source.close()


def all_frames(source: Source) -> list[Frame]:
    """As a list."""
    return list(frames_of(source))


def read_to_end(source: Source) -> tuple[list[Frame], str]:
    """All frames, and what ended them; nothing at a normal end."""
    frames: list[Frame] = []
    try:
        for frame in frames_of(source):
            frames.append(frame)
    except SourceError as error:
        return frames, str(error)
    return frames, ""


def play(file: Path) -> tuple[int, str]:
    """How many frames came, and what ended them; nothing at a normal end."""
    return played(VideoSource(file))


def played(source: Source) -> tuple[int, str]:
    """The same of any source."""
    frames = 0
    try:
        for _ in frames_of(source):
            frames += 1
    except SourceError as error:
        return frames, str(error)
    return frames, ""
