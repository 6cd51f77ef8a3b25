"""Pictures of video in messages: one in each, in the order of decoding."""

from __future__ import annotations

from typing import Any, Final

from av import CodecContext, Packet
from av.codec.context import Flags
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from perception.imaging.planes import PixelFormatError, planes_of
from perception.ros.pictures import BrokenPictureError, Picture
from perception.sources.decoding.damage import DamageTrace
from perception.sources.decoding.h264_numbers import HEAD_BYTES, PictureNumbers
from perception.sources.source import SourceError

CODECS: Final = {"h264": "h264", "h265": "hevc", "hevc": "hevc"}
"""By the format that messages state."""


class VideoMessages:
    """Decodes the pictures of one topic.

    A picture is damaged if parts of it were concealed, or if it is predicted from one that is damaged or
    missing. Up to the next key frame behind a message that is not there, as the numbers of H.264 show; of
    H.265 libav gives no such picture.

    Args:
        name: of the topic, for messages.
        max_pixels: larger pictures are refused.
    """

    def __init__(self, name: str, max_pixels: int) -> None:
        self._name, self._max_pixels = name, max_pixels
        self._codec: VideoCodecContext | None = None
        self._numbers = PictureNumbers(None)
        self._damage = DamageTrace()

    def picture(self, message: Any) -> Picture:
        """The picture in a message by its fields.

        Raises:
            BrokenPictureError: if it gives none, as before the first key frame; the next may.
            SourceError: for a format that is not read.
        """
        if self._codec is None:
            self._codec = self._opened(message.format)
        data = bytes(message.data)
        if not data:
            raise BrokenPictureError("no bytes")
        if self._codec.name == "h264" and self._numbers.misses_before(data[:HEAD_BYTES]):
            self._damage.lose_packet()
        try:
            frames = self._codec.decode(Packet(data))
        except FFmpegError as error:
            raise BrokenPictureError(f"no picture could be decoded: {error.strerror}") from None
        if not frames:
            raise BrokenPictureError("no picture before the next key frame")
        frame = frames[-1]
        try:
            return Picture(planes_of(frame), self._damage.is_damaged(frame.is_corrupt, frame.key_frame, None))
        except PixelFormatError as error:
            raise SourceError(f"{self._name}: {error}; convert it to yuv420p") from None

    def lose(self) -> None:
        """The message before the next one is lost, or gave no picture."""
        self._damage.lose_packet()

    def _opened(self, form: str) -> VideoCodecContext:
        if form.lower() not in CODECS:
            raise SourceError(f"{self._name}: video of format {form!r} is not supported; h264 and h265 are")
        codec = CodecContext.create(CODECS[form.lower()], "r")
        assert isinstance(codec, VideoCodecContext)
        codec.options = {"max_pixels": str(self._max_pixels)}
        codec.thread_type, codec.thread_count = "SLICE", 1  # several threads would hold pictures back
        codec.flags |= Flags.low_delay
        return codec
