"""How many frames a source gives in a second, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from av.video.stream import VideoStream

RateKind = Literal["declared", "measured", "assumed"]
"""By the container, the codec or the driver; by the frames that were looked at; by nobody."""
RATE_KINDS: Final = get_args(RateKind)

FALLBACK_RATE_HZ: Final = 25.0
MAX_RATE_HZ: Final = 480.0  # beyond it, a container tells its clock and not its frames
# Bare streams of a codec, whose frames carry no times: libav makes both up, at 25 Hz.
CLOCKLESS: Final = frozenset(
    (
        *("h264", "hevc", "vvc", "evc", "mjpeg", "mjpeg_2000", "mpjpeg", "m4v", "h263", "h261", "mpegvideo"),
        *("vc1", "cavsvideo", "avs2", "avs3", "dirac", "obu"),
    )
)
UNTOLD: Final = frozenset(("mpegts", "mpeg", "rtsp", "rtp", "sdp", "asf", "hls"))
"""In these the container tells no rate; what libav has is the codec's word, or what it saw in looking."""


@dataclass(frozen=True)
class Rate:
    """Nominal frames per second."""

    hz: float
    kind: RateKind = "declared"

    def __str__(self) -> str:
        """As people read it: a rate that nobody told is marked."""
        return f"{self.hz:g} Hz" if self.kind == "declared" else f"{self.hz:g} Hz {self.kind}"


def told_hz(stream: VideoStream) -> float | None:
    """Frames per second as the codec tells them; None where it does not."""
    return _usable(stream.codec_context.framerate)


def rate_of(stream: VideoStream, form: str, has_clock: bool) -> Rate:
    """The rate of a video stream.

    Args:
        stream: of an open container.
        form: libav's name of the container.
        has_clock: its frames carry times of their own.
    """
    told = told_hz(stream)
    if not has_clock:
        return Rate(told) if told else Rate(FALLBACK_RATE_HZ, "assumed")
    rates = [_usable(stream.average_rate), _usable(stream.guessed_rate)]
    if form == "avi":  # its own is that of its clock, at which every other frame may be empty
        rates.reverse()
    hz = rates[0] or rates[1]
    if hz is None:
        return Rate(FALLBACK_RATE_HZ, "assumed")
    return Rate(hz, "measured" if form in UNTOLD and told is None else "declared")


def _usable(rate: object) -> float | None:
    """A rate that frames can have; not that of a clock, and not 0/0."""
    try:
        hz = float(rate or 0)  # type: ignore[arg-type]
    except (ZeroDivisionError, OverflowError):
        return None
    return hz if 0 < hz <= MAX_RATE_HZ else None
