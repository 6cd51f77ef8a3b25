"""The overlay as an H.264 video that stays readable when the process is killed."""

from __future__ import annotations

import io
import os
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

from perception.frame import Output, Plane, Prediction, Yuv420, YuvMatrix
from perception.sinks.overlay import Canvas, draw_overlay
from perception.sinks.sink import SinkError
from perception.sources.source import SourceInfo

# Fragments of a fifth of a second: what is on disk can be played at any moment. A clean end turns them
# into a plain file with an index (hybrid), which players seek in and count frames by.
_MP4: Final = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+hybrid_fragmented",
    "frag_duration": "200000",  # microseconds
    "flush_packets": "1",
}
_MKV: Final = {"cluster_time_limit": "200", "flush_packets": "1"}
CONTAINERS: Final = {".mp4": _MP4, ".mkv": _MKV}
TICKS_HZ: Final = {".mp4": 90_000, ".mkv": 1000}
"""Matroska keeps milliseconds whatever it is told."""
PRESETS: Final = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow"),
)

_KEY_EVERY_S: Final = 1
_STEP_BACK_S: Final = 1
_MATRICES: Final = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709}


class OverlayVideoSink:
    """Draws the overlay and encodes it: the first frame's size, the source's own timestamps."""

    name = "overlay"

    def __init__(self, file: str, preset: str = "ultrafast", qp: int = 26, encoder_threads: int = 1) -> None:
        """Check the settings.

        Args:
            file: where to write; its suffix names the container.
            preset: x264's; CPU time per 1280x720 frame is 3 ms with ultrafast, 7 with superfast.
            qp: x264's quantiser, lower is better and larger. Constant: at the size and signal-to-noise
                ratio of `crf` 23 (9 Mbit/s and 39 dB at 1280x720), x264 need not look at every frame
                twice, which costs a sixth of the encoding.
            encoder_threads: one leaves the other cores to the network.

        Raises:
            SinkError: for a suffix or a preset that is not known.
        """
        self._file = Path(file)
        self._suffix = self._file.suffix.lower()
        if self._suffix not in CONTAINERS:
            raise SinkError(f"{file}: unknown kind of video; end its name in {' or '.join(CONTAINERS)}")
        if preset not in PRESETS:
            raise SinkError(f"{file}: unknown x264 preset {preset}; known are {', '.join(PRESETS)}")
        self._options = {"preset": preset, "qp": str(qp), "tune": "zerolatency", "forced-idr": "1"}
        self._threads = encoder_threads
        self._disk: _Disk | None = None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._matrix: YuvMatrix = "bt601"
        self._rate = Fraction(30)
        self._offset_ticks = 0
        self._last_ticks = -1
        self._key_ticks = 0

    def open(self, info: SourceInfo) -> None:
        """Make the file, and its folder if need be; a file that is there is replaced.

        Raises:
            SinkError: if the file cannot be written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._disk = _Disk(self._file)
        except OSError as error:
            raise SinkError(
                f"{self._file}: cannot write a video: {error.strerror}; choose another file"
            ) from error
        if info.rate_hz > 0:
            self._rate = Fraction(info.rate_hz).limit_denominator(1001)

    def write(self, output: Output) -> None:
        """Draw and encode one frame."""
        if self._disk is None:
            raise SinkError(f"{self._file}: cannot write a video: the file is closed")
        try:
            if self._stream is None or self._container is None:
                self._container, self._stream = self._start(self._disk, output)
            self._container.mux(self._encode(self._stream, output))
        except av.FFmpegError as error:
            self._disk.stop()
            self.close()
            raise SinkError(f"{self._file}: cannot encode a video: {error.strerror}") from error
        if self._disk.error is not None:
            self.close()
        else:
            self._disk.mark_whole()

    def close(self) -> None:
        """Finish the file; one that cannot be finished is cut off behind its last whole fragment.

        Raises:
            SinkError: if the disk took no more.
        """
        disk, container, stream = self._disk, self._container, self._stream
        self._disk = self._container = self._stream = None
        if disk is None:
            return
        try:
            if container is not None and stream is not None:
                container.mux(stream.encode())
                container.close()
        except av.FFmpegError as error:
            raise SinkError(f"{self._file}: cannot finish the video: {error.strerror}") from error
        finally:
            disk.finish()
        if disk.error is not None:
            raise SinkError(f"{self._file}: cannot write a video: {disk.error.strerror}") from disk.error

    def _start(self, disk: _Disk, output: Output) -> tuple[OutputContainer, VideoStream]:
        width, height = output.frame_wh
        container = av.open(
            disk,
            "w",
            format="mp4" if self._suffix == ".mp4" else "matroska",
            options=CONTAINERS[self._suffix],
        )
        stream = container.add_stream("libx264", rate=self._rate, options=self._options)
        stream.width, stream.height = width, height
        # 4:2:0 cannot hold an odd size.
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        encoder = stream.codec_context
        encoder.time_base = Fraction(1, TICKS_HZ[self._suffix])
        encoder.thread_count = self._threads
        encoder.gop_size = max(1, round(self._rate * _KEY_EVERY_S))
        pixels = output.frame.pixels if isinstance(output, Prediction) else None
        self._matrix = pixels.matrix if isinstance(pixels, Yuv420) else "bt601"
        encoder.colorspace = _MATRICES[self._matrix]
        encoder.color_range = ColorRange.MPEG
        encoder.color_primaries = ColorPrimaries.BT709
        encoder.color_trc = ColorTrc.BT709
        return container, stream

    def _encode(self, stream: VideoStream, output: Output) -> list[Packet[VideoStream]]:
        picture = av.VideoFrame(stream.width, stream.height, stream.pix_fmt or "yuv420p")
        y, u, v = (_view(plane) for plane in picture.planes)
        draw_overlay(Canvas(y, u, v, self._matrix), output)
        first = self._last_ticks < 0
        picture.pts = self._next_ticks(output.time_ns)
        picture.time_base = stream.codec_context.time_base
        # By time and not by count: a live source may be slower than its nominal rate.
        if first or picture.pts - self._key_ticks >= _KEY_EVERY_S * TICKS_HZ[self._suffix]:
            picture.pict_type = PictureType.I
            self._key_ticks = picture.pts
        packets = stream.encode(picture)
        for packet in packets:
            packet.duration = packet.duration or round(TICKS_HZ[self._suffix] / self._rate)
        return packets

    def _next_ticks(self, time_ns: int) -> int:
        """The source's own time, but always later than the frame before."""
        ticks_hz = TICKS_HZ[self._suffix]
        ticks = round(time_ns * ticks_hz / 1e9) + self._offset_ticks
        if ticks < self._last_ticks - _STEP_BACK_S * ticks_hz:
            # The source began anew: go on where the recording is.
            restarted_ticks = self._last_ticks + round(ticks_hz / self._rate)
            self._offset_ticks += restarted_ticks - ticks
            ticks = restarted_ticks
        self._last_ticks = max(ticks, self._last_ticks + 1)
        return self._last_ticks


class _Disk:
    """The file that the container writes to. After a first error it swallows all that follows.

    So a container that goes on to write its end cannot spoil what is whole.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._raw = io.FileIO(file, "w")
        self._header_bytes = 0
        self._whole_bytes = 0
        self._is_stopped = False
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of it, or keep the error for the sink to raise."""
        left = memoryview(data)
        while left and not self._is_stopped:
            try:
                left = left[self._raw.write(left) :]
            except OSError as error:
                self.error = error
                self.stop()
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """As of a file."""
        return self._raw.tell()

    def mark_whole(self) -> None:
        """All that is written so far can be read: the container has just handed over whole fragments."""
        self._whole_bytes = self._raw.tell()
        self._header_bytes = self._header_bytes or self._whole_bytes

    def stop(self) -> None:
        """Write no more."""
        self._is_stopped = True

    def finish(self) -> None:
        """Close the file; after an error, without what is not whole. A file without a frame is removed."""
        if self._is_stopped:
            self._raw.truncate(self._whole_bytes)
        is_empty = self._whole_bytes == 0 or (self._is_stopped and self._whole_bytes == self._header_bytes)
        self._raw.close()
        if is_empty:
            self._file.unlink(missing_ok=True)


def _view(plane: VideoPlane) -> Plane:
    """(H, W) uint8 view of a plane, without the padding of its rows; writable."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]
