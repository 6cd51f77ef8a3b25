"""One H.264 file of a recording: playable alone, from a key frame at time 0, even after a kill."""

from __future__ import annotations

from collections.abc import Callable
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
from perception.sinks.open_file import CheckpointedFile, OpenMode, Presence
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


class VideoSegment:
    """Memory: the encoder's own, a fifth of a second of its output and, for mp4, the index."""

    folder_bytes = 0

    def __init__(self, file: Path, options: dict[str, str], opening: OpenMode, claim: Claim) -> None:
        """Create the file.

        Args:
            file: its suffix, one of `CONTAINERS`, names the container.
            options: x264's.
            claim: locks the file.

        Raises:
            SinkError: if another process writes to it.
            OSError: if the file cannot be created.
        """
        self._disk = CheckpointedFile(file, opening, claim)
        self.frames = 0
        """Written to it."""
        self._suffix = file.suffix.lower()
        self._options = options
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._matrix: YuvMatrix = "bt601"
        self._pixel_aspect = SQUARE
        self._rate = Fraction(30)
        self._offset_ticks = 0
        self._last_ticks = -1
        self._key_ticks = 0

    @property
    def size_bytes(self) -> int:
        """Written so far."""
        return self._disk.tell()

    @property
    def descriptor(self) -> int:
        """Of the open file."""
        return self._disk.descriptor

    @property
    def presence(self) -> Presence:
        """Whether the file is still in its place, and not truncated by others."""
        return self._disk.presence

    @property
    def error(self) -> OSError | None:
        """Why the disk took no more."""
        return self._disk.error

    def write(self, output: OutputItem, picture_from: Callable[[OutputItem], Picture]) -> None:
        """Draw and encode one frame; the first one decides the picture format.

        Raises:
            av.FFmpegError: if it cannot be encoded; only `close` may follow.
        """
        try:
            if self._stream is None or self._container is None:
                self._container, self._stream = self._start(output.time_ns, picture_from(output))
            self._container.mux(self._encode(self._stream, output))
        except av.FFmpegError:
            self._disk.stop()
            raise
        if self._disk.error is None:
            self._disk.mark_whole()
        self.frames += 1

    def close(self) -> None:
        """Finish the file; if that fails it is truncated behind its last whole fragment.

        Raises:
            av.FFmpegError: if it cannot be finished.
            OSError: if the disk took no more.
        """
        container, stream = self._container, self._stream
        self._container = self._stream = None
        if self.presence == "removed":
            self._disk.stop()
        try:
            if container is not None and stream is not None:
                container.mux(stream.encode())
                container.close()
        finally:
            self._disk.finish()
        if self._disk.error is not None:
            raise self._disk.error

    def _start(self, time_ns: int, picture: Picture) -> tuple[OutputContainer, VideoStream]:
        width, height = picture.wh
        container = av.open(
            self._disk,
            "w",
            format="mp4" if self._suffix == ".mp4" else "matroska",
            options=CONTAINERS[self._suffix],
        )
        # Times begin at 0, or a player would wait before the first frame; the metadata has the real start.
        self._offset_ticks = -self._ticks(time_ns)
        if time_ns:
            container.metadata["comment"] = f"begins {time_ns / 1e9:.3f} s into the source"
        self._rate, self._matrix, self._pixel_aspect = picture.rate, picture.matrix, picture.pixel_aspect
        stream = container.add_stream("libx264", rate=self._rate, options=self._options)
        stream.width, stream.height = width, height
        # 4:2:0 cannot hold an odd size.
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        encoder = stream.codec_context
        encoder.time_base = Fraction(1, TICKS_HZ[self._suffix])
        encoder.thread_count = 1  # the other cores are for the network
        if picture.pixel_aspect != SQUARE:
            encoder.sample_aspect_ratio = Fraction(*picture.pixel_aspect)
        encoder.gop_size = max(_KEY_EVERY_FRAMES, round(self._rate * _KEY_EVERY_S))
        encoder.colorspace = _MATRICES[self._matrix]
        encoder.color_range = ColorRange.MPEG
        encoder.color_primaries = ColorPrimaries.BT709
        encoder.color_trc = ColorTrc.BT709
        return container, stream

    def _encode(self, stream: VideoStream, output: OutputItem) -> list[Packet[VideoStream]]:
        picture = av.VideoFrame(stream.width, stream.height, stream.pix_fmt or "yuv420p")
        y, u, v = (_view(plane) for plane in picture.planes)
        draw_overlay(Canvas(y, u, v, self._matrix, self._pixel_aspect), output)
        first = self._last_ticks < 0
        picture.pts = self._next_ticks(output.time_ns)
        picture.time_base = stream.codec_context.time_base
        # By time, not by count: a live source may be slower than its nominal rate.
        if first or picture.pts - self._key_ticks >= _KEY_EVERY_S * TICKS_HZ[self._suffix]:
            picture.pict_type = PictureType.I
            self._key_ticks = picture.pts
        packets = stream.encode(picture)
        for packet in packets:
            packet.duration = packet.duration or round(TICKS_HZ[self._suffix] / self._rate)
        return packets

    def _ticks(self, time_ns: int) -> int:
        return round(time_ns * TICKS_HZ[self._suffix] / 1e9)

    def _next_ticks(self, time_ns: int) -> int:
        """The source's time, but always later than the frame before, and by at most a minute."""
        ticks_hz = TICKS_HZ[self._suffix]
        ticks = self._ticks(time_ns) + self._offset_ticks
        if ticks < self._last_ticks - _STEP_BACK_S * ticks_hz:
            # The source restarted: continue from the current end.
            restarted_ticks = self._last_ticks + round(ticks_hz / self._rate)
            self._offset_ticks += restarted_ticks - ticks
            ticks = restarted_ticks
        longest_ticks = LONGEST_STEP_S * ticks_hz
        if self._last_ticks >= 0 and ticks - self._last_ticks > longest_ticks:
            self._offset_ticks -= ticks - self._last_ticks - longest_ticks
            ticks = self._last_ticks + longest_ticks
        self._last_ticks = max(ticks, self._last_ticks + 1)
        return self._last_ticks


def _view(plane: VideoPlane) -> Plane:
    """(H, W) writable uint8 view of a plane, without the padding of its rows."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]
