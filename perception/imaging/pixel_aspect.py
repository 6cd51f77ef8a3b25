"""The sample aspect ratio of a stream, from its container or codec, with FFmpeg's precedence."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from av.container import InputContainer
from av.video.stream import VideoStream

from perception.imaging.letterbox import SQUARE, PixelAspect

FARTHEST: Final = 4
"""Largest ratio between the sides; 352x576 at 16:9 has the widest pixels of all cameras (2.9 to 1)."""
_LEAST: Final = Fraction(1, 1000)
"""A smaller difference from 1 is a rounding error: less than a pixel over the width of a picture."""
_LARGEST_DENOMINATOR: Final = 4096  # the encoder takes 16 bits a side
_STATES_ALWAYS: Final = ("mov", "matroska")


class PixelAspects:
    """The pixel aspects of one video stream; the container's takes precedence over the codec's."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        """Read what is stated before a frame is decoded."""
        self._codec = stream.codec_context
        of_stream, of_codec = stream.sample_aspect_ratio, self._codec.sample_aspect_ratio
        # libav gives the container's, or else the codec's
        is_containers = of_stream != of_codec or container.format.name.split(",")[0] in _STATES_ALWAYS
        self._of_container = _plausible(of_stream) if is_containers else None
        self._last: Fraction | None = of_codec
        self._of_codec = _plausible(of_codec)
        self._ignored = next(
            (ratio for ratio in (of_stream, of_codec) if ratio and not _plausible(ratio)), None
        )

    def now(self) -> PixelAspect:
        """Of the last decoded frame, as stored."""
        if self._of_container is not None:
            return self._of_container
        of_codec = self._codec.sample_aspect_ratio
        if of_codec != self._last:
            self._last, self._of_codec = of_codec, _plausible(of_codec)
        return self._of_codec or SQUARE

    @property
    def note(self) -> str:
        """For the log, such as " in pixels of 64:45"; empty for square pixels."""
        width, height = self.now()
        if (width, height) != SQUARE:
            return f" in pixels of {width}:{height}"
        ratio = self._ignored
        return f" (implausible pixels of {ratio.numerator}:{ratio.denominator} ignored)" if ratio else ""


def _plausible(ratio: Fraction | None) -> PixelAspect | None:
    """Width and height of a pixel; None if unknown, or if no camera has such pixels."""
    if ratio is None or ratio <= 0 or not Fraction(1, FARTHEST) <= ratio <= FARTHEST:
        return None
    if abs(ratio - 1) < _LEAST:
        return SQUARE
    rounded = ratio.limit_denominator(_LARGEST_DENOMINATOR)
    return rounded.numerator, rounded.denominator
