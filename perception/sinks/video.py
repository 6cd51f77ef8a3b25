"""The overlay as an H.264 video that stays playable when the process is killed."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from perception.frame import OutputItem, Prediction
from perception.imaging.letterbox import Letterbox
from perception.imaging.yuv import Yuv420
from perception.sinks.claim import Claim
from perception.sinks.file_sink import FileSink
from perception.sinks.open_file import OpenMode
from perception.sinks.rotation import RecordingPolicy, Segments
from perception.sinks.sink import SinkError
from perception.sinks.video_segment import CONTAINERS, LONGEST_STEP_S, Picture, VideoSegment
from perception.sources.source import SourceInfo

log = logging.getLogger(__name__)

MAX_SIDE_PX: Final = 16_384
"""Of x264."""
VIDEO_QUALITY: Final = 75
_WORST_QP: Final = 51
_PRESET: Final = "ultrafast"
"""3 ms of CPU time per frame at 1280x720; superfast takes 7."""


class OverlayVideoSink(FileSink[VideoSegment]):
    """Draws the overlay and encodes it, at the first frame's size and pixel aspect, with the source's times.

    After a restart, and if it appends to an earlier run, it leaves the file alone and begins a numbered one.
    Memory: one picture, the encoder's own, and a fifth of a second of encoded video.
    """

    name = "overlay"
    _noun = "a video"
    _segments: Segments

    def __init__(
        self, file: str, quality: int = VIDEO_QUALITY, policy: RecordingPolicy | None = None
    ) -> None:
        """Check the settings.

        Args:
            file: its suffix names the container.
            quality: 1 to 100, like JPEG's. Three steps of it are one of x264's quantiser, and 75 is 26. It is
                constant: at the size and signal-to-noise ratio of `crf` 23 (9 Mbit/s and 39 dB at 1280x720)
                that saves x264 a second look at every frame, a sixth of the encoding time.
            policy: rotation, and how much room stays free.

        Raises:
            SinkError: for an unknown suffix.
        """
        suffix = Path(file).suffix.lower()
        if suffix not in CONTAINERS:
            raise SinkError(
                f"{file}: unknown kind of video; its name has to end in {' or '.join(CONTAINERS)}"
            )
        super().__init__(file, Path(file), policy)
        qp = round(_WORST_QP - quality / 3)
        self._options = {"preset": _PRESET, "qp": str(qp), "tune": "zerolatency", "forced-idr": "1"}
        self._picture: Picture | None = None
        self._rate = Fraction(30)

    def _open(self, info: SourceInfo, resumes: bool) -> None:
        if info.rate_hz > 0:
            self._rate = max(Fraction(info.rate_hz).limit_denominator(1001), Fraction(1, LONGEST_STEP_S))
        super()._open(info, resumes)

    def _make(self, path: Path, opening: OpenMode, claim: Claim) -> VideoSegment:
        return VideoSegment(path, self._options, opening, claim)

    def _write(self, output: OutputItem) -> None:
        if output.frame_wh is None:
            return  # the size is unknown before the first frame
        segment = self._segment_at(output.time_ns)
        if segment is None:
            return
        try:
            segment.add(output, self._picture_of(output))
        except av.FFmpegError as error:
            self.close()
            raise SinkError(f"{self._where}: cannot encode a video: {error.strerror}") from error
        if segment.error is not None:
            self.close()

    def _end_segment(self) -> None:
        try:
            super()._end_segment()
        except av.FFmpegError as error:
            raise SinkError(f"{self._where}: cannot finish the video: {error.strerror}") from error

    def _picture_of(self, output: OutputItem) -> Picture:
        """The format of a segment: shape of the run's first frame, matrix of the latest planes."""
        if self._picture is None:
            assert output.frame_wh is not None  # checked in _write
            wh = encodable_wh(output.frame_wh)
            if wh != output.frame_wh:
                sizes = "{}x{}, not {}x{}".format(*wh, *output.frame_wh)
                log.info(f"{self._where}: pictures of {sizes}: H.264 has no sides longer than {MAX_SIDE_PX}")
            self._picture = Picture(wh, self._rate, "bt601", output.pixel_aspect)
        pixels = output.frame.pixels if isinstance(output, Prediction) else None
        if isinstance(pixels, Yuv420):
            self._picture = replace(self._picture, matrix=pixels.matrix)
        return self._picture


def encodable_wh(frame_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a video of such frames: their own, or less if that is too large for the encoder.

    Example:
        >>> encodable_wh((1280, 720)), encodable_wh((17000, 200))
        ((1280, 720), (16384, 193))
    """
    if max(frame_wh) <= MAX_SIDE_PX:
        return frame_wh
    return Letterbox.fit(frame_wh, (MAX_SIDE_PX, MAX_SIDE_PX)).content_wh
