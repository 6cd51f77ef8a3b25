"""Frame rates and how they are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from av.video.stream import VideoStream

RateKind = Literal["declared", "measured", "assumed"]
"""Stated by container, codec or driver; measured over the first frames; unknown."""

FALLBACK_RATE_HZ: Final = 25.0
MAX_RATE_HZ: Final = 480.0  # higher values are the container's clock, not a frame rate
# Elementary streams, whose frames have no timestamps: libav assumes 25 Hz.
CLOCKLESS: Final = frozenset(
    (
        *("h264", "hevc", "vvc", "evc", "mjpeg", "mjpeg_2000", "mpjpeg", "m4v", "h263", "h261", "mpegvideo"),
        *("vc1", "cavsvideo", "avs2", "avs3", "dirac", "obu"),
    )
)
WITHOUT_RATE: Final = frozenset(("mpegts", "mpeg", "rtsp", "rtp", "sdp", "asf", "hls"))
"""Containers without a rate; libav takes it from the codec or measures it."""


@dataclass(frozen=True)
class Rate:
    """Nominal frames per second."""

    hz: float
    kind: RateKind = "declared"

    def __str__(self) -> str:
        """Marked unless it is declared."""
        return f"{self.hz:g} Hz" if self.kind == "declared" else f"{self.hz:g} Hz {self.kind}"


def codec_hz(stream: VideoStream) -> float | None:
    """Frame rate stated by the codec; None if unknown."""
    return _usable(stream.codec_context.framerate)


def rate_of(stream: VideoStream, form: str, has_clock: bool) -> Rate:
    """The rate of a video stream.

    Args:
        stream: of an open container.
        form: libav's name of the container.
        has_clock: its frames have timestamps.
    """
    by_codec = codec_hz(stream)
    if not has_clock:
        return Rate(by_codec) if by_codec else Rate(FALLBACK_RATE_HZ, "assumed")
    rates = [_usable(stream.average_rate), _usable(stream.guessed_rate)]
    if form == "avi":  # its rate is that of its clock; every other frame may be empty
        rates.reverse()
    hz = rates[0] or rates[1]
    if hz is None:
        return Rate(FALLBACK_RATE_HZ, "assumed")
    return Rate(hz, "measured" if form in WITHOUT_RATE and by_codec is None else "declared")


def _usable(rate: object) -> float | None:
    """A plausible frame rate; None for a clock rate or 0/0."""
    try:
        hz = float(rate or 0)  # type: ignore[arg-type]
    except (ZeroDivisionError, OverflowError):
        return None
    return hz if 0 < hz <= MAX_RATE_HZ else None
