"""The overlay as an H.264 video that stays readable when the process is killed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from perception.cli.command import say
from perception.frame import OutputItem, Prediction
from perception.imaging.letterbox import Letterbox, PixelAspect
from perception.imaging.yuv import Yuv420, YuvMatrix
from perception.sinks.file_sink import FileSink
from perception.sinks.rotation import OpenMode, RecordingPolicy, Segments
from perception.sinks.sink import SinkError
from perception.sinks.syncing import Syncer
from perception.sinks.video_segment import CONTAINERS, LONGEST_STEP_S, Picture, VideoSegment
from perception.sources.source import SourceInfo

PRESETS: Final = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)
MAX_SIDE_PX: Final = 16_384
"""That x264 takes."""


VIDEO_QUALITY: Final = 75
_WORST_QP: Final = 51


class OverlayVideoSink(FileSink):
    """Draws the overlay and encodes it: the first frame's size and pixel aspect, the source's own timestamps.

    It holds one picture, the encoder's own and a fifth of a second of encoded video at a time.
    """

    name = "overlay"

    def __init__(
        self,
        file: str,
        preset: str = "ultrafast",
        quality: int = VIDEO_QUALITY,
        encoder_threads: int = 1,
        keeping: RecordingPolicy | None = None,
    ) -> None:
        """Check the settings.

        Args:
            file: where to write; its suffix names the container.
            preset: x264's; CPU time per 1280x720 frame is 3 ms with ultrafast, 7 with superfast.
            quality: 1 to 100, as of JPEG. Three steps of it are one of x264's quantiser, and 75 is 26.
                Constant: at the size and signal-to-noise ratio of `crf` 23 (9 Mbit/s and 39 dB at 1280x720),
                x264 need not look at every frame twice, which costs a sixth of the encoding.
            encoder_threads: one leaves the other cores to the network.
            keeping: when a segment ends, and how much room stays free.

        Raises:
            SinkError: for a suffix or a preset that is not known.
        """
        self._file = Path(file)
        self._suffix = self._file.suffix.lower()
        if self._suffix not in CONTAINERS:
            raise SinkError(f"{file}: unknown kind of video; end its name in {' or '.join(CONTAINERS)}")
        if preset not in PRESETS:
            raise SinkError(f"{file}: unknown x264 preset {preset}; known are {', '.join(PRESETS)}")
        qp = round(_WORST_QP - quality / 3)
        self._options = {"preset": preset, "qp": str(qp), "tune": "zerolatency", "forced-idr": "1"}
        self._threads = encoder_threads
        keeping = keeping or RecordingPolicy()
        self._segments: Segments = Segments(self._file, keeping)
        self._syncer = Syncer() if keeping.durable else None
        self._segment: VideoSegment | None = None
        self._shape: tuple[tuple[int, int], PixelAspect] | None = None
        self._matrix: YuvMatrix = "bt601"
        self._rate = Fraction(30)
        self._is_open = False

    def open(self, info: SourceInfo, resumes: bool = False) -> None:
        """Make the file, and its folder if need be; a file that is there is replaced.

        One that takes another's place, or goes on with an earlier run's, leaves its file alone and begins a
        numbered one.

        Raises:
            SinkError: if the file cannot be written, is written by another, or a recorded source finds the
                disk nearly full.
        """
        if info.rate_hz > 0:
            self._rate = max(Fraction(info.rate_hz).limit_denominator(1001), Fraction(1, LONGEST_STEP_S))
        with self._opening():
            if self._segments.set_up(info, resumes):
                self._segment = self._segments.begin(self._make)
        self._is_open = True

    def write(self, output: OutputItem) -> None:
        """Draw and encode one frame, in the next segment if this one is over; none while there is no room.

        Of a source that has not told its size yet there is nothing to draw.
        """
        if not self._is_open:
            raise SinkError(f"{self._file}: cannot write a video: the file is closed")
        if self._syncer:
            self._check_disk(self._syncer)
        if not self._segments.has_room():
            self._end_segment()
            return
        if self._segment and self._segment.presence != "there":
            self._begin_again()
        if self._segment and self._segments.is_over(self._segment.size_bytes, output.time_ns):
            self._end_segment()
        if output.frame_wh is None:
            return  # there is no size yet to draw the outage in
        if self._segment is None:
            self._segment = self._next_segment(output.time_ns)
        try:
            self._segment.write(output, self._picture_from)
        except av.FFmpegError as error:
            self.close()
            raise SinkError(f"{self._file}: cannot encode a video: {error.strerror}") from error
        if self._segment.error is not None:
            self.close()

    def close(self) -> None:
        """Finish the file; one that cannot be finished is cut off behind its last whole fragment.

        Raises:
            SinkError: if the disk took no more.
        """
        self._is_open = False
        try:
            self._end_segment()
        finally:
            try:
                if self._syncer:
                    self._syncer.close()
            except OSError as error:
                raise SinkError(f"{self._file}: cannot write a video: {error.strerror}") from error
            finally:
                self._segments.release()

    def _unusable(self, error: OSError) -> SinkError:
        return SinkError(f"{self._file}: cannot write a video: {error.strerror}; choose another file")

    def _make(self, file: Path, opening: OpenMode) -> VideoSegment:
        segment = VideoSegment(file, self._options, self._threads, opening, self._segments.claim)
        if self._syncer:
            self._syncer.watch(segment.descriptor, file)
        return segment

    def _begin_again(self) -> None:
        """The file was moved or removed: go on in another one."""
        self._end_segment()
        try:
            self._segments.take_again()
        except OSError as error:
            self.close()
            raise SinkError(f"{self._file}: cannot write a video: {error.strerror}") from error

    def _check_disk(self, syncer: Syncer) -> None:
        try:
            syncer.check()
        except OSError as error:
            self.close()
            raise SinkError(f"{self._file}: cannot write a video: {error.strerror}") from error

    def _next_segment(self, time_ns: int) -> VideoSegment:
        try:
            return self._segments.begin(self._make, time_ns)
        except OSError as error:
            self.close()
            raise SinkError(f"{self._file}: cannot write a video: {error.strerror}") from error

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        presence = segment.presence
        self._segments.note_end(presence, segment.frames)
        if presence == "removed":
            segment.give_up()
        descriptor = segment.descriptor
        try:
            segment.close()
        except av.FFmpegError as error:
            raise SinkError(f"{self._file}: cannot finish the video: {error.strerror}") from error
        finally:
            if self._syncer:
                self._syncer.finish(descriptor)
        if segment.error is not None:
            raise SinkError(
                f"{self._file}: cannot write a video: {segment.error.strerror}"
            ) from segment.error

    def _picture_from(self, first: OutputItem) -> Picture:
        """Of a segment: the first frame's shape of all, and the matrix of the last planes that were seen."""
        pixels = first.frame.pixels if isinstance(first, Prediction) else None
        if isinstance(pixels, Yuv420):
            self._matrix = pixels.matrix
        if self._shape is None:
            assert first.frame_wh is not None  # nothing is written before it is known
            self._shape = encodable_wh(first.frame_wh), first.pixel_aspect
            if self._shape[0] != first.frame_wh:
                sizes = "{}x{}, not {}x{}".format(*self._shape[0], *first.frame_wh)
                say(f"{self._file}: pictures of {sizes}: no side may be longer than {MAX_SIDE_PX} in H.264")
        wh, pixel_aspect = self._shape
        return Picture(wh, self._rate, self._matrix, pixel_aspect)


def encodable_wh(frame_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a video of such frames: their own, or less where the encoder takes no such size.

    Example:
        >>> encodable_wh((1280, 720)), encodable_wh((17000, 200))
        ((1280, 720), (16384, 193))
    """
    if max(frame_wh) <= MAX_SIDE_PX:
        return frame_wh
    return Letterbox.fit(frame_wh, (MAX_SIDE_PX, MAX_SIDE_PX)).content_wh
