"""One H.264 file of a recording: playable alone, from a key frame at time 0, even after a kill."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType
from av.video.plane import VideoPlane
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from perception.frame import OutputItem
from perception.imaging.letterbox import SQUARE, PixelAspect
from perception.imaging.yuv import Plane, YuvMatrix
from perception.sinks.claim import Claim
from perception.sinks.open_file import CheckpointedFile, OpenMode
from perception.sinks.overlay import Canvas, draw_overlay

# Fragments of a fifth of a second, so that the file is playable at any moment. A clean end turns them into a
# plain file with an index (hybrid), in which players can seek and count frames.
_MP4: Final = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+hybrid_fragmented",
    "frag_duration": "200000",  # microseconds
    "flush_packets": "1",
}
_MKV: Final = {"cluster_time_limit": "200", "flush_packets": "1"}
CONTAINERS: Final = {".mp4": _MP4, ".mkv": _MKV}
TICKS_HZ: Final = {".mp4": 90_000, ".mkv": 1000}
"""Matroska keeps milliseconds in any case."""

_KEY_EVERY_S: Final = 1
_KEY_EVERY_FRAMES: Final = 25  # at least: the average over a long pause is no rate
_STEP_BACK_S: Final = 1
LONGEST_STEP_S: Final = 60
"""Longest duration of a frame: players would stand still for hours, and mp4 stores 32 bits."""
_MATRICES: Final = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709}


@dataclass(frozen=True)
class Picture:
    """The picture format of a segment."""

    wh: tuple[int, int]
    """Width and height in pixels."""
    rate: Fraction
    """Nominal frames per second."""
    matrix: YuvMatrix
    pixel_aspect: PixelAspect = SQUARE
    """Width and height of a pixel, for players."""


class VideoSegment(CheckpointedFile):
    """Memory: the encoder's own, a fifth of a second of its output and, for mp4, the index."""

    def __init__(self, file: Path, options: dict[str, str], opening: OpenMode, claim: Claim) -> None:
        """Create the file; raises as `CheckpointedFile` does.

        Args:
            file: its suffix, one of `CONTAINERS`, names the container.
            options: x264's.
            claim: locks the file.
        """
        super().__init__(file, opening, claim)
        self._suffix, self._options = file.suffix.lower(), options
        self._ticks_hz = TICKS_HZ[self._suffix]
        self._encoding: tuple[OutputContainer, VideoStream, Picture] | None = None
        self._offset_ticks = 0
        self._last_ticks = -1
        self._key_ticks = 0

    def add(self, output: OutputItem, picture: Picture) -> None:
        """Draw and encode one frame.

        Args:
            picture: its format, which remains that of the first frame.

        Raises:
            av.FFmpegError: if it cannot be encoded; only `close` may follow.
        """
        try:
            self._encoding = self._encoding or self._started(output.time_ns, picture)
            container, stream, picture = self._encoding
            container.mux(self._encoded(stream, picture, output))
        except av.FFmpegError:
            self.stop()
            raise
        if self.error is None:
            self.mark_whole()
        self.frames += 1

    def close(self) -> None:
        """Finish the file; if that fails it is truncated behind its last whole fragment.

        Raises:
            av.FFmpegError: if it cannot be finished.
            OSError: if the disk took no more.
        """
        encoding, self._encoding = self._encoding, None
        if self.presence == "removed":
            self.stop()
        try:
            if encoding is not None:
                container, stream, _ = encoding
                container.mux(stream.encode())
                container.close()
        finally:
            super().close()

    def _started(self, time_ns: int, picture: Picture) -> tuple[OutputContainer, VideoStream, Picture]:
        width, height = picture.wh
        form = "mp4" if self._suffix == ".mp4" else "matroska"
        container = av.open(self, "w", format=form, options=CONTAINERS[self._suffix])
        # Times begin at 0, or a player would wait before the first frame; the metadata has the real start.
        self._offset_ticks = -self._ticks(time_ns)
        if time_ns:
            container.metadata["comment"] = f"begins {time_ns / 1e9:.3f} s into the source"
        stream = container.add_stream("libx264", rate=picture.rate, options=self._options)
        stream.width, stream.height = width, height
        # 4:2:0 cannot hold an odd size.
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        encoder = stream.codec_context
        encoder.time_base = Fraction(1, self._ticks_hz)
        encoder.thread_count = 1  # the other cores are for the network
        if picture.pixel_aspect != SQUARE:
            encoder.sample_aspect_ratio = Fraction(*picture.pixel_aspect)
        encoder.gop_size = max(_KEY_EVERY_FRAMES, round(picture.rate * _KEY_EVERY_S))
        encoder.colorspace = _MATRICES[picture.matrix]
        encoder.color_range = ColorRange.MPEG
        encoder.color_primaries = ColorPrimaries.BT709
        encoder.color_trc = ColorTrc.BT709
        return container, stream, picture

    def _encoded(
        self, stream: VideoStream, picture: Picture, output: OutputItem
    ) -> list[Packet[VideoStream]]:
        frame = av.VideoFrame(stream.width, stream.height, stream.pix_fmt or "yuv420p")
        y, u, v = (_view(plane) for plane in frame.planes)
        draw_overlay(Canvas(y, u, v, picture.matrix, picture.pixel_aspect), output)
        nominal_ticks = round(self._ticks_hz / picture.rate)
        is_first = self._last_ticks < 0
        frame.pts = self._next_ticks(output.time_ns, nominal_ticks)
        frame.time_base = stream.codec_context.time_base
        # By time, not by count: a live source may be slower than its nominal rate.
        if is_first or frame.pts - self._key_ticks >= _KEY_EVERY_S * self._ticks_hz:
            frame.pict_type = PictureType.I
            self._key_ticks = frame.pts
        packets = stream.encode(frame)
        for packet in packets:
            packet.duration = packet.duration or nominal_ticks
        return packets

    def _ticks(self, time_ns: int) -> int:
        return round(time_ns * self._ticks_hz / 1e9)

    def _next_ticks(self, time_ns: int, nominal_ticks: int) -> int:
        """The source's time, but always later than the frame before, and by at most a minute."""
        ticks = self._ticks(time_ns) + self._offset_ticks
        if ticks < self._last_ticks - _STEP_BACK_S * self._ticks_hz:
            # The source restarted: continue from the current end.
            restarted_ticks = self._last_ticks + nominal_ticks
            self._offset_ticks += restarted_ticks - ticks
            ticks = restarted_ticks
        longest_ticks = LONGEST_STEP_S * self._ticks_hz
        if self._last_ticks >= 0 and ticks - self._last_ticks > longest_ticks:
            self._offset_ticks -= ticks - self._last_ticks - longest_ticks
            ticks = self._last_ticks + longest_ticks
        self._last_ticks = max(ticks, self._last_ticks + 1)
        return self._last_ticks


def _view(plane: VideoPlane) -> Plane:
    """(H, W) writable uint8 view of a plane, without the padding of its rows."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]
