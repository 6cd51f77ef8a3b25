"""What video files, pipes, streams and playlists share: frames from a decoder."""

from __future__ import annotations

import math
import time
from pathlib import Path

from av.container import InputContainer

from perception.frame import Frame
from perception.sources.choice import Choice
from perception.sources.counts import SourceCounts
from perception.sources.decoding.decoder import Decoded, Decoder
from perception.sources.decoding.file_end import Beginning
from perception.sources.decoding.frame_times import CaptureTimes, FrameTimes
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.rate import Rate
from perception.sources.source import EndOfSource, Source, SourceError, SourceInfo


class DecodedSource(Source):
    """A source of decoded pictures. A subclass opens a container, and says what its silence means.

    Args:
        name: for errors, without any password.
        source_id: short name; `name` by default.
        max_pixels: larger pictures are refused before they are decoded.
        choice: of its videos; by default the best.
    """

    def __init__(
        self,
        name: str,
        source_id: str | None = None,
        max_pixels: int = MAX_PIXELS,
        choice: Choice | None = None,
    ) -> None:
        self._name, self._source_id = name, source_id or name
        self._max_pixels, self._choice = max_pixels, choice or Choice()
        self._decoder: Decoder | None = None
        self._is_live = False
        self._frames_read = self._errors_before = 0
        self.times = FrameTimes(1.0)
        """Of a recording's frames."""
        self.decode_errors = 0
        """Packets that could not be decoded and damaged pictures, so far."""

    def read(self) -> Frame:
        """The next frame; a truncated recording gives all frames up to the cut, then SourceError."""
        if self._decoder is None:
            raise SourceError(f"{self._name}: not open")
        try:
            decoded = self._next(self._decoder)
            captured_ns, time_ns = self._times_of(decoded)
        except TimeoutError:
            raise SourceError(f"{self._name}: {self._silence}") from None
        finally:
            self.decode_errors = self._errors_before + self._errors
        frame_id, self._frames_read = self._frames_read, self._frames_read + 1
        return Frame(
            source_id=self._source_id,
            frame_id=frame_id,
            captured_ns=captured_ns,
            time_ns=time_ns,
            pixels=decoded.pixels,
            name=f"{frame_id:06d}",
            is_damaged=decoded.is_damaged,
            pixel_aspect=decoded.pixel_aspect,
            jpeg=decoded.jpeg,
        )

    def rewind(self) -> None:
        """Start a recording over, with ids and times from 0; counters continue. Raises SourceError."""
        times, errors = self.times, self.decode_errors
        super().rewind()
        self.times.count_on(times)
        self._errors_before = errors

    def close(self) -> None:
        """Release everything."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    def counts(self) -> SourceCounts:
        """Decoding errors and irregular timestamps."""
        times = self.times
        return SourceCounts(
            self.decode_errors, clock_steps=times.clock_steps, strays=times.strays, gaps=times.gaps
        )

    def _begin(
        self,
        container: InputContainer,
        threads: int | None,
        file: Path | Beginning | None = None,
        frame_limit_s: float = math.inf,
        has_clock: bool = True,
    ) -> tuple[Decoder, Decoded]:
        """A decoder of the container and its first picture, without which it is not open.

        Raises:
            SourceError, TimeoutError: with the container closed.
        """
        how = (threads, frame_limit_s, file, self._max_pixels, self._choice, has_clock)
        try:
            decoder = Decoder(container, self._name, *how)
            return decoder, decoder.peek()
        except BaseException:
            container.close()
            raise

    def _opened(self, decoder: Decoder, first: Decoded, rate: Rate, description: str) -> SourceInfo:
        """Read from this decoder from now on."""
        self._decoder, self._frames_read, self._errors_before = decoder, 0, 0
        self.times, self._capture_times = FrameTimes(rate.hz, decoder.form), CaptureTimes()
        return SourceInfo(
            *(self._source_id, self._is_live, first.pixels.frame_wh, rate.hz, description),
            pixel_aspect=first.pixel_aspect,
            rate_kind=rate.kind,
        )

    def _next(self, decoder: Decoder) -> Decoded:
        """The next picture; raises TimeoutError, and SourceError or EndOfSource at the end."""
        try:
            return decoder.next()
        except EndOfSource:
            self._check_complete(decoder)
            raise

    def _check_complete(self, decoder: Decoder) -> None:
        decoder.check_complete(self._frames_read)

    def _times_of(self, decoded: Decoded) -> tuple[int, int]:
        """When a picture was captured, and its time since the first."""
        if not self._is_live:
            return time.monotonic_ns(), self.times.time_ns(decoded.pts_ns, self._next_pts_ns)
        captured_ns = self._captured_ns(decoded)
        return captured_ns, self._capture_times.time_ns(captured_ns)

    def _captured_ns(self, decoded: Decoded) -> int:
        """When a picture of a live source was captured."""
        raise NotImplementedError

    def _next_pts_ns(self) -> int | None:
        return self._decoder.next_pts_ns() if self._decoder is not None else None

    @property
    def _errors(self) -> int:
        """Of this decoder so far."""
        return self._decoder.decode_errors if self._decoder is not None else 0

    @property
    def _silence(self) -> str:
        """The message that follows the name when nothing came in time."""
        raise NotImplementedError
