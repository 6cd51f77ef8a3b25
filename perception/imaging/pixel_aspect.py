"""The shape of a stream's pixels (sample aspect ratio): what container or codec tell, as FFmpeg has it."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from av.container import InputContainer
from av.video.stream import VideoStream

from perception.imaging.letterbox import SQUARE, PixelAspect

FARTHEST: Final = 4
"""From square: of cameras, 352x576 at 16:9 has the widest pixels (2.9 to 1)."""
_LEAST: Final = Fraction(1, 1000)
"""Beside 1: below that it is a rounding of somebody's, and not a pixel over a whole picture's width."""
_LARGEST_DENOMINATOR: Final = 4096  # the encoder takes 16 bits a side
_TELLS_ALWAYS: Final = ("mov", "matroska")


class PixelAspects:
    """Of one video stream. What its container says stands above what its codec says, frame by frame."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        """Look at what is told before a frame is decoded."""
        self._codec = stream.codec_context
        told, of_codec = stream.sample_aspect_ratio, self._codec.sample_aspect_ratio
        # libav gives the container's, and the codec's where that says nothing
        is_containers = told != of_codec or container.format.name.split(",")[0] in _TELLS_ALWAYS
        self._of_container = _believed(told) if is_containers else None
        self._last: Fraction | None = of_codec
        self._of_codec = _believed(of_codec)
        self._unbelieved = next((ratio for ratio in (told, of_codec) if ratio and not _believed(ratio)), None)

    def now(self) -> PixelAspect:
        """Of the frame that was decoded last, as it is stored."""
        if self._of_container is not None:
            return self._of_container
        told = self._codec.sample_aspect_ratio
        if told != self._last:
            self._last, self._of_codec = told, _believed(told)
        return self._of_codec or SQUARE

    @property
    def told(self) -> str:
        """For the log, " in pixels of 64:45"; nothing where they are square."""
        width, height = self.now()
        if (width, height) != SQUARE:
            return f" in pixels of {width}:{height}"
        ratio = self._unbelieved
        return f" (pixels of {ratio.numerator}:{ratio.denominator} are not believed)" if ratio else ""


def _believed(ratio: Fraction | None) -> PixelAspect | None:
    """Width and height of a pixel; None where nothing is told, or what no camera has."""
    if ratio is None or ratio <= 0 or not Fraction(1, FARTHEST) <= ratio <= FARTHEST:
        return None
    if abs(ratio - 1) < _LEAST:
        return SQUARE
    rounded = ratio.limit_denominator(_LARGEST_DENOMINATOR)
    return rounded.numerator, rounded.denominator
