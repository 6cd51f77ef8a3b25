"""Video files, frame by frame."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from av.container import InputContainer

from perception.frame import Frame
from perception.sources.choice import Choice
from perception.sources.decoding.decoder import Decoder
from perception.sources.decoding.file_end import ENDS_BEFORE_FIRST, is_cut_off
from perception.sources.decoding.frame_times import FrameTimes, TimestampedSource
from perception.sources.decoding.image_size import MAX_PIXELS
from perception.sources.decoding.unreadable import written_ns
from perception.sources.decoding.video_file import holds_one_picture, open_file, silence_message
from perception.sources.decoding.video_streams import NoVideo
from perception.sources.files import with_parts
from perception.sources.kind import SourceKind
from perception.sources.settings import SourceSettings
from perception.sources.source import EndOfSource, SourceError, SourceInfo
from perception.system.plugins import NoSettings


class VideoSource(TimestampedSource):
    """A video file, frame by frame.

    Args:
        file: in any container and codec that libav reads.
        decoder_threads: 1 adds no delay, more increase throughput; None chooses by the picture size.
        max_pixels: larger pictures are refused.
        choice: of its video streams; by default the best.
    """

    def __init__(
        self,
        file: Path,
        decoder_threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
        choice: Choice | None = None,
    ) -> None:
        super().__init__()
        self._file, self._max_pixels, self._choice = file, max_pixels, choice
        self._threads = decoder_threads
        self._decoder: Decoder | None = None
        self._frames_read = 0

    def open(self) -> SourceInfo:
        """Open the file and decode its first frame."""
        self._written_ns = written_ns(self._on_disk)
        container = self._container()
        try:
            decoder = Decoder(
                *(container, str(self._file), self._threads),
                file=self._on_disk,
                max_pixels=self._max_pixels,
                choice=self._choice,
            )
            first = decoder.peek()
        except NoVideo:
            container.close()
            if self._on_disk and is_cut_off(self._on_disk):
                raise SourceError(f"{self._file}: {ENDS_BEFORE_FIRST}") from None
            raise
        except SourceError:
            container.close()
            raise
        except TimeoutError:
            container.close()
            raise SourceError(f"{self._file}: {self._silence}") from None
        self._decoder, self._frames_read = decoder, 0
        self.times = FrameTimes(decoder.rate.hz, decoder.form)
        frames = f", about {decoder.frames_expected} frames" if decoder.frames_expected else ""
        description = decoder.description + frames
        return SourceInfo(
            *(self._file.name, False, first.pixels.frame_wh, decoder.rate.hz, description),
            pixel_aspect=first.pixel_aspect,
            rate_kind=decoder.rate.kind,
            is_one_picture=holds_one_picture(decoder.form, decoder.frames_expected),
            frames_expected=decoder.frames_expected,
        )

    def read(self) -> Frame:
        """The next frame; a truncated file gives all frames up to the cut, then SourceError."""
        if self._decoder is None:
            raise SourceError(f"{self._file}: not open")
        try:
            decoded = self._decoder.next()
            time_ns = self.times.time_ns(decoded.pts_ns, self._decoder.next_pts_ns)
        except EndOfSource:
            try:
                self._decoder.check_complete(self._frames_read)
            except SourceError as error:
                if written_ns(self._on_disk) == self._written_ns:
                    raise
                raise SourceError(f"{error}, as it is still being written") from None
            raise
        except TimeoutError:
            raise SourceError(f"{self._file}: {self._silence}") from None
        finally:
            self.decode_errors = self._decoder.decode_errors
        frame_id, self._frames_read = self._frames_read, self._frames_read + 1
        return decoded.as_frame(self._file.name, frame_id, time.monotonic_ns(), time_ns)

    def rewind(self) -> None:
        """Start over with the first frame: ids and times from 0."""
        if self._decoder is None:
            raise SourceError(f"{self._file}: not open")
        try:
            is_rewound = self._decoder.rewind()
        except TimeoutError:
            raise SourceError(f"{self._file}: {self._silence}") from None
        if not is_rewound and self._on_disk is None:
            raise SourceError(f"{self._file}: cannot be played again: a pipe gives its content once")
        times = self.times.again()
        if not is_rewound:
            decode_errors = self.decode_errors
            self.close()
            self.open()
            self._decoder.decode_errors += decode_errors
        self._frames_read, self.times = 0, times

    def close(self) -> None:
        """Release the file."""
        if self._decoder is not None:
            self._decoder.close()
            self._decoder = None

    @property
    def _on_disk(self) -> Path | None:
        return self._file

    @property
    def _silence(self) -> str:
        return silence_message()

    def _container(self) -> InputContainer:
        return open_file(self._file)


def _build(spec: str, settings: NoSettings, reading: SourceSettings) -> VideoSource:
    return VideoSource(Path(spec), reading.decoder_threads, reading.max_pixels, reading.choice)


VIDEO: Final = SourceKind(
    settings=NoSettings,
    form="a video file",
    claims=lambda typed: typed.file if typed.is_file else None,
    build=_build,
    files=lambda spec: with_parts(Path(spec)),
    has_choice=True,
)
