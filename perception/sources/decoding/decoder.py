"""Decodes the packets of an open container to pictures in the decoder's own memory."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.error import ExitError, FFmpegError
from av.packet import Packet
from av.stream import Stream

from perception.imaging.letterbox import SQUARE, PixelAspect
from perception.imaging.orientation import UPRIGHT, Orientation
from perception.imaging.pixel_aspect import PixelAspects
from perception.imaging.planes import PixelFormatError, colour_note, planes_of
from perception.imaging.yuv import Yuv420
from perception.sources.choice import Choice
from perception.sources.decoding.completeness import Completeness
from perception.sources.decoding.damage import DamageTrace
from perception.sources.decoding.file_end import Beginning
from perception.sources.decoding.h264_numbers import HEAD_BYTES, PictureNumbers
from perception.sources.decoding.image_size import MAX_PIXELS, check_pixels, image_wh, jpeg_for_others
from perception.sources.decoding.video_streams import NoVideo, chosen_stream
from perception.sources.rate import CLOCKLESS, codec_hz, rate_of
from perception.sources.source import EndOfSource, SourceError

av.logging.set_level(None)  # no messages on stderr; errors are raised or counted

MAX_READ_FAILURES: Final = 8
_OF_THE_DISK: Final = (errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV)
SEARCH_BYTES: Final = 1 << 16
"""In MPEG-TS, libav searches this far for the next packet before it gives up."""
# One thread decodes 1280x720 at 350 Hz, faster than any network here; a second one costs 5 % more work and
# pays off only for larger pictures.
ONE_THREAD_PIXELS: Final = 1_500_000


@dataclass(frozen=True, eq=False)
class Decoded:
    """One decoded picture."""

    pixels: Yuv420
    pts_ns: int | None
    """Its timestamp; None if the container gives none."""
    received_ns: int
    """`time.monotonic_ns()` when its packet had been read, before decoding."""
    is_damaged: bool
    """Parts of it were concealed, or predicted from concealed parts."""
    pixel_aspect: PixelAspect
    """Width and height of a displayed pixel."""
    jpeg: bytes | None = None
    """As of `Frame`."""


@dataclass(slots=True, eq=False)
class _Origin:
    """Properties of a packet for the frames decoded from it."""

    received_ns: int
    losses_before: int
    pixel_aspect: PixelAspect = SQUARE
    packet: bytes | None = None
    """A JPEG; None for other codecs."""


class Decoder:
    """Decodes one video stream of an open container to its end.

    Undecodable packets are skipped and counted together with damaged pictures. Without a decodable video the
    constructor raises SourceError.

    Args:
        container: from `av.open`; closed by `close`.
        name: of the file or stream, for errors.
        threads: of the decoder; 1 adds no delay, more increase throughput, None chooses by picture size.
        frame_limit_s: how long the packets of one frame may take.
        file: the file or its first bytes; None if it has no end.
        max_pixels: larger pictures are refused before they are decoded.
        choice: of the video streams; by default the best.
        has_clock: its pictures have timestamps; those of an elementary stream never do.
    """

    def __init__(
        self,
        container: InputContainer,
        name: str,
        threads: int | None,
        frame_limit_s: float = math.inf,
        file: Path | Beginning | None = None,
        max_pixels: int = MAX_PIXELS,
        choice: Choice | None = None,
        has_clock: bool = True,
    ) -> None:
        stream, self._choice_note = chosen_stream(container, choice or Choice(), name)
        self.decode_errors, self._frame_limit_s = 0, frame_limit_s
        self._container, self._stream, self._name = container, stream, name
        self.form = container.format.name.split(",")[0]
        """Of the container, for the log."""
        self.has_clock = has_clock and self.form not in CLOCKLESS
        """Its pictures have timestamps."""
        self._is_in_order = self.form == "avi"  # with timestamps in decoding order; libav makes up others
        self.codec_hz = codec_hz(stream)
        """Frame rate stated by the codec; None if unknown."""
        self.rate = rate_of(stream, self.form, self.has_clock)
        self._ns_a_tick = (stream.time_base or Fraction(1, av.time_base)) * 1_000_000_000
        codec = self._stream.codec_context
        check_pixels((codec.width, codec.height), max_pixels, name)
        codec.options = {**codec.options, "max_pixels": str(max_pixels)}  # if the size changes later
        if threads is None:
            threads = 1 if codec.width * codec.height <= ONE_THREAD_PIXELS else 2
        codec.thread_type = "SLICE" if threads == 1 else "FRAME"
        codec.thread_count = threads
        codec.copy_opaque = True
        codec.flags |= Flags.unaligned  # otherwise libav does not crop at the left edge exactly
        self._read_error: FFmpegError | None = None
        self._colour_note: str | None = None
        self._aspects, self._orientation = PixelAspects(container, self._stream), Orientation()
        over_network = container.format.name in ("rtsp", "rtp", "sdp")
        self._damage = DamageTrace(over_network)
        follows = over_network and codec.name == "h264"
        self._numbers = PictureNumbers(codec.extradata) if follows else None
        self._completeness = Completeness(container, stream, self.rate.hz, file)
        self._has_searched = False
        self._frames = self._decode_all()
        self._peeked: Decoded | None = None

    @property
    def description(self) -> str:
        """Codec, pixel format, container, choice of the stream, and conversion of colours."""
        codec = self._stream.codec_context
        size = f"{codec.width}x{codec.height}{self._aspects.note}"
        what = f"{codec.name} {codec.pix_fmt} {size} in {self._container_name}"
        return ", ".join(filter(None, (what, self._choice_note, self._colour_note)))

    @property
    def _container_name(self) -> str:
        """The suffix, if one demuxer reads several containers: mp4 and mov, mkv and webm."""
        suffix = self._name.rpartition(".")[2].lower()
        return suffix if suffix in self._container.format.name.split(",") else self.form

    def peek(self) -> Decoded:
        """The picture that `next` will give, which has the true size; raises SourceError if there is none."""
        if self._peeked is None:
            self._peeked = next(self._frames, None)
        if self._peeked is None:
            raise NoVideo(f"{self._name}: no frame of its video could be decoded")
        return self._peeked

    def next_pts_ns(self) -> int | None:
        """The timestamp of the picture that `next` will give; None if there is none."""
        if self._peeked is None:
            self._peeked = next(self._frames, None)
        return self._peeked.pts_ns if self._peeked else None

    def next(self) -> Decoded:
        """The next picture; raises EndOfSource or TimeoutError."""
        decoded, self._peeked = self._peeked or next(self._frames, None), None
        if decoded is None:
            raise EndOfSource
        return decoded

    def check_complete(self, frames_read: int, problem: str = "") -> None:
        """Raise SourceError if the end reached by `next` is not the end of the recording.

        Args:
            frames_read: so far.
            problem: of the caller's input, if a part of it is known to be missing.
        """
        reason = problem or self._completeness.problem(is_read_through=self._read_error is None)
        if self._read_error and self._read_error.errno in _OF_THE_DISK:
            reason = f"{os.strerror(self._read_error.errno).lower()} when reading on"
        if reason:
            of_about = f" of about {self.frames_expected}" if self.frames_expected else ""
            seen = f"{frames_read} frames{of_about} read"
            raise SourceError(f"{self._name}: incomplete: {seen}; {reason}")

    @property
    def frames_expected(self) -> int:
        """Approximate frame count according to the container; 0 if unknown."""
        return self._completeness.frames_expected

    def close(self) -> None:
        """Release the container; decoded pictures stay valid."""
        self._frames.close()
        self._container.close()

    def _decode_all(self) -> Generator[Decoded, None, None]:
        failures, searches, waiting_since_s = 0, 0, time.monotonic()
        most_searches = MAX_READ_FAILURES + max(0, self._container.size) // SEARCH_BYTES
        packets = self._container.demux()  # other streams help to judge the end
        while failures < MAX_READ_FAILURES and searches < most_searches:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except ExitError:
                raise TimeoutError from None
            except IndexError:  # PyAV's: a stream has appeared since the container was opened
                packets = self._container.demux()
                continue
            except BlockingIOError:  # no MPEG-TS packet within SEARCH_BYTES: zeros or garbage
                searches, self._has_searched = searches + 1, True
                packets = self._container.demux()
                continue
            except FFmpegError as error:  # a damaged spot is skipped; many in a row are the end
                failures += 1
                self.decode_errors += 1
                self._damage.lose_packet()
                self._read_error = error
                packets = self._container.demux()
                continue
            failures, self._read_error = 0, None
            if packet.stream is not self._stream:
                self._completeness.pass_by(packet)
            else:
                for decoded in self._decode(packet):
                    yield decoded
                    waiting_since_s = time.monotonic()
            if time.monotonic() - waiting_since_s > self._frame_limit_s:
                raise TimeoutError  # packets arrive, but no frame results
        yield from self._decode(None)

    def _decode(self, packet: Packet[Stream] | None) -> Generator[Decoded, None, None]:
        received_ns = time.monotonic_ns()
        if packet is not None and not packet.size and packet.pts is not None:
            return  # Theora: the previous picture is repeated
        if packet is not None and packet.size:
            self._completeness.read(packet)
            if self._has_searched and self._completeness.gap_bytes > SEARCH_BYTES // 2:
                self._has_searched = False
                self.decode_errors += 1
                self._damage.lose_packet()
            if packet.is_corrupt and (packet.pos or 0) + packet.size >= self._container.size > 0:
                self.decode_errors += 1  # truncated by the end of the file
                return
            head = bytes(memoryview(packet)[:HEAD_BYTES]) if self._numbers else b""
            if packet.is_corrupt or (self._numbers and self._numbers.misses_before(head)):
                self._damage.lose_packet()
        origin = _Origin(received_ns, self._damage.losses)
        if packet is not None:
            if self._stream.codec_context.name == "mjpeg":
                origin.packet = bytes(packet)
            packet.opaque = origin
        try:
            frames = self._stream.codec_context.decode(packet)
            origin.pixel_aspect = self._aspects.now()
            for frame in frames:
                self.decode_errors += frame.is_corrupt
                self._completeness.show(frame.is_corrupt)
                if self._colour_note is None:
                    self._colour_note = colour_note(frame, self._stream.codec_context.codec_tag)
                turn = self._orientation.of(frame)
                pixels = turn.of(planes_of(frame))
                pts = (frame.dts if self._is_in_order else frame.pts) if self.has_clock else None
                # in integers, as a product of fractions takes 4 us
                tick = self._ns_a_tick
                pts_ns = None if pts is None else pts * tick.numerator // tick.denominator
                # a frame that the decoder held back has the properties of its own packet
                own = frame.opaque if isinstance(frame.opaque, _Origin) else origin
                # frame numbers reveal missing pictures; without them, steps in time do
                is_numbered = self._numbers is not None and self._numbers.are_known
                step_pts_ns = None if is_numbered else pts_ns
                seen = frame.is_corrupt, frame.key_frame, step_pts_ns, own.losses_before
                is_damaged = self._damage.is_damaged(*seen)
                aspect = turn.of_aspect(own.pixel_aspect)
                jpeg = None if is_damaged or turn != UPRIGHT else _jpeg_of(own.packet, pixels.frame_wh)
                yield Decoded(pixels, pts_ns, own.received_ns, is_damaged, aspect, jpeg)
        except PixelFormatError as error:
            raise SourceError(f"{self._name}: {error}; convert it to yuv420p") from None
        except FFmpegError:
            self.decode_errors += 1
            self._damage.lose_packet()
            self._completeness.fail()


def _jpeg_of(packet: bytes | None, wh: tuple[int, int]) -> bytes | None:
    """What others can read of a packet, if it is a JPEG of the whole picture and no field of it."""
    return jpeg_for_others(packet) if packet is not None and image_wh(packet) == wh else None
