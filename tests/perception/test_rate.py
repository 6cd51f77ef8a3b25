"""Rates that are declared, measured or assumed are distinguished."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from perception.sources.rate import Rate
from perception.sources.source import EndOfSource, SourceInfo
from perception.sources.video import VideoSource

VARYING_S = [0.0, *np.cumsum(np.random.default_rng(2).uniform(1 / 60, 1 / 5, 39)).tolist()]


def recorded(
    file: Path,
    codec: str,
    rate_hz: int = 10,
    stamps_s: Sequence[float] = (),
    base_hz: int = 0,
    form: str = "",
) -> Path:
    """40 small pictures, at a rate or at these times."""
    with av.open(str(file), "w", format=form or None) as container:
        stream = container.add_stream(codec, rate=rate_hz)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        base = Fraction(1, base_hz or rate_hz)
        stream.codec_context.time_base = base
        for number in range(40):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * number, np.uint8), format="bgr24")
            picture.time_base = base
            picture.pts = round(stamps_s[number] / base) if stamps_s else number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return file


def played(file: Path) -> tuple[SourceInfo, list[float]]:
    """The info of a recording, and the times of its frames in seconds."""
    source, times_s = VideoSource(file), []
    info = source.open()
    with contextlib.suppress(EndOfSource):
        while True:
            times_s.append(source.read().time_ns / 1e9)
    source.close()
    return info, times_s


@pytest.mark.parametrize(("suffix", "codec"), [("h264", "libx264"), ("mp4", "mpeg4"), ("ts", "mpeg2video")])
def test_rate_stated_by_container_or_codec_is_kept(tmp_path: Path, suffix: str, codec: str) -> None:
    """Of bare H.264 libav would have 25 Hz."""
    rate_hz = 50 if codec == "mpeg2video" else 10

    info, times_s = played(recorded(tmp_path / f"road.{suffix}", codec, rate_hz))

    assert str(info.rate) == f"{rate_hz} Hz"
    assert times_s == pytest.approx([number / rate_hz for number in range(40)], abs=1e-3)


def test_unknown_rate_is_assumed_and_said_to_be(tmp_path: Path) -> None:
    info, times_s = played(recorded(tmp_path / "road.mjpeg", "mjpeg", form="mjpeg"))

    assert str(info.rate) == "25 Hz assumed"
    assert "Hz" not in info.description
    assert times_s == pytest.approx([number / 25 for number in range(40)])


@pytest.mark.parametrize(
    ("suffix", "codec", "base_hz"), [("wmv", "wmv2", 1000), ("ts", "libx264", 90_000), ("avi", "mpeg4", 1000)]
)
def test_a_clock_is_no_rate_and_varying_times_are_kept(
    tmp_path: Path, suffix: str, codec: str, base_hz: int
) -> None:
    rate_hz = base_hz if suffix == "avi" else 25
    file = recorded(tmp_path / f"phone.{suffix}", codec, rate_hz, VARYING_S, base_hz)

    info, times_s = played(file)

    assert str(info.rate) == "25 Hz assumed"
    assert times_s == pytest.approx(VARYING_S, abs=2e-3)


def test_frames_numbered_on_the_clock_s_scale_are_counted(tmp_path: Path) -> None:
    """As if at 90,000 Hz."""
    numbers = [number / 90_000 for number in range(40)]

    info, times_s = played(recorded(tmp_path / "units.mp4", "libx264", 25, numbers, 90_000))

    assert str(info.rate) == "25 Hz assumed"
    assert times_s == pytest.approx([number / 25 for number in range(40)])


def test_avi_with_empty_frames_between_has_the_rate_of_the_others(tmp_path: Path) -> None:
    """As `ffmpeg -c copy` makes it of H.264, whose clock counts fields."""
    info, times_s = played(
        recorded(tmp_path / "clock.avi", "libx264", 25, [number / 25 for number in range(40)], 50)
    )

    assert str(info.rate) == "25 Hz"
    assert len(times_s) == 40
    assert "about 40 frames" in info.description


def test_a_picture_a_minute_is_a_rate(tmp_path: Path) -> None:
    info, times_s = played(
        recorded(tmp_path / "lapse.mp4", "mpeg4", 25, [60 * number for number in range(40)], 1000)
    )

    assert info.rate_hz == pytest.approx(1 / 60, rel=0.05)
    assert times_s == [60 * number for number in range(40)]


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (Rate(29.97), "29.97 Hz"),
        (Rate(12.5, "measured"), "12.5 Hz measured"),
        (Rate(25, "assumed"), "25 Hz assumed"),
    ],
)
def test_rates_are_reported_by_who_says_them(rate: Rate, text: str) -> None:
    assert str(rate) == text
